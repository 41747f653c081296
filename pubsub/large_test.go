package pubsub_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// says fails the test if an error is not what is wanted, or does not say all of that.
func says(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v; want %v", err, want)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// What is larger than an eighth of the arena can never be borrowed: that is another
// error than that too much is borrowed just now, and Receive has the message.
func TestTooLargeToBorrow(t *testing.T) {
	const limit, large = 1 << 20, 200_000
	for name, publish := range map[string]func(p *pubsub.Publisher) error{
		"message": func(p *pubsub.Publisher) error {
			return errors.Join(p.Publish(background, message(0, large)), p.Publish(background, message(1, 1000)))
		},
		"batch": func(p *pubsub.Publisher) error {
			return p.PublishBatch(background, [][]byte{message(0, large), message(1, 1000)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := pair(t, &pubsub.PublisherConfig{ArenaLimit: limit}, nil)
			if err := publish(p); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := s.TryBorrow()
				says(t, err, pubsub.ErrTooLargeToBorrow, `"numbers"`, "of at most 131072", "Receive", "ArenaLimit")
				if errors.Is(err, pubsub.ErrTooManyHolds) {
					t.Errorf("%v: but nothing is borrowed", err)
				}
			}
			next(t, s, 0)
			if name == "message" {
				borrow(t, s, 1)
			} else {
				next(t, s, 1)
			}
			if s.Publishers() != 1 {
				t.Error("the publisher is gone")
			}
		})
	}
}

// The next Receive has the message, though other publishers have some too.
func TestTooLargeToBorrowIsReceivedNext(t *testing.T) {
	d := open(t, t.TempDir())
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	publisher := func(n uint64, size int) {
		p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{ArenaLimit: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := p.Publish(background, message(i, size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	publisher(100, 20)
	publisher(2, 200_000)
	publisher(100, 20)
	var held []pubsub.Borrowed
	for large := 0; large < 2; {
		b, err := s.TryBorrow()
		if err == nil {
			held = append(held, b)
			continue
		}
		says(t, err, pubsub.ErrTooLargeToBorrow)
		m, err := s.TryReceive()
		if err != nil || len(m.Data) != 200_000 {
			t.Fatalf("%d bytes, %v", len(m.Data), err)
		}
		large++
	}
	for _, b := range held {
		b.Release()
	}
}

// An error says how large a message can be, and where that comes from.
func TestTooLargeToPublish(t *testing.T) {
	for _, c := range []struct {
		limit int
		most  int
		words string
	}{
		{0, 128 << 20, "at most 134217728, half of ArenaLimit"},
		{1 << 20, 1 << 19, "at most 524288, half of ArenaLimit"},
		{3 << 20, 2 << 20, "at most 2097152, half of ArenaLimit"}, // which is rounded up
	} {
		p, _ := pair(t, &pubsub.PublisherConfig{ArenaLimit: c.limit}, nil)
		b := make([]byte, c.most+1)
		says(t, p.Publish(background, b), pubsub.ErrTooLarge, `publish "numbers"`, c.words, "PublisherConfig.ArenaLimit")
		says(t, p.PublishBatch(background, [][]byte{b, b}), pubsub.ErrTooLarge, `publish "numbers"`, "a batch", c.words)
		_, err := p.Loan(background, len(b))
		says(t, err, pubsub.ErrTooLarge, `take a loan of "numbers"`, c.words)
		if c.limit == 0 {
			continue // so much memory would be needed
		}
		if err := p.Publish(background, b[:c.most]); err != nil {
			t.Error(err)
		}
	}
}

// A limit that is no power of two is rounded up: what fits into half of it has room, after
// whatever was published before.
func TestLimitIsAPowerOfTwo(t *testing.T) {
	p, s := pair(t, &pubsub.PublisherConfig{ArenaLimit: 1_000_000}, nil)
	for i := range uint64(300) {
		if err := p.Publish(background, message(i, 3000+int(i%2)*2000)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Receive(background); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range []int{300_000, 500_000, 1 << 19} {
		if err := p.Publish(background, message(uint64(300+i), n)); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if _, err := s.Receive(background); err != nil {
			t.Fatal(err)
		}
	}
	says(t, p.Publish(background, make([]byte, 1<<19+1)), pubsub.ErrTooLarge, "half of ArenaLimit")
}
