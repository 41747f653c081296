package main

import (
	"fmt"
	"strconv"
	"strings"
)

// A kind is of what places are counted.
type kind string

const (
	nowhere kind = "nowhere"
	stores  kind = "store" // before it
	systems kind = "call"  // before a system call or after it
)

// A place is where a victim is stopped, or killed: number n of a kind, from 0.
type place struct {
	kind kind
	n    int
}

// String is how a place is written on the command line of a victim.
func (p place) String() string { return fmt.Sprintf("%s:%d", p.kind, p.n) }

func parsePlace(text string) (place, error) {
	what, number, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	if err != nil {
		return place{}, fmt.Errorf("the place %q: %w", text, err)
	}
	return place{kind(what), n}, nil
}
