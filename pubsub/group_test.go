package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// publishTopics publishes so many messages to each of some topics, in turns, when all have a
// subscriber. Args: the folder, how many topics, how many messages.
func publishTopics(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	topics, _ := strconv.Atoi(args[1])
	n, _ := strconv.ParseUint(args[2], 10, 64)
	var all []*pubsub.Publisher
	for i := range topics {
		p, err := pubsub.Publish(d, fmt.Sprint("topic ", i), &pubsub.PublisherConfig{Policy: pubsub.Block, Slots: 16})
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	fmt.Println("ready")
	for _, p := range all {
		if err := p.WaitSubscribers(background, 1); err != nil {
			return err
		}
	}
	for i := range n {
		for _, p := range all {
			if err := p.Publish(background, message(i, 40)); err != nil {
				return err
			}
		}
	}
	fmt.Println("published")
	return proctest.Hang(all)
}

// grouped subscribes to so many topics, in a group.
func grouped(t *testing.T, d *memlane.Domain, topics int) (*pubsub.Group, []*pubsub.Subscriber) {
	t.Helper()
	var all []*pubsub.Subscriber
	var members []pubsub.Member
	for i := range topics {
		s, err := pubsub.Subscribe(d, fmt.Sprint("topic ", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		all, members = append(all, s), append(members, s)
	}
	g, err := pubsub.NewGroup(members...)
	if err != nil {
		t.Fatal(err)
	}
	return g, all
}

// One goroutine receives all of many topics, in order: of few, and of more than one system
// call can wait for.
func TestGroup(t *testing.T) {
	for _, topics := range []int{1, 5, 150} {
		t.Run(fmt.Sprint(topics), func(t *testing.T) {
			const each = 200
			folder := t.TempDir()
			p := proctest.Start(t, nil, "publish topics", folder, strconv.Itoa(topics), strconv.Itoa(each))
			if got := p.Line(); got != "ready" {
				t.Fatal(got)
			}
			g, _ := grouped(t, open(t, folder), topics)
			next := make([]uint64, topics)
			for range topics * each {
				member, m, err := g.Receive(background)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := number(m.Data); err != nil || n != next[member] || m.Sequence != n {
					t.Fatalf("member %d: message %d, %v; want %d", member, n, err, next[member])
				}
				next[member]++
			}
			if member, _, err := g.TryReceive(); err != pubsub.ErrEmpty || member != -1 {
				t.Errorf("member %d, %v", member, err)
			}
		})
	}
}

// A wait is ended by a message of any member, by a publisher that comes, by Close of a
// member, and by the context; that a member was closed is told once, and all that is all.
func TestGroupWait(t *testing.T) {
	d := open(t, t.TempDir())
	g, all := grouped(t, d, 3)
	received := make(chan error)
	var member int
	receive := func(ctx context.Context) {
		go func() {
			var err error
			member, _, err = g.Receive(ctx)
			received <- err
		}()
	}
	wants := func(m int, want error) {
		t.Helper()
		if err := <-received; !errors.Is(err, want) || member != m {
			t.Fatalf("member %d, %v; want %d, %v", member, err, m, want)
		}
	}
	receive(background) // nobody publishes yet
	p, err := pubsub.Publish(d, "topic 1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(background, []byte("one")); err != nil {
		t.Fatal(err)
	}
	wants(1, nil)
	ctx, cancel := context.WithCancel(background)
	receive(ctx)
	cancel()
	wants(-1, context.Canceled)
	for i, s := range all {
		receive(background)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wants(i, pubsub.ErrClosed)
	}
	receive(background)
	wants(-1, pubsub.ErrClosed)
	if err := g.Wait(background); !errors.Is(err, pubsub.ErrClosed) {
		t.Error(err)
	}
}

// A subscriber is in one group, once; all that a group has to give is yielded, of typed
// members too.
func TestGroupMembers(t *testing.T) {
	d := open(t, t.TempDir())
	p, err := pubsub.PublishOf[reading](d, "readings", nil)
	if err != nil {
		t.Fatal(err)
	}
	typed, err := pubsub.SubscribeOf[reading](d, "readings", nil)
	if err != nil {
		t.Fatal(err)
	}
	g, all := grouped(t, d, 2)
	if _, err := pubsub.NewGroup(typed, all[0]); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("in two groups: %v", err)
	}
	g.Leave()
	if _, err := pubsub.NewGroup(typed, typed); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("twice in one: %v", err)
	}
	if g, err = pubsub.NewGroup(all[0], typed); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
	v := readingOf(7)
	if err := p.Publish(background, &v); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(background); err != nil {
		t.Fatal(err)
	}
	if m, err := typed.TryReceive(); err != nil || m.Value != v {
		t.Errorf("%v, %v", m, err)
	}
	if err := p.Publish(background, &v); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	n := 0
	for r, err := range g.All(ctx) {
		switch {
		case err == nil && r.Member == 1 && n == 0:
			n++
			cancel()
		case n == 1 && errors.Is(err, context.Canceled):
			n++
		default:
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if n != 2 {
		t.Errorf("it yielded %d times", n)
	}
}

// Waiting for several in turns allocates nothing.
func TestGroupAllocations(t *testing.T) {
	d := open(t, t.TempDir())
	p, err := pubsub.Publish(d, "topic 1", nil)
	if err != nil {
		t.Fatal(err)
	}
	g, _ := grouped(t, d, 3)
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
	both := func() {
		if err := p.Publish(background, []byte("one")); err != nil {
			t.Fatal(err)
		}
		if member, m, err := g.Receive(background); err != nil || member != 1 || string(m.Data) != "one" {
			t.Fatal(member, err)
		}
	}
	for range 100 {
		both()
	}
	if n := testing.AllocsPerRun(1000, both); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A channel has all messages, and ends with the subscriber or the context, also when nobody
// receives from it.
func TestChannel(t *testing.T) {
	for _, end := range []string{"closed", "context", "nobody"} {
		t.Run(end, func(t *testing.T) {
			p, s := pair(t, &pubsub.PublisherConfig{Policy: pubsub.Block}, nil)
			ctx, cancel := context.WithCancel(background)
			defer cancel()
			c := s.Channel(ctx, 2)
			const n = 100
			var publishing sync.WaitGroup
			publishing.Go(func() {
				for i := range uint64(n) {
					if err := p.Publish(background, message(i, 20)); err != nil {
						t.Error(err)
					}
				}
			})
			var kept [][]byte
			for i := range uint64(n) {
				d := <-c
				if d.Err != nil || d.Sequence != i {
					t.Fatalf("message %d, %v; want %d", d.Sequence, d.Err, i)
				}
				kept = append(kept, d.Data)
			}
			publishing.Wait()
			for i, b := range kept {
				if got, err := number(b); err != nil || got != uint64(i) {
					t.Fatalf("message %d became %d, %v", i, got, err)
				}
			}
			var want error
			switch end {
			case "closed":
				want = pubsub.ErrClosed
				s.Close()
			case "context":
				want = context.Canceled
				cancel()
			case "nobody":
				for i := range uint64(10) { // more than there is room for
					if err := p.Publish(background, message(i, 20)); err != nil {
						t.Fatal(err)
					}
				}
				cancel()
				for d, open := <-c; open; d, open = <-c {
					if d.Err != nil && !errors.Is(d.Err, context.Canceled) {
						t.Error(d.Err)
					}
				}
				return
			}
			if d := <-c; !errors.Is(d.Err, want) {
				t.Errorf("%v; want %v", d.Err, want)
			}
			if d, open := <-c; open {
				t.Errorf("%+v follows", d)
			}
		})
	}
}
