package main

import (
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

// The kinds: what must not happen.
const (
	lost       = "a message was lost and nobody said so"
	twice      = "a message came twice, or after a later one"
	madeUp     = "a message was received that nobody has published in the topic"
	torn       = "a message was not what its publisher had written"
	miscounted = "more or fewer messages were said to be lost than there were"
	apart      = "who is in a topic does not find all others in it"
	leaked     = "something was left behind"
)

// The mutants. What each does stands where it does it.
const (
	publishesNot   = "enters a message that it does not publish"
	publishesTwice = "publishes a message twice"
	publishesTorn  = "publishes a message with a wrong byte"
	misses         = "publishes in another topic than it enters"
	forgets        = "forgets a message that it has received"
	stops          = "does nothing any more"
	stays          = "does not leave"
	keeps          = "keeps a descriptor"
)

var mutants = []rounds.Mutant{
	{Name: publishesNot, Kinds: []string{lost}, Patience: 5 * time.Second},
	{Name: publishesTwice, Kinds: []string{twice}},
	{Name: publishesTorn, Kinds: []string{torn}},
	{Name: misses, Kinds: []string{madeUp, apart}, Patience: 5 * time.Second},
	{Name: forgets, Kinds: []string{lost}},
	{Name: stops, Kinds: []string{rounds.Stuck}, Patience: 5 * time.Second},
	{Name: stays, Kinds: []string{leaked}, Patience: 5 * time.Second},
	{Name: keeps, Kinds: []string{leaked}, Patience: 5 * time.Second},
}
