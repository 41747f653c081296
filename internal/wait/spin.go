package wait

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

const (
	// Bounds of the time that is spun. Below the least, both sides can fall
	// asleep in step for ever: each gives up just before the other's answer.
	spinLeast = 20 * time.Microsecond
	spinMost  = 200 * time.Microsecond

	// pausesPerLook is how long the processor rests between two looks at the
	// word, in PAUSE instructions of about 10 ns. A look at a word that nobody
	// has changed costs nothing outside this processor.
	pausesPerLook = 4
	// looksPerClock is how many looks come between two looks at the clock.
	looksPerClock = 16

	// After so many spins in vain a Spinner only tries one in retryEvery.
	missesAllowed = 4
	retryEvery    = 16
)

// spinning counts the goroutines of this process that spin. Each holds a
// processor, and one must be left for those that have something to do.
var spinning atomic.Int32

// A Spinner waits for changes of words: it looks at the word again and again for
// a short time, because a sleep and a wake take far longer than what usually is
// left to wait, and parks after that. Where spinning does not pay, because
// nothing has come of it several times, it parks at once, and tries again now
// and then. The zero Spinner is ready. It is for one goroutine.
type Spinner struct {
	misses int // spins in vain since the last that was not
}

// Change waits until the word is no longer what was seen, and returns what it is
// then, or the cause of the context's end. How it waits is described at
// [Spinner] and [Park].
func (s *Spinner) Change(ctx context.Context, word *atomic.Uint32, seen uint32) (uint32, error) {
	// SYNC POINT: changed. Pairs with the store of whoever wakes; what it wrote
	// before that is visible to our caller.
	if now := word.Load(); now != seen {
		return now, nil
	}
	if s.worthIt() {
		if now, ok := spin(word, seen); ok {
			s.misses = 0
			return now, nil
		}
		s.misses++
	}
	for {
		if err := Park(ctx, word, seen); err != nil {
			return seen, err
		}
		if now := word.Load(); now != seen {
			return now, nil
		}
	}
}

// worthIt says whether to spin this time.
func (s *Spinner) worthIt() bool {
	if s.misses < missesAllowed {
		return true
	}
	if s.misses < missesAllowed+retryEvery {
		s.misses++
		return false
	}
	s.misses = missesAllowed - 1
	return true
}

// spin looks at the word until it changes or the budget is used up.
func spin(word *atomic.Uint32, seen uint32) (uint32, bool) {
	budget := spinBudget()
	if budget == 0 {
		return seen, false
	}
	if int(spinning.Add(1)) >= runtime.GOMAXPROCS(0) {
		spinning.Add(-1)
		return seen, false
	}
	defer spinning.Add(-1)
	for end := time.Now().Add(budget); ; {
		for range looksPerClock {
			pause(pausesPerLook)
			if now := word.Load(); now != seen {
				return now, true
			}
		}
		if !time.Now().Before(end) {
			return seen, false
		}
	}
}

// spinBudget returns how long to spin: somewhat more than a wake takes on this
// machine, which is measured once, when it is first asked for; 0 where there is
// no second processor, so that spinning would only keep the other side from
// running. GOMAXPROCS knows the processors that the process may use, and the
// control group's quota.
func spinBudget() time.Duration {
	if runtime.GOMAXPROCS(0) < 2 || runtime.NumCPU() < 2 {
		return 0
	}
	return calibrated()
}

var calibrated = sync.OnceValue(func() time.Duration {
	return min(max(2*wakeTime(), spinLeast), spinMost)
})

// wakeTime measures how long it takes from a wake until the other thread runs:
// half of the median time in which two threads wake each other in turn.
func wakeTime() time.Duration {
	const rounds = 32
	var ping, pong atomic.Uint32
	sleepUntil := func(word *atomic.Uint32, want uint32) {
		for now := word.Load(); now != want; now = word.Load() {
			sys.FutexWait(raw(word), now, Recheck)
		}
	}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for i := range uint32(rounds) {
			sleepUntil(&ping, i+1)
			pong.Store(i + 1)
			Wake(&pong, 1)
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took := make([]time.Duration, rounds)
	for i := range uint32(rounds) {
		begun := time.Now()
		ping.Store(i + 1)
		Wake(&ping, 1)
		sleepUntil(&pong, i+1)
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return took[rounds/2] / 2
}
