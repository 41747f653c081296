package ring

import (
	"context"
	"errors"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
)

// A reader is in a stream as long as each message comes after few looks in vain, and
// leaves it with the first that it has to wait for, or when it is about to sleep.
func TestStream(t *testing.T) {
	c := Config{Slots: 16, SlotBytes: 64, ArenaBytes: ArenaLeast, ArenaLimit: ArenaLeast, Policy: Block}
	memory, own := region.Heap(c.Bytes()), region.Heap(layout.ReaderBytes)
	w, err := NewWriter(memory, &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := EntryAt(own, 0)
	if err != nil {
		t.Fatal(err)
	}
	var start Start
	if _, err := w.Join(e, 0, 0, true, func(_ *Member, s Start) error { start = s; return nil }); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(memory, e, start, c.ArenaLimit, nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 48)
	step := func(looks int, wait bool) {
		t.Helper()
		for range looks {
			if _, _, err := r.Next(buf); !errors.Is(err, ErrEmpty) {
				t.Fatalf("got %v; want %v", err, ErrEmpty)
			}
		}
		if wait {
			r.Stamp()
		}
		if err := w.Publish(context.Background(), []byte("message")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Next(buf); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		looks int
		wait  bool
		want  bool
	}{
		{"no look in vain", 0, false, true},
		{"one look in vain", 1, false, true},
		{"as many as may be", LooksOfStream, false, true},
		{"one more", LooksOfStream + 1, false, false},
		{"who waits", 1, true, false},
	} {
		for range 3 * streamLeast {
			step(c.looks, c.wait)
		}
		r.Next(buf)
		if got := r.stream >= streamLeast; got != c.want {
			t.Errorf("%s: a stream of %d; want one: %v", c.name, r.stream, c.want)
		}
	}
}
