package pubsub_test

import (
	"bytes"
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// twoOfATopic returns two publishers of a topic, and a subscriber that knows both.
func twoOfATopic(t *testing.T) (publishers [2]*pubsub.Publisher, s *pubsub.Subscriber) {
	t.Helper()
	folder := t.TempDir()
	for i := range publishers {
		var err error
		if publishers[i], err = pubsub.Publish(open(t, folder), "numbers", nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := pubsub.Subscribe(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are there", func() bool { return s.Publishers() == 2 })
	return publishers, s
}

// Batches of two publishers, and small and large messages between them, are received in
// turns: none is another's bytes.
func TestBatchesOfTwo(t *testing.T) {
	publishers, s := twoOfATopic(t)
	// Message i of a publisher has other bytes than all others, of either.
	contents := func(p int, i uint64) []byte { return message(uint64(p)<<32|i, size(i)) }
	var published uint64
	for _, count := range []int{40, 1, 3, 1, 100, 1, 1} {
		for p, publisher := range publishers {
			var batch [][]byte
			for i := range count {
				batch = append(batch, contents(p, published+uint64(i)))
			}
			if err := publisher.PublishBatch(background, batch); err != nil {
				t.Fatal(err)
			}
		}
		published += uint64(count)
	}
	var next [2]uint64
	of := map[uint64]int{}
	for range 2 * published {
		m, err := s.Receive(background)
		if err != nil {
			t.Fatal(err)
		}
		p, known := of[m.Publisher]
		if !known {
			if p = 0; bytes.Equal(m.Data, contents(1, 0)) {
				p = 1
			}
			of[m.Publisher] = p
		}
		if m.Sequence != next[p] || !bytes.Equal(m.Data, contents(p, next[p])) {
			t.Fatalf("message %d of publisher %d; want %d", m.Sequence, p, next[p])
		}
		next[p]++
	}
	if next != [2]uint64{published, published} {
		t.Errorf("received %d; want %d of each", next, published)
	}
}

// The memory that one batch was copied to, and then another, is nobody's buffer: what
// another publisher's message is copied to is elsewhere.
func TestBatchIsNobodysBuffer(t *testing.T) {
	publishers, s := twoOfATopic(t)
	batches, single := publishers[0], publishers[1]
	publish := func(count, size, last int) {
		t.Helper()
		var batch [][]byte
		for i := range count {
			if i == count-1 {
				size = last
			}
			batch = append(batch, message(uint64(i), size))
		}
		if err := batches.PublishBatch(background, batch); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(count int) {
		t.Helper()
		for range count {
			m, err := s.Receive(background)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := number(m.Data); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(40, 20, 100) // the last one is the largest
	receive(40)
	publish(32, 28, 28) // where that was are two that are received at last
	if err := single.Publish(background, message(0, 100)); err != nil {
		t.Fatal(err)
	}
	receive(33)
}
