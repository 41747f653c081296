package pubsub

import (
	"testing"
	"time"

	"github.com/memlane/memlane/internal/ring"
)

// A subscriber is slow that has half of the ring before it, or does not move though there is
// something; since the first of the looks in a row that have found it so.
func TestSlowness(t *testing.T) {
	begun := time.Unix(1000, 0)
	var s slowness
	for i, look := range []struct {
		head, position uint64
		slowFor        int // seconds, at that look, which are a second apart
	}{
		{10, 10, 0}, {12, 11, 0}, // a message behind, and moving
		{15, 11, 0}, {16, 11, 0}, // not moving, of which it need not have counted some
		{20, 11, 0}, {30, 11, 1}, {30, 11, 2}, {30, 12, 0}, // not moving
		{60, 12, 0}, {70, 30, 1}, {80, 40, 2}, {80, 60, 0}, {80, 80, 0}, {90, 88, 0},
		{90, 90, 0}, {90, 90, 0}, // nothing to do
		{500, 91, 0}, {600, 91, 1}, // lapped
	} {
		now := begun.Add(time.Duration(i) * time.Second)
		s.look(ring.Picture{Slots: 64, Tail: max(look.head, 64) - 64, Head: look.head}, look.position, now)
		if got := s.age(now); got != time.Duration(look.slowFor)*time.Second {
			t.Errorf("look %d: %v", i, got)
		}
	}
}
