//go:build !explore

package wait

import (
	"context"
	"runtime"
	"time"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

// What the kernel does for waiters, and the clock; with the build tag explore the
// explorer takes their place, in which nothing is late.

const explored = false

func futexWait(w *word.Uint32, seen, bit uint32) error {
	return sys.FutexWait(word.Raw(w), seen, bit, 0)
}

func futexWake(w *word.Uint32, n int) int { return sys.FutexWake(word.Raw(w), n, sys.FutexAnyBit) }

func futexWakeBit(w *word.Uint32, bit uint32) int {
	return sys.FutexWake(word.Raw(w), All, bit)
}

func rest(d time.Duration) { time.Sleep(d) }

func afterFunc(ctx context.Context, fn func()) func() bool { return context.AfterFunc(ctx, fn) }

// lockThread keeps the goroutine on its thread, whose id it returns, until
// unlockThread: a goroutine that waits for a lock before it sleeps may go on on
// another one, and who interrupts the first gets nobody out.
func lockThread() int {
	runtime.LockOSThread()
	return sys.Gettid()
}

func unlockThread() { runtime.UnlockOSThread() }

func interrupt(thread int) { sys.Interrupt(thread) }
