package ring_test

import (
	"context"
	"errors"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/ring"
)

// What was dropped, and nothing was published after it, is told when the writer is gone.
func TestRest(t *testing.T) {
	background := context.Background()
	tp := newTopic(t, ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.DropOldest})
	r := tp.join(0, true)
	publish := func(lengths ...int) {
		t.Helper()
		var batch [][]byte
		for _, n := range lengths {
			batch = append(batch, make([]byte, n))
		}
		if err := tp.w.PublishBatch(background, batch); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func() {
		t.Helper()
		if _, _, err := r.Next(nil); err != ring.ErrEmpty {
			t.Fatal(err)
		}
	}
	publish(8)
	if _, _, err := r.Next(nil); err != nil {
		t.Fatal(err)
	}
	nothing()
	if rest := r.Rest(); rest != nil {
		t.Error(rest)
	}
	publish(1000, 500, 300) // a batch is several messages
	l, err := tp.w.Loan(background, 4000)
	if err != nil {
		t.Fatal(err)
	}
	nothing() // but it is not there any more
	if rest := r.Rest(); rest == nil || rest.Lost != 3 {
		t.Errorf("the rest is %v; want 3 lost messages", rest)
	}
	for range 2 {
		nothing()
		if rest := r.Rest(); rest != nil {
			t.Errorf("told again: %v", rest)
		}
	}
	if received, lost := r.Counts(); received != 1 || lost != 3 {
		t.Errorf("%d received, %d lost; want 1, 3", received, lost)
	}
	// It goes on as if nothing had been.
	tp.w.Return(l)
	publish(8)
	if _, sequence, err := r.Next(nil); err != nil || sequence != 4 {
		t.Error(sequence, err)
	}
}

// A reader that the writer has let go, and that does not know it, never gets another
// message for the one that it reads.
func TestLetGo(t *testing.T) {
	background := context.Background()
	for name, count := range map[string]int{"one": 1, "batch": 3} {
		t.Run(name, func(t *testing.T) {
			// The batch is too large to be copied as a whole.
			const arena = 128 << 10
			tp := newTopic(t, ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: arena, ArenaLimit: arena, Policy: ring.Block})
			r := tp.join(0, true)
			publish := func() {
				t.Helper()
				var batch [][]byte
				for range count {
					batch = append(batch, make([]byte, 90_000/count))
				}
				if err := tp.w.PublishBatch(background, batch); err != nil {
					t.Fatal(err)
				}
			}
			publish()
			if count > 1 {
				if _, _, err := r.Next(nil); err != nil { // it is in the middle of it
					t.Fatal(err)
				}
			}
			tp.w.Leave(r.member)
			publish()
			missed := uint64(max(count-1, 1))
			var lagged *ring.LaggedError
			if m, sequence, err := r.Next(nil); !errors.As(err, &lagged) || lagged.Lost != missed {
				t.Fatalf("message %d of %d bytes, %v; want %d lost", sequence, len(m), err, missed)
			}
			for i := range count {
				if _, sequence, err := r.Next(nil); err != nil || sequence != uint64(count+i) {
					t.Fatal(sequence, err)
				}
			}
		})
	}
}

// A reader that goes on for another one gets what is there, and finds lost what is not.
func TestContinue(t *testing.T) {
	background := context.Background()
	for _, missed := range []int{0, 3, 20} {
		tp := newTopic(t, ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.DropOldest})
		first := tp.join(0, true)
		publish := func() {
			t.Helper()
			if err := tp.w.Publish(background, nil); err != nil {
				t.Fatal(err)
			}
		}
		publish()
		publish()
		if _, _, err := first.Next(nil); err != nil {
			t.Fatal(err)
		}
		from := first.Where()
		tp.w.Leave(first.member)
		for range missed {
			publish()
		}
		r := tp.join(1<<62, true)
		r.Continue(from)
		next := uint64(1)
		for {
			_, sequence, err := r.Next(nil)
			var lagged *ring.LaggedError
			switch {
			case errors.As(err, &lagged):
				next += lagged.Lost
				continue
			case err == nil && sequence == next:
				next++
				continue
			case err != ring.ErrEmpty:
				t.Fatalf("message %d, %v; want message %d", sequence, err, next)
			}
			break
		}
		received, lost := r.Counts()
		if next != uint64(2+missed) || received+lost != uint64(1+missed) || (lost > 0) != (missed > 8) {
			t.Errorf("%d missed: next is %d, %d received, %d lost", missed, next, received, lost)
		}
	}
}

