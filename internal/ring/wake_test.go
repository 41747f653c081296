package ring_test

import (
	"context"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/ring"
)

// A reader that always says it sleeps, and never does, costs the writer a system call
// a message at first, and soon next to none; one that does sleep beside it is waked.
func TestWakesInVain(t *testing.T) {
	const (
		burst     = 1000                   // wakes in vain that a reader has at first,
		every     = 100 * time.Microsecond // and how long it takes for one more
		published = 100_000
	)
	tp := newTopic(t, ring.Config{Slots: 16, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.DropOldest})
	liar := tp.join(0, false)
	view, err := ring.NewView(tp.r)
	if err != nil {
		t.Fatal(err)
	}
	sleeps := liar.own.Uint64(layout.ReaderSleepsAt)
	begun := time.Now()
	for i := range uint64(published) {
		sleeps.Store(i + 1)
		if err := tp.w.Publish(context.Background(), message(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	most := burst + uint64(time.Since(begun)/every) + 1
	if wakes := view.Look().Wakes; wakes < burst || wakes > most {
		t.Errorf("%d wakes for %d messages; want from %d to %d", wakes, published, burst, most)
	}

	// The liar's budget is spent; the sleeper's is not.
	honest := tp.join(0, false)
	received := make(chan error)
	for i := range uint64(100) {
		go func() {
			b, _, err := honest.receive(nil)
			if err == nil {
				_, err = check(b)
			}
			received <- err
		}()
		sleeps.Store(published + i + 1)
		if err := tp.w.Publish(context.Background(), message(i, 8)); err != nil {
			t.Fatal(err)
		}
		if err := <-received; err != nil {
			t.Fatal(err)
		}
	}
}
