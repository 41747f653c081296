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

// A short piece of the campaign: nothing is broken, all places are reached, and mutants
// are caught.
func TestOperations(t *testing.T) {
	for name, every := range map[string]int{
		"publish: in a slot":                             7,
		"publish: in a slot, one is asleep":              60,
		"publish: where the arena comes round, all read": 150,
		"receive: from the arena":                        50,
		"receive: asleep":                                150,
		"mutant: publishes a wrong byte":                 20,
		"mutant: releases what it goes on reading":       20,
	} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for _, o := range operations() {
				if o.name != name {
					continue
				}
				c := places.Campaign{Every: every, Kill: true, Stop: true, Loops: 4, Seed: 1}
				op := o.places()
				sum, err := c.Try(context.Background(), op)
				if errors.Is(err, step.ErrForbidden) {
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				if !sum.Good(op) || sum.Kills == 0 || o.quiet != (sum.Syscalls == 0) && !o.mutant {
					t.Error(sum.String(op))
				}
				return
			}
			t.Fatal("no such operation")
		})
	}
}