// A block is free for the next message as soon as it was received, not only when the
// reader looks again; where it is all of the arena, and under either policy.
func TestReceivedIsFree(t *testing.T) {
	for _, policy := range []ring.Policy{ring.Block, ring.DropOldest} {
		tp := newTopic(t, ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: policy})
		r := tp.join(0, true)
		for i := range uint64(3) {
			if err := tp.w.TryPublish(message(i, 4096)); err != nil {
				t.Fatalf("%v, message %d: %v", policy, i, err)
			}
			b, _, err := r.Next(nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := check(b); n != i || err != nil {
				t.Fatal(n, err)
			}
		}
	}
}

// That others leave costs nobody anything: who has not left itself, its blocks are kept for
// it as before. (A breaker found that it lost the rest of a large batch.)
func TestOthersLeave(t *testing.T) {
	background := context.Background()
	tp := newTopic(t, ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: 1 << 20, ArenaLimit: 1 << 20, Policy: ring.DropOldest})
	r := tp.join(0, true)
	for _, others := range []int{1, 100, 60} {
		for range others {
			tp.w.Leave(tp.join(0, true).member)
		}
		// In the middle of a batch that is too large to be copied as a whole.
		if err := tp.w.PublishBatch(background, [][]byte{make([]byte, 30000), make([]byte, 30000), make([]byte, 30000)}); err != nil {
			t.Fatal(err)
		}
		_, first, err := r.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			if err := tp.w.Publish(background, nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := range uint64(2) {
			if _, sequence, err := r.Next(nil); err != nil || sequence != first+1+i {
				t.Fatalf("after %d others have left: message %d, %v; want %d", others, sequence, err, first+1+i)
			}
		}
		for err = nil; err != ring.ErrEmpty; { // it may have lost small ones
			_, _, err = r.Next(nil)
		}
	}
	// So many that it cannot know whether it was one of them: it takes no risk.
	for range 300 {
		tp.w.Leave(tp.join(0, true).member)
	}
	if err := tp.w.Publish(background, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Next(nil); err != nil {
		t.Fatal(err)
	}
}

// A reader that was lapped, and found nothing more, hands that on to the next one, though the
// writer has come round meanwhile: what is missing is lost, and nobody is corrupt.
func TestContinueOfTheLapped(t *testing.T) {
	background := context.Background()
	tp := newTopic(t, ring.Config{Slots: 2, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.DropOldest})
	r := tp.join(0, true)
	if err := tp.w.Publish(background, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	l, err := tp.w.Loan(background, 4000) // drops it
	if err != nil {
		t.Fatal(err)
	}
	tp.w.Return(l)
	if _, _, err := r.Next(nil); err != ring.ErrEmpty {
		t.Fatal(err)
	}
	tp.w.Leave(r.member)
	for range 2 {
		if err := tp.w.Publish(background, nil); err != nil {
			t.Fatal(err)
		}
	}
	rest := r.Rest()
	again := tp.join(1<<62, true)
	again.Continue(r.Where())
	var lost uint64
	if rest != nil {
		lost = rest.Lost
	}
	var lagged *ring.LaggedError
	_, sequence, err := again.Next(nil)
	if errors.As(err, &lagged) {
		lost += lagged.Lost
		_, sequence, err = again.Next(nil)
	}
	if err != nil || sequence != lost {
		t.Errorf("message %d, %v, after %d were lost", sequence, err, lost)
	}
}

// A reader's place that is another's now is no reason to blame it.
func TestPlaceOfAnother(t *testing.T) {
	tp := newTopic(t, ring.Config{Slots: 16, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.Block})
	r := tp.join(0, true)
	for range 10 {
		if err := tp.w.TryPublish(nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Next(nil); err != nil {
			t.Fatal(err)
		}
	}
	e, err := ring.EntryAt(r.own, 0)
	if err != nil {
		t.Fatal(err)
	}
	e.Clear()
	r.own.Uint64(layout.ReaderCursorAt).Store(1000) // of another writer
	for range 40 {
		if err := tp.w.TryPublish(nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(tp.evicted) != 1 || !errors.Is(tp.evicted[0], ring.ErrLeft) || errors.Is(tp.evicted[0], ring.ErrCorrupt) {
		t.Errorf("let go: %v; want the one, with %v", tp.evicted, ring.ErrLeft)
	}
}
