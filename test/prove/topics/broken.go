package main

import (
	"fmt"
	"time"
)

// A broken is a promise that was not kept. It is an error of a worker, or the
// judgement of the conductor.
type broken struct{ kind, text string }

func (b *broken) Error() string { return b.kind + ": " + b.text }

// The kinds: what must not happen.
const (
	lost       = "a message was lost and nobody said so"
	twice      = "a message came twice, or after a later one"
	madeUp     = "a message was received that nobody has published"
	torn       = "a message was not what its publisher had written"
	miscounted = "more messages were said to be lost than there were"
	leaked     = "something was left behind"
	stuck      = "stuck"
	unexpected = "an operation failed that cannot"
)

func breaks(kind, format string, args ...any) *broken {
	return &broken{kind, fmt.Sprintf(format, args...)}
}

// A mutant is a mistake that the workers of a round make on purpose, and the kinds of
// judgement by which it must be noticed.
type mutant struct {
	name     string
	kinds    []string
	patience time.Duration // where it has to be waited for what never comes; 0: the usual
}

// What each does stands where it does it.
const (
	publishesNot    = "enters a message that it does not publish"
	publishesTwice  = "publishes a message twice"
	publishesSecret = "publishes a message that it does not enter"
	publishesTorn   = "publishes a message with a wrong byte"
	stops           = "stops to publish"
	forgets         = "forgets a message that it has received"
)

var mutants = []mutant{
	{publishesNot, []string{lost}, 2 * time.Second},
	{publishesTwice, []string{twice}, 0},
	{publishesSecret, []string{madeUp}, 0},
	{publishesTorn, []string{torn}, 0},
	{stops, []string{stuck}, time.Second},
	{forgets, []string{lost}, 0},
}
