//go:build explore

package wait

import (
	"context"
	"slices"
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

func interrupt() {}

func prepareInterrupt() {}

// pending are the waits that a bell is still ringing for.
var pending []ringing

type ringing struct {
	bell *Bell
	seat *seat
	turn uint64
}

func (r ringing) heard() bool { return r.seat.turn != r.turn || r.seat.word == nil }

// RingOnce is [Bell.Ring] that does not wait until it is heard.
func RingOnce(b *Bell) {
	b.rung.Add(1)
	pending = slices.DeleteFunc(pending, ringing.heard)
	for i := range seats {
		if s := &seats[i]; s.bell == b && s.word != nil && b.Rung() != s.rung {
			pending = append(pending, ringing{b, s, s.turn})
		}
	}
	Nudge(b)
}

// Nudge wakes once those whom a bell is still ringing for.
func Nudge(b *Bell) {
	for _, r := range pending {
		if r.bell == b && !r.heard() {
			r.seat.tryWake(r.turn)
		}
	}
}

// Unheard says whether there is anybody whom a bell is still ringing for.
func Unheard(b *Bell) bool {
	return slices.ContainsFunc(pending, func(r ringing) bool { return r.bell == b && !r.heard() })
}
