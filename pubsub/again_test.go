package pubsub_test

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/segment"
)

// What a publisher has dropped, and published nothing after it, is told as lost when it
// has ended.
func TestLostAtTheEnd(t *testing.T) {
	p, s := pair(t, &pubsub.PublisherConfig{ArenaBytes: 4096, ArenaLimit: 4096}, nil)
	for i := range uint64(2) {
		if err := p.Publish(background, message(i, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	loan, err := p.Loan(background, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Loan(background, 2048); err != nil { // where the messages were
		t.Fatal(err)
	}
	if err := p.Publish(background, make([]byte, 2000)); !errors.Is(err, pubsub.ErrArenaFull) {
		t.Fatalf("%v; want %v", err, pubsub.ErrArenaFull)
	}
	loan.Discard()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var lagged *pubsub.LaggedError
	if m, err := s.Receive(background); !errors.As(err, &lagged) || lagged.Lost != 2 {
		t.Fatalf("message %d, %v; want 2 lost", m.Sequence, err)
	}
	eventually(t, "the publisher is forgotten", func() bool {
		if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
			t.Fatal(err)
		}
		return s.Publishers() == 0
	})
	if stats := s.Stats(); stats.Received != 0 || stats.Lost != 2 {
		t.Errorf("%+v; want 2 lost", stats)
	}
}

// Quota is of all that a publisher has. Who has more is not received from beyond that,
// and the subscriber is told; another topic of the same two goes on.
func TestQuota(t *testing.T) {
	folder := t.TempDir()
	ours, its := open(t, folder), open(t, folder)
	publish := func(topic string) *pubsub.Publisher {
		t.Helper()
		p, err := pubsub.Publish(its, topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	grows, other := publish("images"), publish("numbers")
	s, err := pubsub.Subscribe(ours, "images", &pubsub.SubscriberConfig{Quota: 1200 << 10})
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := pubsub.Subscribe(ours, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	// No chunk of the arena by itself is more than the quota.
	const count, size = 12, 100_000
	for i := range uint64(count) {
		if err := grows.Publish(background, message(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	received := uint64(0)
	for received < count {
		m, err := s.Receive(background)
		if errors.Is(err, segment.ErrQuota) {
			break
		}
		if n, bad := number(m.Data); err != nil || bad != nil || n != received {
			t.Fatalf("message %d, %v, %v; want %d, or %v", n, bad, err, received, segment.ErrQuota)
		}
		received++
	}
	if received == 0 || received == count {
		t.Fatalf("%d messages received of %d", received, count)
	}
	eventually(t, "the publisher has let it go", func() bool { return grows.Subscribers() == 0 })
	if n := s.Publishers(); n != 0 {
		t.Errorf("%d publishers", n)
	}
	if err := other.Publish(background, message(7, 40)); err != nil {
		t.Fatal(err)
	}
	if m, err := numbers.Receive(background); err != nil || !bytes.Equal(m.Data, message(7, 40)) {
		t.Error(m.Sequence, err)
	}
	// A quota that is less than a ring is told too.
	if s, err = pubsub.Subscribe(ours, "images", &pubsub.SubscriberConfig{Quota: 4096}); err == nil {
		_, err = s.Receive(background)
	}
	if !errors.Is(err, segment.ErrQuota) {
		t.Errorf("%v; want %v", err, segment.ErrQuota)
	}
}

// A domain and what was opened on it, closed at once in any order, are garbage then.
func TestClosedAtOnceIsGarbage(t *testing.T) {
	folder := t.TempDir()
	p, err := pubsub.Publish(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	var subscribers []weak.Pointer[pubsub.Subscriber]
	for range 100 {
		d := open(t, folder)
		s, err := pubsub.Subscribe(d, "numbers", nil)
		if err != nil {
			t.Fatal(err)
		}
		subscribers = append(subscribers, weak.Make(s))
		var closing sync.WaitGroup
		closing.Go(func() { d.Close() })
		closing.Go(func() { s.Close() })
		closing.Wait()
	}
	runtime.KeepAlive(p)
	eventually(t, "all subscribers are garbage", func() bool {
		runtime.GC()
		for _, s := range subscribers {
			if s.Value() != nil {
				return false
			}
		}
		return true
	})
}
