package wait

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

const (
	// sharedMax is how many waiters share a thread: one of the words of its
	// system call is the thread's own.
	sharedMax = sys.FutexWaitvMax - 1

	// lookEvery is how often a thread looks at its words where it may not wait
	// for many of them at once.
	lookEvery = 5 * time.Millisecond
)

// shared are the waiters that have no seat.
var shared pool

// pool spreads waiters over threads.
type pool struct {
	mu      sync.Mutex
	threads []*thread
	parked  uint64 // counts the waits
}

// thread is a goroutine that sleeps for up to sharedMax others.
type thread struct {
	pool *pool
	// changed is the first word of its sleep. Who adds or removes a waiter
	// changes it and wakes the thread.
	changed word.Uint32

	// Guarded by pool.mu.
	waiters []*waiter
	on      []On // what each of them sleeps on: together, for the backstop's looks
}

// waiter is one parked goroutine, or one of several words that it waits for.
type waiter struct {
	bell  *Bell
	done  *ending
	stale bool // the backstop has found its word changed

	// Guarded by pool.mu.
	in *thread // nil since it was let go
	at int     // where in the thread's waiters
}

// ending is closed once, by who removes the first of its waiters from a thread:
// with pool.mu.
type ending struct {
	c    chan struct{}
	over bool
}

func (e *ending) end() {
	if !e.over {
		e.over = true
		close(e.c)
	}
}

// park is [Park] for a waiter without a seat.
func (p *pool) park(ctx context.Context, w *word.Uint32, seen uint32, bell *Bell, rung uint32) error {
	me := &waiter{bell: bell, done: &ending{c: make(chan struct{})}}
	p.add(me, On{w, seen})
	if bell != nil && bell.Rung() != rung {
		p.remove(me)
		return nil
	}
	select {
	case <-me.done.c:
		return nil
	case <-ctx.Done():
		p.remove(me)
		passOn(w)
		// The thread may still be asleep on the word, and the caller may unmap
		// it now. That is harmless: the kernel compares it before it sleeps
		// and not after, and knows the sleeper by the page, which it holds.
		return context.Cause(ctx)
	}
}

// add gives the waiter to a thread, a new one if none has room.
func (p *pool) add(w *waiter, on On) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked++
	for _, t := range p.threads {
		if len(t.waiters) < sharedMax {
			t.take(w, on)
			t.poke()
			return
		}
	}
	t := &thread{pool: p}
	t.take(w, on)
	p.threads = append(p.threads, t)
	go t.run()
}

func (p *pool) remove(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := w.in; t != nil {
		t.forget(w)
		t.poke()
	}
}

// ring lets go of all who were told of the bell.
func (p *pool) ring(b *Bell) { p.releaseIf(func(w *waiter) bool { return w.bell == b }) }

// markStale notes who sleeps on a word that has changed, and says whether there
// is anybody.
func (p *pool) markStale() (found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.threads {
		for i, on := range t.on {
			if on.changed() {
				t.waiters[i].stale, found = true, true
			}
		}
	}
	return found
}

// releaseStale lets go of those whom markStale has noted and who are still there.
func (p *pool) releaseStale() {
	p.releaseIf(func(w *waiter) bool {
		if w.stale {
			Late.Add(1)
		}
		return w.stale
	})
}

func (p *pool) releaseIf(condition func(*waiter) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.threads {
		if t.releaseIf(condition) {
			t.poke()
		}
	}
}

// state says how many wait, and how often somebody has parked here.
func (p *pool) state() (waiting int, parked uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.threads {
		waiting += len(t.waiters)
	}
	return waiting, p.parked
}

// poke has the thread look at its waiters again. The caller holds pool.mu.
func (t *thread) poke() {
	// SYNC POINT: waiters changed. Pairs with the load in run before it copies
	// them: a change after that is seen by the kernel's comparison.
	t.changed.Add(1)
	Wake(&t.changed, 1)
}

// run sleeps for the thread's waiters until there are none.
func (t *thread) run() {
	words := make([]sys.FutexWaiter, 0, sys.FutexWaitvMax)
	list := make([]*waiter, 0, sharedMax)
	for {
		changed := t.changed.Load()
		words, list = words[:0], list[:0]
		t.pool.mu.Lock()
		words = append(words, sys.NewFutexWaiter(word.Raw(&t.changed), changed))
		t.releaseIf(func(w *waiter) bool { return t.on[w.at].changed() })
		list = append(list, t.waiters...)
		for _, on := range t.on {
			words = append(words, sys.NewFutexWaiter(word.Raw(on.Word), on.Seen))
		}
		if len(list) == 0 {
			t.pool.drop(t)
			t.pool.mu.Unlock()
			return
		}
		t.pool.mu.Unlock()

		i, err := sys.FutexWaitv(words)
		switch {
		case err == nil && i > 0:
			t.pool.mu.Lock()
			if w := list[i-1]; w.in == t {
				t.release(w)
			}
			t.pool.mu.Unlock()
		case errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM):
			// A sandbox that does not know the call.
			sys.FutexWait(word.Raw(&t.changed), changed, 1, lookEvery)
		case err != nil && unexpected(err) != nil:
			// One of the words cannot be slept on; the kernel does not say
			// which. Everybody looks for himself.
			t.pool.mu.Lock()
			t.releaseIf(func(*waiter) bool { return true })
			t.pool.mu.Unlock()
		}
	}
}

// take adds a waiter. The caller of this and the next ones holds pool.mu.
func (t *thread) take(w *waiter, on On) {
	w.in, w.at = t, len(t.waiters)
	t.waiters, t.on = append(t.waiters, w), append(t.on, on)
}

// forget takes a waiter away; the last one comes into its place.
func (t *thread) forget(w *waiter) {
	last := len(t.waiters) - 1
	t.waiters[w.at], t.on[w.at] = t.waiters[last], t.on[last]
	t.waiters[w.at].at = w.at
	t.waiters[last], t.on[last] = nil, On{}
	t.waiters, t.on = t.waiters[:last], t.on[:last]
	w.in = nil
}

// release lets a waiter go.
func (t *thread) release(w *waiter) {
	t.forget(w)
	w.done.end()
}

// releaseIf lets go of some waiters, and says whether of any.
func (t *thread) releaseIf(condition func(*waiter) bool) (any bool) {
	for i := len(t.waiters) - 1; i >= 0; i-- {
		if w := t.waiters[i]; condition(w) {
			t.release(w)
			any = true
		}
	}
	return any
}

// drop forgets a thread that ends. The caller holds mu.
func (p *pool) drop(t *thread) {
	for i, other := range p.threads {
		if other == t {
			p.threads = append(p.threads[:i], p.threads[i+1:]...)
			return
		}
	}
}
