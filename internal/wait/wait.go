// Package wait parks goroutines on words in shared memory until another process
// changes them (layer L1).
//
// [Park] sleeps while a word is what the caller has seen. It may return early
// for no reason, so every use is a loop that looks, parks, and looks again:
//
//	for seen := word.Load(); !enough(seen); seen = word.Load() {
//		if err := wait.Park(ctx, word, seen); err != nil {
//			return err
//		}
//	}
//
// and the other side stores first, then wakes:
//
//	word.Store(next) // SYNC POINT: pairs with the load in the loop
//	wait.Wake(word, wait.All)
//
// The kernel compares the word with what was seen under the same lock under
// which it puts the sleeper into its queue, so that no wake falls between look
// and sleep.
//
// Every park ends after [Recheck] at the latest. Whoever has a word mapped, if
// only for reading, can move its sleepers elsewhere with FUTEX_REQUEUE, where no
// wake reaches them: that is a delay of a second then, not for ever.
//
// # Threads
//
// A goroutine that sleeps in the kernel holds a thread. The first [directMax]
// waiters of a process do, because waking them is one system call and nothing
// more. Further ones share threads that wait for [sharedMax] words each
// (futex_waitv): 10,000 waiters are about 140 threads. Their wake goes through a
// channel, which costs a few microseconds more.
package wait

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

const (
	// All, for [Wake], wakes everybody.
	All = sys.FutexAll

	// Recheck is how long a park lasts at most.
	Recheck = time.Second

	// directMax is how many waiters of this process have a thread of their own.
	directMax = 64

	// sharedMax is how many waiters share a thread: one of the words of its
	// system call is the thread's own.
	sharedMax = sys.FutexWaitvMax - 1
)

// direct counts the waiters that hold a thread of their own.
var direct atomic.Int32

// Park sleeps while the word is seen, until somebody wakes its waiters, the
// context ends, or [Recheck] has passed. It returns nil in all cases but the
// context's, whose cause it returns; the caller looks again.
//
// A context that can never end, such as context.Background(), costs nothing.
// The word must stay mapped until Park has returned, and be aligned to 4 bytes,
// as its type sees to.
func Park(ctx context.Context, word *atomic.Uint32, seen uint32) error {
	if ctx.Done() != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if direct.Add(1) > directMax {
		direct.Add(-1)
		return shared.park(ctx, word, seen)
	}
	defer direct.Add(-1)
	if ctx.Done() == nil {
		return unexpected(sys.FutexWait(raw(word), seen, Recheck))
	}
	// A second word, of this process alone, brings the context's end: waking the
	// shared one for it would disturb everybody who waits there.
	c := cancels.Get().(*cancel)
	stop := context.AfterFunc(ctx, c.set)
	_, err := sys.FutexWaitv(append(c.words[:0], sys.NewFutexWaiter(raw(word), seen), sys.NewFutexWaiter(raw(&c.word), 0)), Recheck)
	if stop() {
		cancels.Put(c) // its word is still 0, and nobody will set it
	} else {
		// It may still be about to be set, so it is not used again.
		runtime.KeepAlive(c)
	}
	if ctx.Err() != nil {
		passOn(word)
		return context.Cause(ctx)
	}
	return unexpected(err)
}

// passOn gives a wake that a cancelled waiter may have got to another one, whom
// the waker, if it woke only one, has not reached.
func passOn(word *atomic.Uint32) { Wake(word, 1) }

// Wake wakes up to n waiters of the word, which the caller has changed before: of all
// processes. It returns how many it found. Whether anybody waits is for the
// caller to know: it costs a system call in any case.
func Wake(word *atomic.Uint32, n int) int { return sys.FutexWake(raw(word), n) }

// cancel is a word on which a context's end is waited for.
type cancel struct {
	word  atomic.Uint32
	words [2]sys.FutexWaiter
}

func (c *cancel) set() {
	// SYNC POINT: cancelled. Pairs with the kernel's comparison of the word
	// with 0 in FutexWaitv.
	c.word.Store(1)
	Wake(&c.word, 1)
}

var cancels = sync.Pool{New: func() any { return new(cancel) }}

// Rechecked counts the sleeps that ended because [Recheck] had passed. In a
// program whose waiters are waked as they should be, these are the waits in which
// nothing happened for so long.
var Rechecked atomic.Uint64

// unexpected filters the ends of a sleep that only mean: look again.
func unexpected(err error) error {
	if errors.Is(err, syscall.ETIMEDOUT) {
		Rechecked.Add(1)
		return nil
	}
	if err == nil || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return nil
	}
	// EFAULT: the word is not mapped. ENOMEM, EPERM of a sandbox, and the like.
	return &ParkError{err}
}

// ParkError says that the kernel would not let the caller sleep.
type ParkError struct{ Err error }

func (e *ParkError) Error() string {
	return "wait: park: " + e.Err.Error() + " (the word must be mapped, and futex and futex_waitv allowed)"
}

// Unwrap returns what the kernel answered.
func (e *ParkError) Unwrap() error { return e.Err }
