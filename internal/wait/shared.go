package wait

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

// shared are the waiters beyond the first directMax.
var shared pool

// pool spreads waiters over threads.
type pool struct {
	mu      sync.Mutex
	threads []*thread // those with room come first
}

// thread is a goroutine that sleeps for up to sharedMax others.
type thread struct {
	pool *pool
	// changed is the first word of its sleep. Who adds or removes a waiter
	// changes it and wakes the thread.
	changed atomic.Uint32

	// Guarded by pool.mu.
	waiters map[*waiter]bool
}

// waiter is one parked goroutine. done is closed once, by who removes it from
// its thread.
type waiter struct {
	word *atomic.Uint32
	seen uint32
	end  time.Time // when it looks again in any case
	done chan struct{}
}

// park is [Park] for a waiter without a thread of its own.
func (p *pool) park(ctx context.Context, word *atomic.Uint32, seen uint32) error {
	w := &waiter{word: word, seen: seen, end: time.Now().Add(Recheck), done: make(chan struct{})}
	t := p.add(w)
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		p.remove(t, w)
		passOn(word)
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
		now := time.Now()
		sleep := Recheck

		t.pool.mu.Lock()
		words = append(words, sys.NewFutexWaiter(raw(&t.changed), changed))
		for w := range t.waiters {
			left := w.end.Sub(now)
			if left <= 0 {
				Rechecked.Add(1)
			}
			if left <= 0 || w.word.Load() != w.seen {
				t.release(w)
				continue
			}
			sleep = min(sleep, left)
			list = append(list, w)
			words = append(words, sys.NewFutexWaiter(raw(w.word), w.seen))
		}
		if len(list) == 0 {
			t.pool.drop(t)
			t.pool.mu.Unlock()
			return
		}
		t.pool.mu.Unlock()

		i, err := sys.FutexWaitv(words, sleep)
		switch {
		case err == nil && i > 0:
			t.pool.mu.Lock()
			if w := list[i-1]; t.waiters[w] {
				t.release(w)
			}
			t.pool.mu.Unlock()
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
	close(w.done)
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
