package wait

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
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

	// After so many spins in vain in a row a Spinner only tries one now and then:
	// after retryFirst waits, then after twice as many, and so on to retryMost.
	missesAllowed = 4
	retryFirst    = 16
	retryMost     = 4096
)

// spinning counts the goroutines of this process that spin. Each holds a
// processor, and one must be left for those that have something to do.
var spinning atomic.Int32

// A Spinner looks at a word again and again for a short time, because a sleep and
// a wake take far longer than what usually is left to wait. Where that does not
// pay, because nothing has come of it several times, as when both sides share a
// processor, it gives up at once, and tries again now and then. The zero Spinner is ready. All who
// wait for the same thing may use one together.
type Spinner struct {
	misses atomic.Int32 // spins in vain since the last that was not
	parks  atomic.Int32 // since the last spin
}

// Spin looks at the word until it is no longer what was seen, and returns true
// then. If that takes too long it returns false: it is time to [Park].
func (s *Spinner) Spin(w *word.Uint32, seen uint32) bool {
	if explored || !s.worthIt() {
		return false
	}
	if spin(w, seen) {
		s.misses.Store(0)
		return true
	}
	s.misses.Add(1)
	return false
}

// SpinAny is [Spinner.Spin] on several words: it returns true when one of them is
// no longer what was seen.
func (s *Spinner) SpinAny(on []On) bool {
	if len(on) == 1 {
		return s.Spin(on[0].Word, on[0].Seen)
	}
	if explored || !s.worthIt() {
		return false
	}
	if spinWhile(func() bool { return slices.ContainsFunc(on, On.changed) }) {
		s.misses.Store(0)
		return true
	}
	s.misses.Add(1)
	return false
}

// worthIt says whether to spin this time. Several goroutines may disturb each
// other's counts here, which does not matter.
func (s *Spinner) worthIt() bool {
	misses := s.misses.Load()
	if misses < missesAllowed {
		return true
	}
	pause := min(retryFirst<<min(misses-missesAllowed, 16), retryMost)
	if int(s.parks.Add(1)) <= pause {
		return false
	}
	s.parks.Store(0)
	return true
}

// spin looks at the word until it changes or the budget is used up, and says
// whether it has changed.
func spin(w *word.Uint32, seen uint32) bool {
	return spinWhile(func() bool { return w.Load() != seen })
}

// spinWhile looks until changed returns true, or the budget is used up.
func spinWhile(changed func() bool) bool {
	budget := spinBudget()
	if budget == 0 {
		return false
	}
	if int(spinning.Add(1)) >= runtime.GOMAXPROCS(0) {
		spinning.Add(-1)
		return false
	}
	defer spinning.Add(-1)
	for end := time.Now().Add(budget); ; {
		for range looksPerClock {
			pause(pausesPerLook)
			if changed() {
				return true
			}
		}
		if !time.Now().Before(end) {
			return false
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
	var ping, pong word.Uint32
	sleepUntil := func(w *word.Uint32, want uint32) {
		for now := w.Load(); now != want; now = w.Load() {
			futexWait(w, now, sys.FutexAnyBit)
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
