//go:build !explore

package wait

import (
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

// What the kernel does for waiters; with the build tag explore the explorer
// takes its place, in which nothing is late.

const explored = false

func futexWait(w *word.Uint32, seen, bit uint32) error {
	return sys.FutexWait(word.Raw(w), seen, bit, 0)
}

func futexWake(w *word.Uint32, n int) int { return sys.FutexWake(word.Raw(w), n, sys.FutexAnyBit) }

func futexWakeBit(w *word.Uint32, bit uint32) int {
	return sys.FutexWake(word.Raw(w), All, bit)
}

func threadID() int { return sys.Gettid() }

func interrupt(thread int) { sys.Interrupt(thread) }
