//go:build stores

package main

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"github.com/memlane/memlane/test/prove/calls"
)

// A short piece of the campaign: nothing is broken, all places are reached, and mutants
// are caught.
func TestOperations(t *testing.T) {
	c := campaign{every: 100, loops: 4, pairs: 12, parallel: 4, seed: 1, file: ""}
	err := c.all(context.Background(), regexp.MustCompile("^(mutant: publishes one message twice|publish|subscribe under Block)$"))
	if errors.Is(err, calls.ErrForbidden) {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
}
