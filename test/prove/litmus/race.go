//go:build race

package main

// raceDetector says that this build has it.
const raceDetector = true
