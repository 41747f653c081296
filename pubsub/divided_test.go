package pubsub_test

import (
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// A batch that a subscriber has begun to borrow is received to its end, though its publisher
// has come round since, and was closed.
func TestBatchIsWholeAfterClose(t *testing.T) {
	folder := t.TempDir()
	p, err := pubsub.Publish(open(t, folder), "numbers", &pubsub.PublisherConfig{Slots: 8})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.PublishBatch(background, [][]byte{message(0, 40), message(1, 40), message(2, 40)}); err != nil {
		t.Fatal(err)
	}
	b, err := s.TryBorrow()
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	for i := range uint64(20) {
		if err := p.Publish(background, message(3+i, 40)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for want := uint64(1); want < 3; want++ {
		m, err := s.TryReceive()
		if err != nil {
			t.Fatalf("message %d of the batch: %v", want, err)
		}
		if got, err := number(m.Data); got != want || err != nil {
			t.Errorf("message %d, %v; want %d", got, err, want)
		}
	}
}
