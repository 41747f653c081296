package main

import (
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

// The kinds: what must not happen.
const (
	lost       = "a message was lost and nobody said so"
	twice      = "a message came twice, or after a later one"
	madeUp     = "a message was received that nobody has published"
	torn       = "a message was not what its publisher had written"
	miscounted = "more messages were said to be lost than there were"
	leaked     = "something was left behind"
)

// The mutants. What each does stands where it does it.
const (
	publishesNot    = "enters a message that it does not publish"
	publishesTwice  = "publishes a message twice"
	publishesSecret = "publishes a message that it does not enter"
	publishesTorn   = "publishes a message with a wrong byte"
	stops           = "stops to publish"
	forgets         = "forgets a message that it has received"
)

var mutants = []rounds.Mutant{
	{Name: publishesNot, Kinds: []string{lost}, Patience: 2 * time.Second},
	{Name: publishesTwice, Kinds: []string{twice}},
	{Name: publishesSecret, Kinds: []string{madeUp}},
	{Name: publishesTorn, Kinds: []string{torn}},
	{Name: stops, Kinds: []string{rounds.Stuck}, Patience: time.Second},
	{Name: forgets, Kinds: []string{lost}},
}
