//go:build explore

package wait

import (
	"context"
	"time"

	"github.com/memlane/memlane/internal/word"
)

const explored = true

// Kernel is the explorer's.
var Kernel interface {
	Wait(w *word.Uint32, seen, bit uint32) error
	Wake(w *word.Uint32, n int, bit uint32) int
	// WakeNow is Wake that is no step of its own: the caller holds a lock.
	WakeNow(w *word.Uint32, bit uint32) int
	// Rest lets others run.
	Rest()
}

const anyBit = 1<<32 - 1

func futexWait(w *word.Uint32, seen, bit uint32) error { return Kernel.Wait(w, seen, bit) }

func futexWake(w *word.Uint32, n int) int { return Kernel.Wake(w, n, anyBit) }

func futexWakeBit(w *word.Uint32, bit uint32) int { return Kernel.WakeNow(w, bit) }

func rest(time.Duration) { Kernel.Rest() }

// afterFunc has fn run where the explorer's context ends, as a part of that.
func afterFunc(ctx context.Context, fn func()) func() bool {
	return ctx.(interface {
		AfterFunc(fn func()) func() bool
	}).AfterFunc(fn)
}

func threadID() int { return 0 }

func interrupt(int) {}

// RingOnce is [Bell.Ring] that does not wait until it is heard.
func RingOnce(b *Bell) {
	b.rung.Add(1)
	Nudge(b)
}

// Nudge wakes once who has not heard the bell.
func Nudge(b *Bell) {
	for i := range seats {
		if s := &seats[i]; s.bell == b && b.Rung() != s.rung {
			s.tryWake(s.turn)
		}
	}
}

// Unheard says whether there is somebody who has not heard the bell.
func Unheard(b *Bell) bool {
	for i := range seats {
		if s := &seats[i]; s.bell == b && s.word != nil && b.Rung() != s.rung {
			return true
		}
	}
	return false
}
