package wait

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/memlane/memlane/internal/word"
)

// A change of any of the words, the bell and the context end it, on a thread of its
// own and on shared ones.
func TestParkAny(t *testing.T) {
	for _, c := range []struct {
		name   string
		shared bool
		words  int
	}{
		{"own thread", false, 5}, {"shared thread", true, 5}, {"more than a system call takes", false, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.shared {
				withoutSeats(t)
			}
			late := Late.Load()
			words := make([]word.Uint32, c.words)
			on := make([]On, c.words)
			for i := range on {
				on[i].Word = &words[i]
			}
			var bell Bell
			ctx, cancel := context.WithCancel(background)
			// park begins to park, and does n times what is to end it.
			park := func(end func(), want error) {
				t.Helper()
				rung := bell.Rung()
				done := make(chan error)
				go func() { done <- ParkAny(ctx, on, &bell, rung) }()
				runtime.Gosched()
				end()
				if err := <-done; !errors.Is(err, want) {
					t.Fatalf("it ended with %v; want %v", err, want)
				}
			}
			for i := range words {
				park(func() {
					words[i].Store(1)
					Wake(&words[i], All)
				}, nil)
				on[i].Seen = 1
			}
			for range 100 {
				park(bell.Ring, nil)
			}
			park(cancel, context.Canceled)
			if err := ParkAny(ctx, on, nil, 0); !errors.Is(err, context.Canceled) {
				t.Errorf("with a context that has ended: %v", err)
			}
			if n := Late.Load() - late; n > 0 {
				t.Errorf("%d waits were ended by the backstop", n)
			}
		})
	}
}

// Somebody moves the sleepers of one of the words elsewhere, or changes it and dies
// before the wake: it is only late.
func TestParkAnyHasABackstop(t *testing.T) {
	for _, way := range []string{"own thread", "shared thread"} {
		t.Run(way, func(t *testing.T) {
			if way == "shared thread" {
				withoutSeats(t)
			}
			var a, b word.Uint32
			done := make(chan error)
			before := waiting()
			go func() { done <- ParkAny(background, []On{{&a, 0}, {&b, 0}}, nil, 0) }()
			for waiting() == before {
				runtime.Gosched()
			}
			b.Store(1)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParkAnyAllocates(t *testing.T) {
	var a, b word.Uint32
	on := []On{{&a, 1}, {&b, 1}}
	if n := testing.AllocsPerRun(100, func() { ParkAny(background, on, nil, 0) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
