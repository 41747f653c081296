package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// A short piece of the campaign: one mistake is noticed, and without it nothing is.
func TestKills(t *testing.T) {
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = t.TempDir()
	}
	c := campaign()
	c.Kills, c.Mutants, c.Seed, c.Dir, c.File = 100, mutants[1:2], 1, dir, filepath.Join(t.TempDir(), "PROOF.md")
	if err := c.All(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c.Killed < c.Kills || c.Caught != 1 {
		t.Errorf("%d kills, %d mutants caught; want %d and 1", c.Killed, c.Caught, c.Kills)
	}
	for i, what := range c.Columns {
		if c.Figures[i] == 0 && what != "told lost" {
			t.Errorf("no %s", what)
		}
	}
}

// What a message is follows from who has published it and its number, and any other
// byte or length is seen.
func TestMessages(t *testing.T) {
	lengths := map[int]bool{}
	for number := range uint64(1000) {
		b := make([]byte, sizeOf(7, number))
		lengths[len(b)] = true
		fill(b, 7, number)
		if p, n, err := read(b); p != 7 || n != number || err != nil {
			t.Fatal(p, n, err)
		}
		if _, _, err := read(b[:len(b)-1]); err == nil {
			t.Errorf("message %d is as good without its last byte", number)
		}
		if len(b) > leastBytes {
			b[leastBytes+int(number)%(len(b)-leastBytes)] ^= 1
			if _, _, err := read(b); err == nil {
				t.Errorf("message %d is as good with another byte", number)
			}
		}
	}
	for _, n := range sizes {
		if !lengths[n] {
			t.Errorf("no message has %d bytes", n)
		}
	}
}
