package pubsub_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// at returns the place that it is called at, some lines further down.
func at(further int) string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file, line+further)
}

// Whoever asks for it is told where what was not given back was taken, and nobody else.
func TestLeaksAreNamed(t *testing.T) {
	for _, check := range []bool{true, false} {
		d, err := memlane.Open("test", &memlane.Config{Folder: t.TempDir(), LeakCheck: check})
		if err != nil {
			t.Fatal(err)
		}
		p, err := pubsub.Publish(d, "numbers", nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := pubsub.Subscribe(d, "numbers", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.WaitSubscribers(background, 1); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(6) {
			l, err := p.Loan(background, 1000)
			if err != nil {
				t.Fatal(err)
			}
			copy(l.Bytes(), message(i, 1000))
			if err := l.Publish(background, 1000); err != nil {
				t.Fatal(err)
			}
			l.Discard()
		}
		given, err := p.Loan(background, 1)
		if err != nil {
			t.Fatal(err)
		}
		given.Discard()
		if err := p.Publish(background, []byte("small")); err != nil {
			t.Fatal(err)
		}
		lent, err := p.Loan(background, 1)
		loanPlace := at(-1)
		if err != nil {
			t.Fatal(err)
		}
		_ = lent
		var all []pubsub.Borrowed
		borrowPlace := at(2)
		for range 7 {
			b, err := s.Borrow(background)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
		}
		for _, b := range all[:4] {
			again := b
			b.Release()
			again.Release()
		}
		err = d.Close()
		if !check {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		for _, want := range []string{
			`close the publisher of "numbers": not given back: loans: 1 taken at ` + loanPlace,
			`close the subscriber of "numbers": not given back: messages: 3 taken at ` + borrowPlace,
		} {
			if !errors.Is(err, pubsub.ErrHeld) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %q", err, want)
			}
		}
	}
}

// Who gives everything back hears nothing.
func TestNoLeaks(t *testing.T) {
	d, err := memlane.Open("test", &memlane.Config{Folder: t.TempDir(), LeakCheck: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pubsub.PublishOf[Position](d, "positions", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.SubscribeOf[Position](d, "positions", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		l, err := p.Loan(background)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Publish(background); err != nil {
			t.Fatal(err)
		}
		b, err := s.Borrow(background)
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
	}
	for _, c := range []interface{ Close() error }{s, p, d, s, p, d} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
