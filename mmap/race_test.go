//go:build race

package mmap_test

const raceDetector = true
