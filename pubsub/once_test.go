package pubsub_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// loan takes a loan that has message i.
func loan(t *testing.T, p *pubsub.Publisher, i uint64) pubsub.Loan {
	t.Helper()
	l, err := p.Loan(background, 1000)
	if err != nil {
		t.Fatal(err)
	}
	copy(l.Bytes(), message(i, 1000))
	return l
}

// borrow borrows the next message, which is number i.
func borrow(t *testing.T, s *pubsub.Subscriber, i uint64) pubsub.Borrowed {
	t.Helper()
	b, err := s.TryBorrow()
	if err != nil {
		t.Fatal(err)
	}
	is(t, b, i)
	return b
}

// is fails the test if what is borrowed is not, or not any more, message i.
func is(t *testing.T, b pubsub.Borrowed, i uint64) {
	t.Helper()
	if n, err := number(b.Data); n != i || err != nil {
		t.Errorf("what is borrowed is message %d, %v; want %d", n, err, i)
	}
}

// fill publishes so many messages from number i on, and receives them, that the
// publisher uses all of its arena that nobody holds.
func fill(t *testing.T, p *pubsub.Publisher, s *pubsub.Subscriber, i uint64) {
	t.Helper()
	for k := range uint64(2000) {
		if err := p.Publish(background, message(i+k, 1000)); err != nil {
			t.Fatal(err)
		}
		if m, err := s.TryReceive(); err != nil {
			t.Fatal(err)
		} else if n, err := number(m.Data); n != i+k || err != nil {
			t.Fatalf("message %d, %v; want %d", n, err, i+k)
		}
	}
}

var smallArena = pubsub.PublisherConfig{ArenaBytes: 64 << 10, ArenaLimit: 64 << 10}

// A loan is published once, by whichever copy of it: else its memory would be reused
// for the second message while somebody has the first.
func TestLoanIsPublishedOnce(t *testing.T) {
	for _, end := range []string{"publish", "return"} {
		t.Run(end, func(t *testing.T) {
			p, s := pair(t, &smallArena, nil)
			l := loan(t, p, 1)
			again, other := l, l
			if err := l.Publish(background, 1000); err != nil {
				t.Fatal(err)
			}
			b := borrow(t, s, 1)
			if end == "publish" {
				err := again.Publish(background, 1000)
				if !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), `"numbers"`) || !strings.Contains(err.Error(), "publish a loan once") {
					t.Error(err)
				}
			} else {
				again.Discard()
				again.Discard()
			}
			// Nor does it harm the loan that is taken next.
			next := loan(t, p, 2)
			other.Discard()
			if err := other.Publish(background, 1000); !errors.Is(err, os.ErrInvalid) {
				t.Error(err)
			}
			third := loan(t, p, 3)
			for _, l := range []pubsub.Loan{next, third} {
				if err := l.Publish(background, 1000); err != nil {
					t.Error(err)
				}
			}
			borrow(t, s, 2)
			borrow(t, s, 3)
			fill(t, p, s, 4)
			is(t, b, 1)
		})
	}
}

// A loan that was returned cannot be published, nor returned again.
func TestLoanIsReturnedOnce(t *testing.T) {
	p, s := pair(t, &smallArena, nil)
	l := loan(t, p, 1)
	again := l
	l.Discard()
	again.Discard()
	if err := again.Publish(background, 1000); !errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
	first, second := loan(t, p, 2), loan(t, p, 3)
	if err := errors.Join(first.Publish(background, 1000), second.Publish(background, 1000)); err != nil {
		t.Fatal(err)
	}
	borrow(t, s, 2)
	borrow(t, s, 3)
}

// To release a copy of what was released does not end what was borrowed since then.
func TestBorrowedIsReleasedOnce(t *testing.T) {
	for name, size := range map[string]int{"in place": 1000, "copied": 20} {
		t.Run(name, func(t *testing.T) {
			p, s := pair(t, &smallArena, nil)
			for i := range uint64(3) {
				if err := p.Publish(background, message(i, size)); err != nil {
					t.Fatal(err)
				}
			}
			b := borrow(t, s, 0)
			again, more := b, b
			b.Release()
			first := borrow(t, s, 1)
			again.Release()
			more.Release()
			second := borrow(t, s, 2)
			fill(t, p, s, 3)
			is(t, first, 1)
			is(t, second, 2)
			first.Release()
			second.Release()
		})
	}
}

// A loan cannot have fewer bytes than none.
func TestWrongLoans(t *testing.T) {
	p, _ := pair(t, nil, nil)
	if _, err := p.Loan(background, -1); !errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
	l := loan(t, p, 1)
	for _, n := range []int{-1, 1001} {
		if err := l.Publish(background, n); !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), `"numbers"`) {
			t.Error(err)
		}
	}
	if err := l.Publish(background, 0); err != nil {
		t.Error(err)
	}
}
