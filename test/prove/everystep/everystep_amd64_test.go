//go:build !race

package main

// Not under the race detector, which multiplies the instructions, and has threads of
// its own.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
)

func TestMain(m *testing.M) {
	if ok, err := role(os.Args[1:]); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// try tries one operation on this thread.
func try(t *testing.T, c places.Campaign, name string) (*places.Operation, places.Tally) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	op, err := operationCalled(name)
	if err != nil {
		t.Fatal(err)
	}
	c.Kill, c.Stop, c.Loops, c.Seed = true, true, 4, 1
	what := op.places()
	sum, err := c.Try(context.Background(), what)
	if errors.Is(err, step.ErrForbidden) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", name, sum.String(what))
	return what, sum
}

// A short piece of the campaign: nothing is broken, and all places are reached.
func TestOperations(t *testing.T) {
	for name, c := range map[string]places.Campaign{
		"mutex: lock a free one":                 {Every: 3},
		"semaphore: acquire and release, steady": {Every: 20, Single: true},
		"event: wait for a manual one, asleep":   {Every: 50},
	} {
		t.Run(name, func(t *testing.T) {
			op, sum := try(t, c, name)
			if !sum.Good(op) || sum.Kills == 0 || sum.Stops == 0 || op.Quiet != (sum.Syscalls == 0) {
				t.Errorf("%s", sum.String(op))
			}
		})
	}
}

// Two victims at once, of which the second one clears up after the first, break nothing.
func TestTwo(t *testing.T) {
	for _, name := range []string{"mutex: lock one whose owner died, repair, unlock", "semaphore: acquire what a dead process held in the same place"} {
		t.Run(name, func(t *testing.T) {
			if op, sum := try(t, places.Campaign{Every: 1, Pairs: 10}, name+pairs); !sum.Good(op) || sum.Kills != 20 {
				t.Error(sum.String(op))
			}
		})
	}
}

// Victims that break the rules are noticed.
func TestMutants(t *testing.T) {
	for _, name := range []string{"mutant: unlocks in the middle", "mutant: posts twice", "mutant: resets what it has set"} {
		t.Run(name, func(t *testing.T) {
			if op, sum := try(t, places.Campaign{Every: 2}, name); !sum.Good(op) {
				t.Errorf("it is not caught: %s", sum.String(op))
			}
		})
	}
}
