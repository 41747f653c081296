package main

import "time"

// A mutant is a mistake that the workers of a round make on purpose, and the kinds
// of judgement by which it must be noticed. What a mutant does stands where it does
// it.
type mutant struct {
	name     string
	kinds    []string
	patience time.Duration // of the conductor, where it has to wait for what never comes; 0: the usual
}

var mutants = []mutant{
	{"section without lock", []string{twoInside, torn, sectionLost}, 0},
	{"section acknowledged only", []string{sectionLost}, 0},
	{"section counted twice", []string{sectionMadeUp}, 0},
	{"section that never ends", []string{stuck}, time.Second},
	{"leaves with the mutex and goes on", []string{takenAlive}, 0},
	{"guard without permit", []string{crowded}, 0},
	{"guard released twice", []string{crowded, permitMadeUp}, 0},
	{"guard cleared for another", []string{placeTaken}, 0},
	{"guard permit kept for good", []string{permitLost}, time.Second},
	{"one posted too many", []string{signalMadeUp}, 0},
	{"one taken in secret", []string{signalLost}, 0},
	{"set acknowledged only", []string{eventLost}, 0},
	{"ring acknowledged only", []string{eventLost}, 0},
	{"answers without rings", []string{eventMadeUp}, 0},
	{"answer that never hears", []string{stuck}, time.Second},
	{"name made otherwise", []string{nameWrong}, 0},
}
