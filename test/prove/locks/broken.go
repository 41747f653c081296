package main

import "fmt"

// A broken is an invariant that did not hold. It is an error of a worker, or the
// judgement of the conductor.
type broken struct{ kind, text string }

func (b *broken) Error() string { return b.kind + ": " + b.text }

// The kinds: what must not happen.
const (
	twoInside     = "two inside the mutex"
	torn          = "the mutex let in on something half done without saying so"
	takenAlive    = "the mutex was taken from the living"
	sectionLost   = "a section of the mutex was lost"
	sectionMadeUp = "a section of the mutex was made up"

	crowded      = "more inside the guard than it has permits"
	placeTaken   = "the guard gave a permit of the living to another"
	permitLost   = "the guard lost a permit"
	permitMadeUp = "the guard made up a permit"

	signalLost   = "the signal lost permits"
	signalMadeUp = "the signal made up permits"

	eventLost   = "an event lost a set"
	eventMadeUp = "an event made up a set"

	nameWrong = "a name is not whole, or not once in the directory"

	stuck      = "stuck"
	unexpected = "an operation failed that cannot"
)

func breaks(kind, format string, args ...any) *broken {
	return &broken{kind, fmt.Sprintf(format, args...)}
}

// failed is what an operation returned that must succeed.
func failed(what string, err error) *broken { return breaks(unexpected, "%s: %v", what, err) }
