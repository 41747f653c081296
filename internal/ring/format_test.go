package ring_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/ring"
)

// What the writer says of its messages is found by who looks, whatever is in the ring.
func TestFormat(t *testing.T) {
	config := ring.Config{Slots: 4, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.DropOldest}
	for _, f := range []ring.Format{{}, {ring.FormatContentType, "text/csv"}, {ring.FormatSchema, strings.Repeat("s", ring.FormatMost)}} {
		c := config
		c.Format = f
		tp := newTopic(t, c)
		view, err := ring.NewView(tp.r)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if got, err := view.Format(); got != f || err != nil {
				t.Fatalf("after %d messages: kind %d, %d bytes, %v", i, got.Kind, len(got.Text), err)
			}
			if err := tp.w.TryPublish([]byte(strings.Repeat("\xff", 100*i))); err != nil {
				t.Fatal(err)
			}
		}
		// A publisher may write there what it likes.
		for _, words := range [][2]uint32{{0, 1}, {1, 0}, {1, uint32(len(f.Text)) + 1}, {2, ring.FormatMost + 1}, {2, 1<<32 - 1}, {3, 1}, {1<<32 - 1, 1}} {
			tp.r.Uint32(layout.TopicFormatKindAt).Store(words[0])
			tp.r.Uint32(layout.TopicFormatBytesAt).Store(words[1])
			if got, err := view.Format(); !errors.Is(err, ring.ErrCorrupt) || got != (ring.Format{}) {
				t.Errorf("%v of %d bytes: kind %d, %d bytes, %v", words, len(f.Text), got.Kind, len(got.Text), err)
			}
		}
	}
	for _, f := range []ring.Format{{Text: "text"}, {Kind: ring.FormatSchema}, {ring.FormatSchema, strings.Repeat("s", ring.FormatMost+1)}} {
		c := config
		c.Format = f
		if err := c.Check(); err == nil {
			t.Errorf("kind %d, %d bytes", f.Kind, len(f.Text))
		}
	}
}
