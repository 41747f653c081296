package main

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var (
	rounds = flag.Uint64("rounds", 100_000, "run each test so many times")
	enough = flag.Duration("enough", 200*time.Millisecond, "run each test for so long at most, if what has to be seen was by then")
	with   = flag.String("exec", "", "program to run the processes with")
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// A short piece of the campaign: nothing forbidden is seen, and what shows that it would
// be is. Processes of their own run each test, in memory that they share.
func TestLitmus(t *testing.T) {
	c := campaign{rounds: *rounds, enough: *enough, seed: 1, exec: strings.Fields(*with)}
	for i := range all {
		t.Run(all[i].name, func(t *testing.T) {
			sum, err := c.try(context.Background(), &all[i])
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d rounds, %d odd:\n%s", sum.Rounds, sum.Odd, sum.text())
		})
	}
}
