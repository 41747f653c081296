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
	waiters map[*waiter]bool
}

// waiter is one parked goroutine, or one of several words that it waits for.
type waiter struct {
	word  *word.Uint32
	seen  uint32
	bell  *Bell
	done  *ending
	stale bool // the backstop has found its word changed
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
	me := &waiter{word: w, seen: seen, bell: bell, done: &ending{c: make(chan struct{})}}
	t := p.add(me)
	if bell != nil && bell.Rung() != rung {
		p.remove(t, me)
		return nil
	}
	select {
	case <-me.done.c:
		return nil
	case <-ctx.Done():
		p.remove(t, me)
		passOn(w)
		// The thread may still be asleep on the word, and the caller may unmap
		// it now. That is harmless: the kernel compares it before it sleeps
		// and not after, and knows the sleeper by the page, which it holds.
		return context.Cause(ctx)
	}
}

// add gives the waiter to a thread, a new one if none has room.
func (p *pool) add(w *waiter) *thread {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked++
	for _, t := range p.threads {
		if len(t.waiters) < sharedMax {
			t.waiters[w] = true
			t.poke()
			return t
		}
	}
	t := &thread{pool: p, waiters: map[*waiter]bool{w: true}}
	p.threads = append(p.threads, t)
	go t.run()
	return t
}

func (p *pool) remove(t *thread, w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.waiters[w] {
		delete(t.waiters, w)
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
		for w := range t.waiters {
			w.stale = w.word.Load() != w.seen
			found = found || w.stale
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
		before := len(t.waiters)
		for w := range t.waiters {
			if condition(w) {
				t.release(w)
			}
		}
		if len(t.waiters) < before {
			t.poke()
		}
	}
}

// state says whether anybody waits, and how often somebody has parked here.
func (p *pool) state() (waiting bool, parked uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.threads) > 0, p.parked
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
		for w := range t.waiters {
			if w.word.Load() != w.seen {
				t.release(w)
				continue
			}
			list = append(list, w)
			words = append(words, sys.NewFutexWaiter(word.Raw(w.word), w.seen))
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
			if w := list[i-1]; t.waiters[w] {
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
			for w := range t.waiters {
				t.release(w)
			}
			t.pool.mu.Unlock()
		}
	}
}

// release lets a waiter go. The caller holds pool.mu.
func (t *thread) release(w *waiter) {
	delete(t.waiters, w)
	w.done.end()
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
