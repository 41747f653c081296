//go:build explore

package wait_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/explore"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

func explored(t *testing.T, c explore.Config) {
	t.Helper()
	r := explore.Run(c)
	t.Logf("%v", r)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if !r.Complete {
		t.Error("not complete")
	}
}

// scene has processes that share a few words.
func scene(bodies ...func(w []*word.Uint32)) *explore.Scene {
	const n = 4
	r := region.Heap(4 * n)
	var words []*word.Uint32
	for i := range n {
		words = append(words, r.Uint32(4*i))
	}
	s := &explore.Scene{Memory: r.Bytes(0, 4*n), Mark: func(int) {}, Check: func() error { return nil }}
	for _, body := range bodies {
		s.Bells = append(s.Bells, new(wait.Bell))
		s.Processes = append(s.Processes, func() { body(words) })
	}
	return s
}

// parkUntil parks until the word is what is wanted.
func parkUntil(ctx context.Context, w *word.Uint32, want uint32) error {
	for seen := w.Load(); seen != want; seen = w.Load() {
		if err := wait.Park(ctx, w, seen, nil, 0); err != nil {
			return err
		}
	}
	return nil
}

func mustPark(w *word.Uint32, want uint32) {
	explore.Assert(parkUntil(context.Background(), w, want) == nil, "park")
}

// Two hand a word to and fro: a wake never falls between look and sleep.
func TestExploreHandOff(t *testing.T) {
	explored(t, explore.Config{Spurious: 1, Build: func() *explore.Scene {
		return scene(func(w []*word.Uint32) {
			for i := range uint32(3) {
				w[0].Store(i + 1)
				wait.Wake(w[0], 1)
				mustPark(w[1], i+1)
			}
		}, func(w []*word.Uint32) {
			for i := range uint32(3) {
				mustPark(w[0], i+1)
				w[1].Store(i + 1)
				wait.Wake(w[1], 1)
			}
		})
	}})
}

// One wakes two, all at once.
func TestExploreWakeAll(t *testing.T) {
	sleep := func(w []*word.Uint32) { mustPark(w[0], 1) }
	explored(t, explore.Config{Build: func() *explore.Scene {
		return scene(sleep, sleep, func(w []*word.Uint32) { w[0].Store(1); wait.Wake(w[0], wait.All) })
	}})
}

// cancelled is a context that one process ends, in the middle of everything.
type cancelled struct {
	done chan struct{}
	err  error
	fn   func()
}

func (c *cancelled) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *cancelled) Done() <-chan struct{}       { return c.done }
func (c *cancelled) Err() error                  { return c.err }
func (c *cancelled) Value(any) any               { return nil }

// AfterFunc is what package wait calls in place of context.AfterFunc.
func (c *cancelled) AfterFunc(fn func()) func() bool {
	c.fn = fn
	return func() bool { was := c.fn != nil; c.fn = nil; return was }
}

func (c *cancelled) cancel() {
	c.err = context.Canceled
	if fn := c.fn; fn != nil {
		c.fn = nil
		fn()
	}
}

// A waiter that is cancelled ends, and a wake for one that it has got reaches the
// other.
func TestExploreCancel(t *testing.T) {
	explored(t, explore.Config{Build: func() *explore.Scene {
		ctx := &cancelled{done: make(chan struct{})}
		s := scene(func(w []*word.Uint32) {
			err := parkUntil(ctx, w[0], 1)
			explore.Assert(err == nil || errors.Is(err, context.Canceled), "park: %v", err)
			if err == nil {
				wait.Wake(w[0], 1) // one wake for two: who has it tells the other
			}
		}, func(w []*word.Uint32) {
			mustPark(w[0], 1)
			wait.Wake(w[0], 1)
		}, func(w []*word.Uint32) {
			w[0].Store(1)
			wait.Wake(w[0], 1)
			w[1].Store(1) // so that there is a step before
			ctx.cancel()
		})
		s.Ghost = func() uint64 {
			if ctx.err != nil {
				return 1
			}
			return 0
		}
		return s
	}})
}
