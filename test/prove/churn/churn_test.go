package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A short piece of the campaign, of 30 participants and 30 topics: one mistake is noticed,
// and without it nothing is.
func TestChurn(t *testing.T) {
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = t.TempDir()
	}
	c := campaign(&small)
	c.Kills, c.Mutants, c.Seed, c.Dir, c.File = small.kills, mutants[4:5], 1, dir, filepath.Join(t.TempDir(), "PROOF.md")
	if err := c.All(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c.Killed < c.Kills || c.Caught != 1 {
		t.Errorf("%d kills, %d mutants caught; want %d and 1", c.Killed, c.Caught, c.Kills)
	}
	for i, what := range c.Columns {
		if c.Figures[i] == 0 && what != "late" {
			t.Errorf("no %s", what)
		}
	}
}
