package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// reading is a value, and what follows from its number.
type reading struct {
	Number uint64
	Check  [3]uint32
}

func readingOf(n uint64) reading {
	return reading{n, [3]uint32{uint32(n), uint32(n * 7), uint32(n * 11)}}
}

// frame is a value that is not in a slot.
type frame struct {
	Reading reading
	Bytes   [5000]byte
}

// typedPair is a publisher and a subscriber of values.
func typedPair[T any](t testing.TB, c *pubsub.PublisherConfig) (*memlane.Domain, *pubsub.PublisherOf[T], *pubsub.SubscriberOf[T]) {
	t.Helper()
	d := open(t, t.TempDir())
	p, err := pubsub.PublishOf[T](d, "numbers", c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.SubscribeOf[T](d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
	if p.Subscribers() != 1 || s.Publishers() != 1 || p.Topic() != "numbers" || s.Topic() != "numbers" {
		t.Errorf("%d subscribers and %d publishers of %q, %q", p.Subscribers(), s.Publishers(), p.Topic(), s.Topic())
	}
	return d, p, s
}

// streamTyped is a process that publishes 3000 readings, in every way. Args: the folder.
func streamTyped(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	p, err := pubsub.PublishOf[reading](d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block})
	if err != nil {
		return err
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		return err
	}
	for n := uint64(0); n < 3000; n += 5 {
		one := readingOf(n)
		if err := p.Publish(background, &one); err != nil {
			return err
		}
		if err := p.PublishBatch(background, []reading{readingOf(n + 1), readingOf(n + 2), readingOf(n + 3)}); err != nil {
			return err
		}
		l, err := p.Loan(background)
		if err != nil {
			return err
		}
		*l.Value() = readingOf(n + 4)
		if err := l.Publish(background); err != nil {
			return err
		}
	}
	var line string
	fmt.Scanln(&line)
	return nil
}

// Values arrive whole, in order, with their numbers, whatever way they are published and
// received.
func TestTypedBetweenProcesses(t *testing.T) { receiveTyped(t, nil) }

func TestTypedAcrossArchitectures(t *testing.T) { receiveTyped(t, proctest.OtherArchitecture(t)) }

func receiveTyped(t *testing.T, publisher *proctest.Config) {
	t.Helper()
	folder := t.TempDir()
	s, err := pubsub.SubscribeOf[reading](open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, publisher, "stream typed", folder)
	next := uint64(0)
	want := func(v reading, sequence uint64) {
		if v != readingOf(next) || sequence != next {
			t.Fatalf("%v, number %d; want %v", v, sequence, readingOf(next))
		}
		next++
	}
	for next < 3000 {
		switch next % 4 {
		case 0:
			m, err := s.Receive(background)
			if err != nil {
				t.Fatal(err)
			}
			want(m.Value, m.Sequence)
		case 1:
			m, err := s.Borrow(background)
			if err != nil {
				t.Fatal(err)
			}
			want(*m.Value, m.Sequence)
			m.Release()
		case 2:
			n := 0
			got, err := s.ReceiveBatch(background, func(m pubsub.MessageOf[reading]) bool {
				want(m.Value, m.Sequence)
				n++
				return n < 5
			})
			if err != nil || got != n || n == 0 {
				t.Fatalf("%d of %d, %v", got, n, err)
			}
		case 3:
			for m, err := range s.All(background) {
				if err != nil {
					t.Fatal(err)
				}
				want(m.Value, m.Sequence)
				if next%4 != 3 {
					break
				}
			}
		}
	}
	if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
		t.Error(err)
	}
	if _, err := s.TryBorrow(); err != pubsub.ErrEmpty {
		t.Error(err)
	}
	p.Send("go")
	eventually(t, "gone", func() bool {
		_, err := s.TryReceive()
		return err == pubsub.ErrEmpty && s.Publishers() == 0
	})
	if stats := s.Stats(); stats != (pubsub.SubscriberStats{Received: 3000}) {
		t.Errorf("%+v", stats)
	}
}

