package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/pubsub"
)

// Whatever was closed, and whatever is called then, the error is the package's and
// that of the standard library.
func TestClosed(t *testing.T) {
	for what, end := range map[string]func(d, p, s interface{ Close() error }) error{
		"the two":    func(_, p, s interface{ Close() error }) error { return errors.Join(p.Close(), s.Close()) },
		"the domain": func(d, _, _ interface{ Close() error }) error { return d.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			d := open(t, t.TempDir())
			p, err := pubsub.Publish(d, "numbers", nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := pubsub.Subscribe(d, "numbers", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := end(d, p, s); err != nil {
				t.Fatal(err)
			}
			calls := map[string]func() error{
				"Publish":         func() error { return p.Publish(background, nil) },
				"TryPublish":      func() error { return p.TryPublish(nil) },
				"PublishBatch":    func() error { return p.PublishBatch(background, [][]byte{nil}) },
				"TryPublishBatch": func() error { return p.TryPublishBatch([][]byte{nil}) },
				"Loan":            func() error { _, err := p.Loan(background, 1); return err },
				"WaitSubscribers": func() error { return p.WaitSubscribers(background, 1) },
				"Receive":         func() error { _, err := s.Receive(background); return err },
				"TryReceive":      func() error { _, err := s.TryReceive(); return err },
				"Borrow":          func() error { _, err := s.Borrow(background); return err },
				"TryBorrow":       func() error { _, err := s.TryBorrow(); return err },
				"ReceiveBatch": func() error {
					_, err := s.ReceiveBatch(background, func(pubsub.Message) bool { return true })
					return err
				},
				"All": func() (last error) {
					for _, err := range s.All(context.Background()) {
						last = err
					}
					return last
				},
			}
			if what == "the domain" {
				calls["another publisher"] = func() error { _, err := pubsub.Publish(d, "numbers", nil); return err }
				calls["another subscriber"] = func() error { _, err := pubsub.Subscribe(d, "numbers", nil); return err }
			}
			for name, call := range calls {
				if err := call(); !errors.Is(err, pubsub.ErrClosed) || !errors.Is(err, os.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// Publishers, subscribers and their domain are closed at the same time, and others are
// begun. Nobody finds an error in that.
func TestClosedAtOnce(t *testing.T) {
	type closer interface{ Close() error }
	for range 30 {
		d := open(t, t.TempDir())
		all := []closer{d}
		for i := range 10 {
			topic := fmt.Sprint("topic ", i)
			p, err := pubsub.Publish(d, topic, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := pubsub.Subscribe(d, topic, nil)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p, s)
		}
		now, closed, begun := make(chan struct{}), make(chan error), make(chan error)
		for _, c := range all {
			go func() { <-now; closed <- c.Close() }()
		}
		go func() { <-now; _, err := pubsub.Publish(d, "late", nil); begun <- err }()
		go func() { <-now; _, err := pubsub.Subscribe(d, "late", nil); begun <- err }()
		close(now)
		for range all {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			if err := <-begun; err != nil && !errors.Is(err, pubsub.ErrClosed) {
				t.Error(err)
			}
		}
	}
}

// Whoever closes something while the domain is being closed comes to a node that is
// closed already.
func TestClosedAfterItsDomain(t *testing.T) {
	d := open(t, t.TempDir())
	p, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := domain.Of(d).Node().Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Close(), s.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}
