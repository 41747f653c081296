package main

import "github.com/memlane/memlane/test/prove/rounds"

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
)

// failed is what an operation returned that must succeed.
func failed(what string, err error) *rounds.Broken {
	return rounds.Breaks(rounds.Unexpected, "%s: %v", what, err)
}
