//go:build explore

package wait

import "github.com/memlane/memlane/internal/word"

const explored = true

// Kernel is the explorer's.
var Kernel interface {
	Wait(w *word.Uint32, seen, bit uint32) error
	Wake(w *word.Uint32, n int, bit uint32) int
}

const anyBit = 1<<32 - 1

func futexWait(w *word.Uint32, seen, bit uint32) error { return Kernel.Wait(w, seen, bit) }

func futexWake(w *word.Uint32, n int) int { return Kernel.Wake(w, n, anyBit) }

func futexWakeBit(w *word.Uint32, bit uint32) int { return Kernel.Wake(w, All, bit) }

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
