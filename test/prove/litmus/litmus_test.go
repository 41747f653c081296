package main

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"
)

var (
	rounds = flag.Uint64("rounds", 100_000, "run each test so many times")
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
	c := campaign{rounds: *rounds, seed: 1, exec: strings.Fields(*with)}
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
