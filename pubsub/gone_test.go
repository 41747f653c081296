package pubsub_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// topic returns a publisher and a subscriber in another domain of the same folder.
func topic(t *testing.T) (*pubsub.Publisher, *pubsub.Subscriber) {
	t.Helper()
	folder := t.TempDir()
	p, err := pubsub.Publish(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

// What is borrowed is good until it is released, although its publisher is gone and
// everything else of it was received.
func TestBorrowedOfTheGone(t *testing.T) {
	for name, size := range map[string]int{"in the first chunk": 1000, "in a further chunk": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			p, s := topic(t)
			want := bytes.Repeat([]byte{7}, size)
			if err := p.Publish(background, want); err != nil {
				t.Fatal(err)
			}
			b, err := s.Borrow(background)
			if err != nil {
				t.Fatal(err)
			}
			again := b // a copy is the same
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the publisher is gone", func() bool {
				_, err := s.TryReceive()
				return err == pubsub.ErrEmpty && s.Publishers() == 0
			})
			if !bytes.Equal(b.Data, want) {
				t.Error("what is borrowed has changed when the publisher was gone")
			}
			b.Release()
			again.Release()
			if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
				t.Errorf("got %v; want %v", err, pubsub.ErrEmpty)
			}
		})
	}
}

// What is released after Close does nothing to who has come since.
func TestReleaseAfterClose(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.Publish(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{7}, 1000)
	borrow := func() (*pubsub.Subscriber, pubsub.Borrowed) {
		t.Helper()
		s, err := pubsub.Subscribe(d, "numbers", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(background, want); err != nil {
			t.Fatal(err)
		}
		b, err := s.Borrow(background)
		if err != nil {
			t.Fatal(err)
		}
		return s, b
	}
	closed, old := borrow()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	s, b := borrow()                                      // in the same place
	if _, err := s.TryReceive(); err != pubsub.ErrEmpty { // only the hold holds it
		t.Fatal(err)
	}
	old.Release()
	for range 4000 { // until the arena has been used several times
		if err := p.Publish(background, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(b.Data, want) {
		t.Error("what is borrowed was used again, because somebody else has released what was his")
	}
	b.Release()
}

// A message that is being received when the subscriber is closed is whole, or an error
// comes in its place.
func TestCloseBesideReceive(t *testing.T) {
	want := bytes.Repeat([]byte{7}, 2<<20)
	for range 60 {
		p, s := topic(t)
		if err := p.Publish(background, want); err != nil {
			t.Fatal(err)
		}
		var closing sync.WaitGroup
		closing.Go(func() { s.Close() })
		m, err := s.Receive(background)
		if err == nil && !bytes.Equal(m.Data, want) {
			t.Fatal("a message is not whole, and there is no error")
		}
		if err != nil && !errors.Is(err, pubsub.ErrClosed) {
			t.Fatal(err)
		}
		closing.Wait()
		p.Close()
	}
}

// However often Locked is called, all take turns.
func TestLockedTwice(t *testing.T) {
	p, s := pair(t, &pubsub.PublisherConfig{Policy: pubsub.Block}, nil)
	const each = 2000
	var publishing sync.WaitGroup
	for g := range uint64(2) {
		l := p.Locked()
		publishing.Go(func() {
			for i := range uint64(each) {
				if err := l.Publish(background, message(g*each+i, 20)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var next [2]uint64
	for range 2 * each {
		m, err := s.Receive(background)
		n, bad := number(m.Data)
		if err != nil || bad != nil || n%each != next[n/each] {
			t.Fatal(n, err, bad)
		}
		next[n/each]++
	}
	publishing.Wait() // the last is received before its Publish returns
}
