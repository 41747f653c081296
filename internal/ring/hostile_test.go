package ring_test

import (
	"context"
	"errors"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/ring"
)

// A reader whose cursor makes no sense is let go, once, and the writer goes on.
func TestCursorsThatMakeNoSense(t *testing.T) {
	for name, cursor := range map[string]uint64{"beyond the head": 1 << 40, "just beyond the head": 14, "back": 3} {
		t.Run(name, func(t *testing.T) {
			tp := newTopic(t, ring.Config{Slots: 16, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.Block})
			r := tp.join(0, true)
			publish := func(from, to uint64) {
				t.Helper()
				for i := from; i < to; i++ {
					if err := tp.w.TryPublish(message(i, 8)); err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
			}
			words := r.own.Uint64(layout.ReaderCursorAt)
			publish(0, 13)
			words.Store(5)
			publish(13, 18) // asks for the cursor
			if name == "just beyond the head" {
				cursor = 19
			}
			words.Store(cursor)
			publish(18, 60)
			if len(tp.evicted) != 1 || !errors.Is(tp.evicted[0], ring.ErrCorrupt) || tp.w.Members() != 0 {
				t.Errorf("%d members; let go: %v; want the one reader, because of %v", tp.w.Members(), tp.evicted, ring.ErrCorrupt)
			}
		})
	}
}

// A reader that says it holds everything is believed for its share alone.
func TestHoldsBeyondTheShare(t *testing.T) {
	tp := newTopic(t, ring.Config{Slots: 64, SlotBytes: 64, ArenaBytes: 1 << 14, ArenaLimit: 1 << 14, Policy: ring.DropOldest})
	r := tp.join(0, false)
	for i := range uint64(layout.ReaderHoldsCount) {
		r.own.Uint64(layout.ReaderHoldsAt + 8*int(i)).Store(i + 1)
	}
	r.own.Uint64(layout.ReaderHeldAt).Store(^uint64(0))
	honest := tp.join(0, false)
	for i := range uint64(300) {
		if err := tp.w.Publish(context.Background(), message(i, 1000)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		b, _, err := honest.receive(nil)
		if err == nil {
			_, err = check(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Who falls asleep has said before how far it is, and what it has received.
func TestCursorBeforeSleep(t *testing.T) {
	tp := newTopic(t, ring.Config{Slots: 64, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.Block})
	r := tp.join(0, true)
	for i := range uint64(5) {
		if err := tp.w.TryPublish(message(i, 8)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Next(nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.Next(nil); err != ring.ErrEmpty {
		t.Fatal(err)
	}
	if _, _, ok := r.Sleep(); !ok {
		t.Fatal("there is something to receive")
	}
	if got := r.own.Uint64(layout.ReaderCursorAt).Load(); got != 5 {
		t.Errorf("the cursor is %d; want 5", got)
	}
}
