// Package wait parks goroutines on words in shared memory until another process
// changes them (layer L1).
//
// [Park] sleeps while a word is what the caller has seen. It may return early
// for no reason, so every use is a loop that looks, parks, and looks again:
//
//	for seen := w.Load(); !enough(seen); seen = w.Load() {
//		if err := wait.Park(ctx, w, seen, nil, 0); err != nil {
//			return err
//		}
//	}
//
// and the other side stores first, then wakes:
//
//	w.Store(next) // SYNC POINT: pairs with the load in the loop
//	wait.Wake(w, wait.All)
//
// The kernel compares the word with what was seen under the same lock under
// which it puts the sleeper into its queue, so that no wake falls between look
// and sleep. A [Spinner] looks for a while first. A [Bell] ends the waits of this process from within it.
//
// # Threads
//
// A goroutine that sleeps in the kernel holds a thread. The first [seatsMax]
// waiters of a process do, because waking them is one system call and nothing
// more. Further ones share threads that wait for many words at once
// (futex_waitv): 10,000 waiters are about 140 threads. Their wake goes through a
// channel, which costs a few microseconds more.
//
// To get out a waiter whom no wake reaches, all threads of the process are interrupted
// with SIGURG. For that a process that has waited keeps one descriptor open: the list of
// its threads, in /proc.
//
// # The backstop
//
// Whoever has a word mapped, if only for reading, can move its sleepers elsewhere
// with FUTEX_REQUEUE, where no wake reaches them; and a process can be killed
// between its store and its wake. So once in [Recheck] every process that has
// waiters looks at all of their words, and wakes who sleeps on one that has
// changed: such a wait is a second late, not for ever. In a process in which
// nobody has parked for ten seconds it is once in four; with thousands of waiters,
// once in up to 16.
package wait

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

const (
	// All, for [Wake], wakes everybody.
	All = sys.FutexAll

	// Recheck is how late a wait ends whose wake was lost; at least four times that in
	// a process at rest.
	Recheck = time.Second
)

// Park sleeps while the word is seen, until somebody wakes its waiters, the bell
// is rung, or the context ends. It returns nil in all cases but the context's,
// whose cause it returns, and a [*ParkError]; the caller looks again.
//
// The bell, which may be nil, ends the sleep too if it has been rung since rung
// was read from it. A context that can never end, such as context.Background(),
// costs nothing. The word must stay mapped until Park has returned.
func Park(ctx context.Context, w *word.Uint32, seen uint32, bell *Bell, rung uint32) error {
	if ctx.Done() != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	backstop.start()
	if s := takeSeat(); s != nil {
		defer s.give()
		return s.park(ctx, w, seen, bell, rung)
	}
	return shared.park(ctx, w, seen, bell, rung)
}

// Wake wakes up to n waiters of the word, which the caller has changed before: of
// all processes. It returns how many it found. Whether anybody waits is for the
// caller to know: it costs a system call in any case.
func Wake(w *word.Uint32, n int) int { return futexWake(w, n) }

// passOn gives a wake that a cancelled waiter may have got to another one, whom
// the waker, if it woke only one, has not reached.
func passOn(w *word.Uint32) { Wake(w, 1) }

// A Bell ends waits of this process: those that were told of it, whatever their
// words are. The zero Bell is ready.
type Bell struct{ rung atomic.Uint32 }

// Rung counts how often the bell was rung. Read it before the look at the words
// that decides to wait, and give it to [Park].
func (b *Bell) Rung() uint32 { return b.rung.Load() }

// Ring ends all waits that were told of the bell and have not heard of this. It
// returns when their goroutines are on their way.
func (b *Bell) Ring() {
	b.rung.Add(1)
	shared.ring(b)
	var turns [seatsMax]uint64
	for i := range seats {
		turns[i] = seats[i].heard(b)
	}
	wakeSeats(&turns)
}

// Late counts the sleeps of this process that the backstop ended: those whose
// wake was lost.
var Late atomic.Uint64

// unexpected filters the ends of a sleep that only mean: look again.
func unexpected(err error) error {
	if err == nil || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ETIMEDOUT) {
		return nil
	}
	// EFAULT: the word is not mapped. EPERM of a sandbox, and the like.
	return &ParkError{err}
}

// ParkError says that the kernel would not let the caller sleep.
type ParkError struct{ Err error }

func (e *ParkError) Error() string {
	return "wait: park: " + e.Err.Error() + " (the word must be mapped, and futex allowed)"
}

// Unwrap returns what the kernel answered.
func (e *ParkError) Unwrap() error { return e.Err }

// ParkShared is [Park] for those who need no thread of their own: it may end some
// microseconds later.
func ParkShared(w *word.Uint32, seen uint32, bell *Bell, rung uint32) error {
	backstop.start()
	return shared.park(context.Background(), w, seen, bell, rung)
}

// Wait sleeps until the bell has been rung since rung was read from it, or the
// context ends.
func (b *Bell) Wait(ctx context.Context, rung uint32) error {
	var never word.Uint32
	for b.Rung() == rung {
		if err := Park(ctx, &never, 0, b, rung); err != nil {
			return err
		}
	}
	return nil
}
