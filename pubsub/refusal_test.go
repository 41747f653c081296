package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
)

type (
	versionOne struct{ Amount uint64 }
	versionTwo struct{ Amount float64 }
)

// subscribeTyped is a process that is there before any publisher: args are the folder
// and the way to receive. It says "ready", then each refusal, and ends with the first
// message.
func subscribeTyped(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	one, err := schema.Of[versionOne]()
	if err != nil {
		return err
	}
	s, err := pubsub.Subscribe(d, "numbers", &pubsub.SubscriberConfig{Schema: one})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	receive := map[string]func() error{
		"Receive": func() error { _, err := s.Receive(background); return err },
		"Borrow":  func() error { _, err := s.Borrow(background); return err },
		"TryReceive": func() error {
			for {
				if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
					return err
				}
			}
		},
		"TryBorrow": func() error {
			for {
				if _, err := s.TryBorrow(); err != pubsub.ErrEmpty {
					return err
				}
			}
		},
		"ReceiveBatch": func() error {
			_, err := s.ReceiveBatch(background, func(pubsub.Message) bool { return false })
			return err
		},
	}[args[1]]
	if receive == nil { // All
		for _, err := range s.All(background) {
			if err == nil {
				break
			}
			fmt.Println(errors.Is(err, pubsub.ErrRefused), err)
		}
	} else {
		for err := receive(); err != nil; err = receive() {
			fmt.Println(errors.Is(err, pubsub.ErrRefused), err)
		}
	}
	fmt.Println("received")
	return nil
}

// A subscriber that was there before the publisher that refuses it learns it from
// whatever call receives, once of each, and goes on; the publisher learns it too.
func TestRefusedLater(t *testing.T) {
	for _, way := range []string{"Receive", "TryReceive", "ReceiveBatch", "Borrow", "TryBorrow", "All"} {
		t.Run(way, func(t *testing.T) {
			folder := t.TempDir()
			sub := proctest.Start(t, nil, "subscribe typed", folder, way)
			if got := sub.Line(); got != "ready" {
				t.Fatal(got)
			}
			d := open(t, folder)
			for range 2 {
				p, err := pubsub.PublishOf[versionTwo](d, "numbers", nil)
				if err != nil {
					t.Fatal(err)
				}
				line := sub.Line()
				for _, want := range []string{`true pubsub: receive from "numbers": the publisher refuses`, "field Amount: the publisher has f64 at 0, the subscriber u64 at 0", "use the same type"} {
					if !strings.Contains(line, want) {
						t.Errorf("the subscriber says %q, without %q", line, want)
					}
				}
				over, cancel := context.WithCancel(background)
				cancel()
				err = p.WaitSubscribers(over, 1)
				if !errors.Is(err, context.Canceled) || !errors.Is(err, pubsub.ErrRefused) {
					t.Error(err)
				}
				for _, want := range []string{"0 of 1", fmt.Sprintf("process %d", sub.PID()), "field Amount: the publisher has f64 at 0, the subscriber u64 at 0"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("WaitSubscribers says %q, without %q", err, want)
					}
				}
			}
			p, err := pubsub.PublishOf[versionOne](d, "numbers", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.WaitSubscribers(background, 1); err != nil {
				t.Fatal(err)
			}
			if err := p.Publish(background, &versionOne{1}); err != nil {
				t.Fatal(err)
			}
			if got := sub.Line(); got != "received" {
				t.Error(got)
			}
		})
	}
}

// One that has gone is not missed any more, and many are not all named.
func TestRefusedAreNamed(t *testing.T) {
	d := open(t, t.TempDir())
	var subs []*pubsub.Subscriber
	for range 5 {
		s, err := pubsub.Subscribe(d, "numbers", &pubsub.SubscriberConfig{ContentType: "application/" + strings.Repeat("s", 900)})
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, s)
	}
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{ContentType: "application/" + strings.Repeat("p", 900)})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subs {
		if _, err := s.Receive(background); !errors.Is(err, pubsub.ErrRefused) {
			t.Error(err)
		}
		if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
			t.Error(err)
		}
	}
	over, cancel := context.WithCancel(background)
	cancel()
	if err := p.WaitSubscribers(over, 1); !errors.Is(err, pubsub.ErrRefused) || !strings.Contains(err.Error(), "and 2 more") {
		t.Error(err)
	}
	for _, s := range subs {
		s.Close()
	}
	eventually(t, "forgotten", func() bool { return !errors.Is(p.WaitSubscribers(over, 1), pubsub.ErrRefused) })
}
