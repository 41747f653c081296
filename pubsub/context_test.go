package pubsub_test

import (
	"context"
	"errors"
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// errEnough is why a test ends a context.
var errEnough = errors.New("enough")

// waiting is a subscriber that has n messages waiting.
func waiting(t *testing.T, n int) (*pubsub.Publisher, *pubsub.Subscriber) {
	p, s := pair(t, nil, nil)
	for i := range n {
		if err := p.Publish(background, message(uint64(i), size(uint64(i)))); err != nil {
			t.Fatal(err)
		}
	}
	return p, s
}

// next fails the test if the subscriber's next message is not number i.
func next(t *testing.T, s *pubsub.Subscriber, i uint64) {
	t.Helper()
	m, err := s.TryReceive()
	if n, bad := number(m.Data); err != nil || bad != nil || n != i {
		t.Errorf("after the context ended the next is %d, %v, %v; want %d", n, err, bad, i)
	}
}

// A context that has ended ends receiving, though there are messages, and takes none.
func TestContextEndsReceivingOfWhatWaits(t *testing.T) {
	for name, receive := range map[string]func(context.Context, *pubsub.Subscriber) error{
		"Receive": func(ctx context.Context, s *pubsub.Subscriber) error {
			_, err := s.Receive(ctx)
			return err
		},
		"Borrow": func(ctx context.Context, s *pubsub.Subscriber) error {
			b, err := s.Borrow(ctx)
			b.Release()
			return err
		},
		"ReceiveBatch": func(ctx context.Context, s *pubsub.Subscriber) error {
			n, err := s.ReceiveBatch(ctx, func(pubsub.Message) bool { return false })
			if err != nil && n != 0 {
				t.Errorf("%d messages beside %v", n, err)
			}
			return err
		},
		"All": func(ctx context.Context, s *pubsub.Subscriber) error {
			for _, err := range s.All(ctx) {
				return err
			}
			return errors.New("All yielded nothing")
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := waiting(t, 100)
			ctx, cancel := context.WithCancelCause(background)
			for range 10 {
				if err := receive(ctx, s); err != nil {
					t.Fatal(err)
				}
			}
			cancel(errEnough)
			if err := receive(ctx, s); !errors.Is(err, errEnough) {
				t.Error(err)
			}
			next(t, s, 10)
		})
	}
}

// A batch ends with its context, and returns what it has taken.
func TestContextEndsABatch(t *testing.T) {
	_, s := waiting(t, 100)
	ctx, cancel := context.WithCancelCause(background)
	taken := 0
	n, err := s.ReceiveBatch(ctx, func(pubsub.Message) bool {
		if taken++; taken == 10 {
			cancel(errEnough)
		}
		return true
	})
	if n != 10 || taken != 10 || err != nil {
		t.Errorf("%d of %d, %v", n, taken, err)
	}
	if n, err := s.ReceiveBatch(ctx, func(pubsub.Message) bool { return true }); n != 0 || !errors.Is(err, errEnough) {
		t.Errorf("then %d, %v", n, err)
	}
	next(t, s, 10)
}

// So does one of values.
func TestContextEndsABatchOfValues(t *testing.T) {
	d := open(t, t.TempDir())
	p, err := pubsub.PublishOf[uint64](d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.SubscribeOf[uint64](d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if err := p.Publish(background, &i); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancelCause(background)
	n, err := s.ReceiveBatch(ctx, func(pubsub.MessageOf[uint64]) bool { cancel(errEnough); return true })
	if n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.ReceiveBatch(ctx, func(pubsub.MessageOf[uint64]) bool { return true }); n != 0 || !errors.Is(err, errEnough) {
		t.Errorf("then %d, %v", n, err)
	}
	if m, err := s.TryReceive(); m.Value != 1 || err != nil {
		t.Errorf("then %v, %v", m, err)
	}
}

// What All yields last is why it ended, whatever was yielded when that came about.
func TestAllSaysWhyItEnded(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(cancel func(error), s *pubsub.Subscriber)
		want error
	}{
		"the context":    {func(cancel func(error), _ *pubsub.Subscriber) { cancel(errEnough) }, errEnough},
		"the subscriber": {func(_ func(error), s *pubsub.Subscriber) { s.Close() }, pubsub.ErrClosed},
	} {
		for _, at := range []string{"a message", "a loss"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				p, s := pair(t, &pubsub.PublisherConfig{Slots: 64}, nil)
				for i := range uint64(200) {
					if err := p.Publish(background, message(i, 8)); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithCancelCause(background)
				defer cancel(nil)
				var last error
				turns, ended := 0, false
				for _, err := range s.All(ctx) {
					turns++
					last = err
					var lagged *pubsub.LaggedError
					if errors.As(err, &lagged) == (at == "a loss") && !ended {
						ended = true
						c.end(cancel, s)
					}
				}
				if !ended || !errors.Is(last, c.want) {
					t.Errorf("after %d turns the last is %v", turns, last)
				}
			})
		}
	}
}

// A context that has ended ends publishing, though there is room.
func TestContextEndsPublishing(t *testing.T) {
	p, s := pair(t, nil, nil)
	l, err := p.Loan(background, 1000)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(background)
	cancel(errEnough)
	for name, publish := range map[string]func() error{
		"Publish":      func() error { return p.Publish(ctx, message(1, 8)) },
		"PublishBatch": func() error { return p.PublishBatch(ctx, [][]byte{message(1, 8), message(2, 8)}) },
		"Loan":         func() error { _, err := p.Loan(ctx, 1000); return err },
		"Loan.Publish": func() error { return l.Publish(ctx, 1000) },
		"Locked":       func() error { return p.Locked().Publish(ctx, message(1, 8)) },
	} {
		if err := publish(); !errors.Is(err, errEnough) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m, err := s.TryReceive(); err != pubsub.ErrEmpty {
		t.Errorf("published: %x, %v", m.Data, err)
	}
	// The loan is still there.
	copy(l.Bytes(), message(3, 1000))
	if err := l.Publish(background, 1000); err != nil {
		t.Fatal(err)
	}
	next(t, s, 3)
}
