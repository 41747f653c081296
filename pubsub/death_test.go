package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"syscall"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// stream is a process that publishes numbers for ever. It says on a line of its own,
// after each hundred, how many it knows to be published.
func stream(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	policy, _ := strconv.Atoi(args[1])
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Policy(policy)})
	if err != nil {
		return err
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		return err
	}
	go endWithTest()
	for i := uint64(0); ; {
		if i%3 == 0 {
			var batch [][]byte
			for range 4 {
				batch = append(batch, message(i, size(i)))
				i++
			}
			err = p.PublishBatch(background, batch)
		} else {
			err = p.Publish(background, message(i, size(i)))
			i++
		}
		if err != nil {
			return err
		}
		if i%100 < 4 {
			fmt.Println(i)
		}
	}
}

// A publisher is killed, at any moment. Its subscriber gets everything that it has
// said to be published, in order, whole, and nothing after a gap; then another
// publisher's messages.
func TestPublisherKilled(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 12 {
		p := proctest.Start(t, nil, "stream", folder, strconv.Itoa(int(pubsub.Block)))
		// Else it may be killed before we have seen that it is there, let alone gone.
		eventually(t, "there", func() bool { return s.Publishers() == 1 })
		acknowledged := make(chan uint64)
		go func() {
			var last uint64
			for range 2 + rand.IntN(8) {
				last, _ = strconv.ParseUint(p.Line(), 10, 64)
			}
			p.Kill()
			acknowledged <- last
		}()
		var next uint64
		var killed bool
		var last uint64
		for {
			m, err := s.TryReceive()
			if err == pubsub.ErrEmpty {
				if killed && s.Publishers() == 0 {
					break
				}
				select {
				case last = <-acknowledged:
					killed = true
				default:
				}
				continue
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			i, err := number(m.Data)
			if err != nil || i != next || m.Sequence != next {
				t.Fatalf("round %d: message %d, number %d; want %d; %v", round, i, m.Sequence, next, err)
			}
			next++
		}
		if next < last {
			t.Errorf("round %d: %d messages, and %d were published", round, next, last)
		}
	}
}

// metSubscriber waits for a publisher's only subscriber, who is ready. On a machine that
// is slow he may be so before they have met, and would miss what is published until then.
func metSubscriber(t *testing.T, p *pubsub.Publisher) {
	t.Helper()
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
}

// Subscribers of a publisher that blocks are killed and stopped, at any moment. It
// goes on, and nobody else misses anything.
func TestSubscribersKilled(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block})
	if err != nil {
		t.Fatal(err)
	}
	stays := proctest.Start(t, nil, "subscribe", folder, "receive", "may not")
	if got := stays.Line(); got != "ready" {
		t.Fatal(got)
	}
	metSubscriber(t, p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			s := proctest.Start(t, nil, "subscribe", folder, "borrow", "may not")
			s.Line()
			if rand.IntN(2) == 0 {
				s.Signal(syscall.SIGSTOP)
			}
			s.Kill()
		}
	}()
	var i uint64
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for range 100 {
			if err := p.Publish(background, message(i, size(i))); err != nil {
				t.Fatal(err)
			}
			i++
		}
	}
	if err := p.Publish(background, message(last, 8)); err != nil {
		t.Fatal(err)
	}
	if got, want := stays.Line(), fmt.Sprintf("all %d lost 0", i); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// A publisher that blocks waits for a subscriber that is stopped, until its context
// ends, or the subscriber goes on, or is killed; one that drops does not.
func TestSubscriberStopped(t *testing.T) {
	for _, end := range []string{"goes on", "is killed"} {
		t.Run(end, func(t *testing.T) {
			folder := t.TempDir()
			d := open(t, folder)
			p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block, Slots: 64})
			if err != nil {
				t.Fatal(err)
			}
			s := proctest.Start(t, nil, "subscribe", folder, "receive", "may not")
			s.Line()
			metSubscriber(t, p)
			s.Signal(syscall.SIGSTOP)
			eventually(t, "stopped", func() bool { return stopped(s.PID()) })
			var i uint64
			for ; ; i++ {
				if err = p.TryPublish(message(i, 8)); err != nil {
					break
				}
			}
			// What it had read before it stopped does not matter: it was asleep.
			if !errors.Is(err, pubsub.ErrFull) || i < 64 {
				t.Fatalf("after %d messages: %v", i, err)
			}
			ctx, cancel := context.WithCancel(background)
			blocked := make(chan error)
			go func() { blocked <- p.Publish(ctx, message(i, 8)) }()
			cancel()
			if err := <-blocked; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			go func() { blocked <- p.Publish(background, message(i, 8)) }()
			if end == "is killed" {
				s.Kill()
			} else {
				s.Signal(syscall.SIGCONT)
			}
			if err := <-blocked; err != nil {
				t.Fatal(err)
			}
			if end == "goes on" {
				if err := p.Publish(background, message(last, 8)); err != nil {
					t.Fatal(err)
				}
				if got, want := s.Line(), fmt.Sprintf("all %d lost 0", i+1); got != want {
					t.Errorf("got %q; want %q", got, want)
				}
			}
		})
	}
}

// A subscriber is stopped that a publisher does not wait for. It is told exactly what
// it has lost when it goes on.
func TestSubscriberStoppedLags(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Slots: 64})
	if err != nil {
		t.Fatal(err)
	}
	s := proctest.Start(t, nil, "subscribe", folder, "receive", "may lag")
	s.Line()
	metSubscriber(t, p)
	s.Signal(syscall.SIGSTOP)
	eventually(t, "stopped", func() bool { return stopped(s.PID()) })
	const n = 20_000
	for i := range uint64(n) {
		if err := p.Publish(background, message(i, size(i))); err != nil {
			t.Fatal(err)
		}
	}
	s.Signal(syscall.SIGCONT)
	if err := p.Publish(background, message(last, 8)); err != nil {
		t.Fatal(err)
	}
	var all, lost uint64
	line := s.Line()
	if _, err := fmt.Sscanf(line, "all %d lost %d", &all, &lost); err != nil || all != n || lost < n-2*64 {
		t.Errorf("got %q", line)
	}
}
