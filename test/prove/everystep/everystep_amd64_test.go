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
	"slices"
	"testing"

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
func try(t *testing.T, c campaign, name string) (*operation, tally) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	op, err := operationCalled(name)
	if err != nil {
		t.Fatal(err)
	}
	c.kill, c.stop, c.loops, c.seed = true, true, 4, 1
	sum, err := c.operation(context.Background(), op)
	if errors.Is(err, step.ErrForbidden) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", name, sum.String(op))
	return op, sum
}

// A short piece of the campaign: nothing is broken, and all places are reached.
func TestOperations(t *testing.T) {
	for name, c := range map[string]campaign{
		"mutex: lock a free one":                 {every: 3},
		"semaphore: acquire and release, steady": {every: 20, steps: true},
		"event: wait for a manual one, asleep":   {every: 50},
	} {
		t.Run(name, func(t *testing.T) {
			op, sum := try(t, c, name)
			if !sum.good(op) || sum.kills == 0 || sum.stops == 0 || op.quiet != (sum.syscalls == 0) {
				t.Errorf("%s", sum.String(op))
			}
		})
	}
}

// Victims that break the rules are noticed.
func TestMutants(t *testing.T) {
	for _, name := range []string{"mutant: unlocks in the middle", "mutant: posts twice", "mutant: resets what it has set"} {
		t.Run(name, func(t *testing.T) {
			if op, sum := try(t, campaign{every: 2}, name); !sum.good(op) {
				t.Errorf("it is not caught: %s", sum.String(op))
			}
		})
	}
}

// Of loops the first and the last rounds are tried.
func TestTake(t *testing.T) {
	var turns []turn
	for i := range 20 {
		turns = append(turns, turn{stack: "first of loop"}, turn{stack: "second of loop", stage: fmt.Sprint(i / 19)})
	}
	all := campaign{every: 1}
	if taken := all.take(turns); slices.Contains(taken, false) {
		t.Errorf("without a bound %v are taken", taken)
	}
	bounded := campaign{every: 1, loops: 2}
	var got []int
	for i, taken := range bounded.take(turns) {
		if taken {
			got = append(got, i)
		}
	}
	if want := []int{0, 1, 2, 3, 35, 36, 37, 38, 39}; !slices.Equal(got, want) {
		t.Errorf("%v are taken; want %v", got, want)
	}
}
