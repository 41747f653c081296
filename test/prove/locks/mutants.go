package main

import (
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

// What a mutant does stands where it does it.
var mutants = []rounds.Mutant{
	{Name: "section without lock", Kinds: []string{twoInside, torn, sectionLost}},
	{Name: "section acknowledged only", Kinds: []string{sectionLost}},
	{Name: "section counted twice", Kinds: []string{sectionMadeUp}},
	{Name: "section that never ends", Kinds: []string{rounds.Stuck}, Patience: time.Second},
	{Name: "leaves with the mutex and goes on", Kinds: []string{takenAlive}},
	{Name: "guard without permit", Kinds: []string{crowded}},
	{Name: "guard released twice", Kinds: []string{crowded, permitMadeUp}},
	{Name: "guard cleared for another", Kinds: []string{placeTaken}},
	{Name: "guard permit kept for good", Kinds: []string{permitLost}, Patience: time.Second},
	{Name: "one posted too many", Kinds: []string{signalMadeUp}},
	{Name: "one taken in secret", Kinds: []string{signalLost}},
	{Name: "set acknowledged only", Kinds: []string{eventLost}},
	{Name: "ring acknowledged only", Kinds: []string{eventLost}},
	{Name: "answers without rings", Kinds: []string{eventMadeUp}},
	{Name: "answer that never hears", Kinds: []string{rounds.Stuck}, Patience: time.Second},
	{Name: "name made otherwise", Kinds: []string{nameWrong}},
}