// Nothing of values allocates, small or large.
func TestTypedAllocations(t *testing.T) {
	testTypedAllocations[reading](t)
	testTypedAllocations[frame](t)
	testTypedAllocations[uint16](t)
}

func testTypedAllocations[T any](t *testing.T) {
	_, p, s := typedPair[T](t, nil)
	locked := p.Locked()
	var v T
	batch := make([]T, 3)
	all := func() {
		l, err := p.Loan(background)
		if err != nil {
			t.Fatal(err)
		}
		*l.Value() = v
		for _, err := range []error{l.Publish(background), p.Publish(background, &v), p.TryPublish(&v),
			p.PublishBatch(background, batch), p.TryPublishBatch(batch),
			locked.Publish(background, &v), locked.TryPublish(&v), locked.PublishBatch(background, batch), locked.TryPublishBatch(batch)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			if _, err := s.Receive(background); err != nil {
				t.Fatal(err)
			}
			b, err := s.Borrow(background)
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
			if _, err := s.TryReceive(); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		if _, err := s.ReceiveBatch(background, func(pubsub.MessageOf[T]) bool { n++; return n < 2 }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
			t.Fatal(err)
		}
	}
	for range 300 {
		all() // until every buffer has its size, and the arena
	}
	if n := testing.AllocsPerRun(200, all); n > 0 {
		t.Errorf("%T: %v allocations", v, n)
	}
}

// A loan is published once, or discarded; then nothing of it can be used.
func TestTypedLoan(t *testing.T) {
	_, p, s := typedPair[reading](t, nil)
	l, err := p.Loan(background)
	if err != nil {
		t.Fatal(err)
	}
	*l.Value() = readingOf(7)
	over, cancel := context.WithCancel(background)
	cancel()
	if err := l.Publish(over); !errors.Is(err, context.Canceled) || l.Value() == nil {
		t.Error(err)
	}
	if err := l.Publish(background); err != nil || l.Value() != nil {
		t.Error(err, l.Value())
	}
	if err := l.Publish(background); !errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
	l.Discard()
	if l, err = p.Loan(background); err != nil {
		t.Fatal(err)
	}
	l.Discard()
	if err := l.Publish(background); !errors.Is(err, os.ErrInvalid) || l.Value() != nil {
		t.Error(err)
	}
	if m, err := s.Receive(background); err != nil || m.Value != readingOf(7) {
		t.Error(m, err)
	}
	if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
		t.Error(err)
	}
	for _, err := range []error{p.Publish(background, nil), p.TryPublish(nil)} {
		if !errors.Is(err, os.ErrInvalid) {
			t.Errorf("nil: %v", err)
		}
	}
	if stats := p.Stats(); stats.Published != 1 {
		t.Errorf("%+v", stats)
	}
}

// Bytes that are no value are an error of whatever call comes upon them, and it goes on.
func TestTypedMismatch(t *testing.T) {
	d, p, s := typedPair[frame](t, nil)
	anything, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, receive := range []func() error{
		func() error { _, err := s.Receive(background); return err },
		func() error { _, err := s.TryReceive(); return err },
		func() error { _, err := s.Borrow(background); return err },
		func() error { _, err := s.TryBorrow(); return err },
		func() error {
			_, err := s.ReceiveBatch(background, func(pubsub.MessageOf[frame]) bool { return true })
			return err
		},
		func() error {
			for _, err := range s.All(background) {
				return err
			}
			return nil
		},
	} {
		if err := anything.Publish(background, make([]byte, 4999)); err != nil {
			t.Fatal(err)
		}
		if err := receive(); !errors.Is(err, pubsub.ErrSchema) {
			t.Error(err)
		}
		if err := p.Publish(background, &frame{Reading: readingOf(1)}); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Borrow(background); err != nil || b.Value.Reading != readingOf(1) {
			t.Error(err)
		} else {
			b.Release()
			b.Release()
		}
	}
}
