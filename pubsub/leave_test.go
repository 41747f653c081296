package pubsub_test

import (
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// A subscriber that comes while a publisher is being closed has done nothing wrong: the
// two participants still meet in other topics.
func TestSubscribingWhileClosing(t *testing.T) {
	folder := t.TempDir()
	ours, theirs := open(t, folder), open(t, folder)
	for range 300 {
		p, err := pubsub.Publish(ours, "brief", nil)
		if err != nil {
			t.Fatal(err)
		}
		now, closed := make(chan struct{}), make(chan error)
		go func() { <-now; closed <- p.Close() }()
		close(now)
		s, err := pubsub.Subscribe(theirs, "brief", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	p, err := pubsub.Publish(ours, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(theirs, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Subscribers() != 1 || s.Publishers() != 1 {
		t.Errorf("%d subscribers, %d publishers; they do not meet any more", p.Subscribers(), s.Publishers())
	}
}
