package wait

import (
	"sync/atomic"
	"time"
)

// backstop looks after the waiters of this process.
var backstop stop

// stop is the goroutine that wakes who sleeps on a word that has changed. It
// runs while there are waiters.
type stop struct{ running atomic.Bool }

const (
	// grace is what a waiter that sleeps on a changed word is given: most are
	// just being waked.
	grace = 2 * time.Millisecond

	// After quietAfter looks between which nobody has parked, looks are restTimes
	// as far apart: they are all that a program at rest does, and each costs the
	// Go scheduler a tenth of a millisecond or two.
	quietAfter = 10
	restTimes  = 4
)

func (b *stop) start() {
	if !explored && !b.running.Load() && b.running.CompareAndSwap(false, true) {
		go b.run()
	}
}

func (b *stop) run() {
	var before uint64
	for quiet := 0; ; quiet++ {
		if quiet < quietAfter {
			time.Sleep(Recheck - grace)
		} else {
			time.Sleep(restTimes*Recheck - grace)
		}
		waiting, parked := waiters()
		if parked != before {
			before, quiet = parked, 0
		}
		if !waiting {
			b.running.Store(false)
			// Somebody may have found it running just before.
			if waiting, _ := waiters(); !waiting || !b.running.CompareAndSwap(false, true) {
				return
			}
		}
		b.check()
	}
}

// waiters says whether anybody waits, and how often somebody has parked so far.
func waiters() (waiting bool, parked uint64) {
	waiting, parked = shared.state()
	for i := range seats {
		seats[i].mu.Lock()
		parked += seats[i].turn
		seats[i].mu.Unlock()
	}
	return waiting || taken.Load() != 0, parked
}

// check wakes those whose words have changed and who are asleep nevertheless.
func (b *stop) check() {
	var turns [seatsMax]uint64
	found := shared.markStale()
	for i := range seats {
		turns[i] = seats[i].stale()
		found = found || turns[i] != 0
	}
	if !found {
		return
	}
	time.Sleep(grace)
	for i, turn := range turns {
		if turn != 0 && seats[i].stale() == turn {
			Late.Add(1)
			seats[i].wake(turn)
		}
	}
	shared.releaseStale()
}
