package wait

import (
	"context"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

// seatsMax is how many waiters of a process have a thread of their own: one for
// each bit of taken.
const seatsMax = 64

// seats are the places for waiters that hold a thread; bit i of taken: seat i is
// taken.
var (
	seats [seatsMax]seat
	taken atomic.Uint64
)

// seat is where one waiter at a time sleeps.
//
// It sleeps on one word, with nothing beside it and no time-out, because that is
// what a wake is fastest with. To get it out without a change of the word, the
// kernel is asked to wake only those sleepers of the word that gave it a certain
// bit (FUTEX_WAIT_BITSET): the seat's, which few sleepers of other processes have
// too. They look, and go on sleeping.
type seat struct {
	index int

	mu    sync.Mutex // guards what follows, and keeps the word mapped
	turn  uint64     // counts the waits here
	word  *word.Uint32
	seen  uint32
	bell  *Bell
	rung  uint32
	on    []On              // of a waiter on several words, beside called
	words []sys.FutexWaiter // room for them, used again

	called word.Uint32 // changed to get a waiter on several words out
}

func init() {
	for i := range seats {
		seats[i].index = i
	}
}

// takeSeat returns a seat for the caller alone; nil if all are taken.
func takeSeat() *seat {
	for {
		now := taken.Load()
		i := bits.TrailingZeros64(^now)
		if i == seatsMax {
			return nil
		}
		if taken.CompareAndSwap(now, now|1<<i) {
			return &seats[i]
		}
	}
}

// give makes the seat free again.
func (s *seat) give() { taken.And(^(uint64(1) << s.index)) }

// bit is what the seat's sleeper can be waked by alone.
func (s *seat) bit() uint32 { return 1 << (s.index % 32) }

// park sleeps in the seat.
func (s *seat) park(ctx context.Context, w *word.Uint32, seen uint32, bell *Bell, rung uint32) error {
	s.mu.Lock()
	s.turn++
	s.word, s.seen, s.bell, s.rung = w, seen, bell, rung
	turn := s.turn
	s.mu.Unlock()
	// A bell that is rung from here on finds us; if it was before, we see it now.
	if bell != nil && bell.Rung() != rung {
		s.leave()
		return nil
	}
	if ctx.Done() == nil {
		err := futexWait(w, seen, s.bit())
		s.leave()
		return unexpected(err)
	}
	stop := afterFunc(ctx, func() { s.wake(turn) })
	err := futexWait(w, seen, s.bit())
	s.leave()
	stop()
	if ctx.Err() != nil {
		passOn(w)
		return context.Cause(ctx)
	}
	return unexpected(err)
}

// leave says that the waiter sleeps no more.
func (s *seat) leave() {
	s.mu.Lock()
	s.word, s.bell, s.on = nil, nil, nil
	s.mu.Unlock()
}

// heard returns the turn of a waiter whose bell this is, and that has been rung
// since it looked; 0 if there is none.
func (s *seat) heard(b *Bell) (turn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bell == b && b.Rung() != s.rung {
		return s.turn
	}
	return 0
}

// wake gets the waiter of a turn out. It may not be asleep yet, or no longer
// there where it fell asleep, so it is waked until it has left.
func (s *seat) wake(turn uint64) {
	for pause := firstPause; !s.tryWake(turn); {
		word.Here()
		pause = insist(pause)
	}
}

// wakeSeats gets the waiters of these turns out, each in the seat of its index; 0:
// nobody. All are waked before any is waited for, and none is waited for for ever:
// where a program ignores the signal that interrupts a sleep, one whose memory was
// replaced beneath it cannot be got out.
func wakeSeats(turns *[seatsMax]uint64) {
	pause := firstPause
	for range wakesMost {
		left := false
		for i, turn := range turns {
			if turn != 0 && !seats[i].tryWake(turn) {
				left = true
			} else {
				turns[i] = 0
			}
		}
		if !left {
			return
		}
		word.Here()
		pause = insist(pause)
	}
}

// Pauses between wakes of who has to leave: who has been waked needs some microseconds
// to do so, and who is about to sleep to fall asleep. One that no wake has reached by
// interruptFrom has been moved to another word by somebody, or its memory has been
// replaced: from then on everybody's call is begun anew between two wakes.
const (
	firstPause    = time.Microsecond
	interruptFrom = 64 * time.Microsecond
	lastPause     = time.Millisecond
)

// insist makes a pause between two wakes, and returns how long the next is.
func insist(pause time.Duration) (next time.Duration) {
	if pause >= interruptFrom {
		interrupt()
	}
	rest(pause)
	return min(2*pause, lastPause)
}

// wakesMost is how often who has to leave is waked: for a second and more.
const wakesMost = 1000

// tryWake wakes the waiter of a turn once, and returns true if it has left.
func (s *seat) tryWake(turn uint64) (left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turn != turn || s.word == nil {
		return true
	}
	if s.on != nil {
		s.call()
		return true
	}
	futexWakeBit(s.word, s.bit())
	return false
}

// stale returns the turn of a waiter whose word has changed; 0 if there is none.
func (s *seat) stale() (turn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.word != nil && (s.word.Load() != s.seen || slices.ContainsFunc(s.on, On.changed)) {
		return s.turn
	}
	return 0
}
