package wait

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// backstop looks after the waiters of this process.
var backstop stop

// stop is the goroutine that wakes who sleeps on a word that has changed. It
// runs while there are waiters, or somebody else's looks to be had.
type stop struct {
	running atomic.Bool

	mu   sync.Mutex
	also []func() bool
}

const (
	// grace is what a waiter that sleeps on a changed word is given: most are
	// just being waked.
	grace = 2 * time.Millisecond

	// After quietAfter looks between which nobody has parked, looks are restTimes
	// as far apart: they are all that a program at rest does, and each costs the
	// Go scheduler a tenth of a millisecond or two.
	quietAfter = 10
	restTimes  = 4

	// A process with thousands of waiters has thousands of words to look at, and the
	// caches have forgotten all of them. At rest it looks less often, the more there
	// are, if not less than once in restMost: with 10,000 waiters a look takes about
	// 80 µs, a tenth of the processor time that waking up for it does.
	restPerWaiter = 1600 * time.Microsecond
	restMost      = 16 * Recheck
)

// AlsoAtRecheck has look called whenever this process looks after its waiters, until
// it returns false. A program at rest is waked once for all that it has to look at:
// a timer of its own for each would cost as much as this one.
func AlsoAtRecheck(look func() bool) {
	backstop.mu.Lock()
	backstop.also = append(backstop.also, look)
	backstop.mu.Unlock()
	backstop.start()
}

func (b *stop) start() {
	if !explored && !b.running.Load() && b.running.CompareAndSwap(false, true) {
		go b.run()
	}
}

func (b *stop) run() {
	prepareInterrupt()
	var before uint64
	var waiting int
	for quiet := 0; ; quiet++ {
		if quiet < quietAfter {
			time.Sleep(Recheck - grace)
		} else {
			time.Sleep(min(max(restTimes*Recheck, restPerWaiter*time.Duration(waiting)), restMost) - grace)
		}
		var needed bool
		var parked uint64
		needed, waiting, parked = b.needed()
		if parked != before {
			before, quiet = parked, 0
		}
		if !needed {
			b.running.Store(false)
			// Somebody may have found it running just before.
			if needed, _, _ := b.needed(); !needed || !b.running.CompareAndSwap(false, true) {
				return
			}
		}
		b.check()
		b.lookAlso()
	}
}

// needed says whether there is anything to look at, how many wait, and how often
// somebody has parked so far.
func (b *stop) needed() (needed bool, waiting int, parked uint64) {
	waiting, parked = waiters()
	b.mu.Lock()
	defer b.mu.Unlock()
	return waiting > 0 || len(b.also) > 0, waiting, parked
}

// lookAlso has the others look, and forgets those who need not again.
func (b *stop) lookAlso() {
	b.mu.Lock()
	looks := b.also
	b.also = nil
	b.mu.Unlock()
	looks = slices.DeleteFunc(looks, func(look func() bool) bool { return !look() })
	b.mu.Lock()
	b.also = append(b.also, looks...)
	b.mu.Unlock()
}

// waiters says how many wait, and how often somebody has parked so far.
func waiters() (waiting int, parked uint64) {
	waiting, parked = shared.state()
	for i := range seats {
		seats[i].mu.Lock()
		parked += seats[i].turn
		seats[i].mu.Unlock()
	}
	return waiting + bits.OnesCount64(taken.Load()), parked
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
	shared.releaseStale()
	for i, turn := range turns {
		if turn == 0 || seats[i].stale() != turn {
			turns[i] = 0
			continue
		}
		Late.Add(1)
	}
	wakeSeats(&turns)
}
