package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/pubsub"
)

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

// stopped reports whether the process is stopped by a signal.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(after, "T")
}

// pair is a publisher and a subscriber in one process.
func pair(t testing.TB, c *pubsub.PublisherConfig, sc *pubsub.SubscriberConfig) (*pubsub.Publisher, *pubsub.Subscriber) {
	t.Helper()
	d := open(t, t.TempDir())
	p, err := pubsub.Publish(d, "numbers", c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(d, "numbers", sc)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
	return p, s
}

// Publishing and receiving do not allocate, whatever the size.
func TestAllocations(t *testing.T) {
	for _, size := range []int{8, 48, 500, 20_000} {
		p, s := pair(t, nil, nil)
		b := message(1, size)
		batch := [][]byte{b, b, b}
		both := func() {
			for _, publish := range []func() error{
				func() error { return p.Publish(background, b) },
				func() error { return p.PublishBatch(background, batch) },
			} {
				if err := publish(); err != nil {
					t.Fatal(err)
				}
			}
			for range 4 {
				if m, err := s.Receive(background); err != nil || len(m.Data) != size {
					t.Fatal(err)
				}
			}
			l, err := p.Loan(background, size)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Publish(background, size); err != nil {
				t.Fatal(err)
			}
			m, err := s.Borrow(background)
			if err != nil {
				t.Fatal(err)
			}
			m.Release()
		}
		for range 3000 {
			both() // until every buffer has its size, and the arena
		}
		if n := testing.AllocsPerRun(1000, both); n > 0 {
			t.Errorf("%d bytes: %v allocations", size, n)
		}
	}
}

// Close ends calls that wait, on both sides, and later ones.
func TestCloseEndsCalls(t *testing.T) {
	for range 20 {
		p, s := pair(t, &pubsub.PublisherConfig{Policy: pubsub.Block, Slots: 2}, nil)
		ended := make(chan error)
		go func() {
			for {
				if err := p.Publish(background, message(1, 20)); err != nil {
					ended <- err
					return
				}
			}
		}()
		// Without us it blocks soon.
		for range 5 {
			if _, err := s.Receive(background); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, pubsub.ErrClosed) {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := s.Receive(background); err != nil {
					ended <- err
					return
				}
			}
		}()
		runtime.Gosched()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, pubsub.ErrClosed) {
			t.Fatal(err)
		}
	}
}

// What was published before Close is received after it.
func TestDrain(t *testing.T) {
	p, s := pair(t, nil, nil)
	for i := range uint64(500) {
		if err := p.Publish(background, message(i, size(i))); err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
	for i := range uint64(500) {
		m, err := s.Receive(background)
		if n, bad := number(m.Data); err != nil || bad != nil || n != i {
			t.Fatal(i, n, err, bad)
		}
	}
	eventually(t, "drained", func() bool {
		if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
			t.Fatal(err)
		}
		return s.Publishers() == 0
	})
}

func TestHistory(t *testing.T) {
	d := open(t, t.TempDir())
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Slots: 64})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(200) {
		if err := p.Publish(background, message(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		history int
		first   uint64
	}{{0, 200}, {1, 199}, {10, 190}, {pubsub.AllHistory, 200 - 64 + 8}} {
		s, err := pubsub.Subscribe(d, "numbers", &pubsub.SubscriberConfig{History: c.history})
		if err != nil {
			t.Fatal(err)
		}
		if c.first == 200 {
			if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
				t.Error(err)
			}
			continue
		}
		m, err := s.TryReceive()
		if n, _ := number(m.Data); err != nil || n < c.first-8 || n > c.first || m.Sequence != n {
			t.Errorf("with a history of %d the first is %d, number %d; want %d; %v", c.history, n, m.Sequence, c.first, err)
		}
	}
}

func TestSchemas(t *testing.T) {
	type pair struct{ A, B int32 }
	type other struct {
		A int32
		B float32
	}
	d := open(t, t.TempDir())
	p, err := pubsub.PublishOf[pair](d, "pairs", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pubsub.SubscribeOf[other](d, "pairs", nil); !errors.Is(err, pubsub.ErrRefused) || !strings.Contains(err.Error(), "field B: the publisher has i32 at 4, the subscriber f32 at 4") {
		t.Error(err)
	}
	s, err := pubsub.SubscribeOf[pair](d, "pairs", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(background, &pair{1, 2}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Receive(background); err != nil || m.Value != (pair{1, 2}) {
		t.Error(m, err)
	}
	anything, err := pubsub.Publish(d, "pairs", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := anything.Publish(background, []byte("short")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(background); !errors.Is(err, pubsub.ErrSchema) {
		t.Error(err)
	}
	if _, err := pubsub.PublishOf[struct{ P *int }](d, "pointers", nil); !errors.Is(err, mmap.ErrType) {
		t.Error(err)
	}
	if _, err := pubsub.SubscribeOf[struct{ On []bool }](d, "pointers", nil); !errors.Is(err, mmap.ErrType) {
		t.Error(err)
	}
	// Bytes of any kind are received by who does not ask what they are.
	if _, err := pubsub.Subscribe(d, "pairs", nil); err != nil {
		t.Error(err)
	}
}

// Borrowed messages stay as they are, in any order, and cannot be too many.
func TestHolds(t *testing.T) {
	p, s := pair(t, &pubsub.PublisherConfig{ArenaBytes: 4096, ArenaLimit: 1 << 20}, nil)
	var held []pubsub.Borrowed
	var i uint64
	for ; ; i++ {
		for k := range uint64(20) {
			if err := p.Publish(background, message(i*20+k, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		b, err := s.Borrow(background)
		if errors.Is(err, pubsub.ErrTooManyHolds) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, b)
		for range 19 {
			if _, err := s.Receive(background); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(held) != 64 {
		t.Errorf("%d could be borrowed", len(held))
	}
	for i, b := range held {
		if n, err := number(b.Data); err != nil || n != uint64(i)*20 {
			t.Fatal(i, n, err)
		}
	}
	// In any order; then there is room again.
	for i := range held {
		held[(i*37)%len(held)].Release()
		held[(i*37)%len(held)].Release()
	}
	if b, err := s.Borrow(background); err != nil || !bytes.Equal(b.Data, message(i*20, 1000)) {
		t.Error(err)
	}
}

// Several goroutines share a publisher.
func TestLocked(t *testing.T) {
	p, s := pair(t, &pubsub.PublisherConfig{Policy: pubsub.Block}, nil)
	l := p.Locked()
	const each = 2000
	var publishers sync.WaitGroup
	defer publishers.Wait() // the last one may be about to return
	for g := range uint64(4) {
		publishers.Go(func() {
			for i := uint64(0); i < each; i += 2 {
				one, other := message(g*each+i, 20), message(g*each+i+1, 20)
				var err error
				switch g {
				case 0:
					err = errors.Join(l.Publish(background, one), l.Publish(background, other))
				case 1:
					err = l.PublishBatch(background, [][]byte{one, other})
				case 2:
					for err = l.TryPublish(one); errors.Is(err, pubsub.ErrFull); err = l.TryPublish(one) {
					}
					err = errors.Join(err, l.Publish(background, other))
				default:
					both := [][]byte{one, other}
					for err = l.TryPublishBatch(both); errors.Is(err, pubsub.ErrFull); err = l.TryPublishBatch(both) {
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	var next [4]uint64
	for range 4 * each {
		m, err := s.Receive(background)
		n, bad := number(m.Data)
		if err != nil || bad != nil || n%each != next[n/each] {
			t.Fatal(n, err, bad)
		}
		next[n/each]++
	}
}

// Contexts end waits.
func TestContexts(t *testing.T) {
	p, s := pair(t, nil, nil)
	ctx, cancel := context.WithCancel(background)
	done := make(chan error)
	go func() {
		_, err := s.Receive(ctx)
		done <- err
	}()
	runtime.Gosched()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(background)
	go func() { done <- p.WaitSubscribers(ctx, 2) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	n := 0
	for _, err := range s.All(ctx) {
		n++
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d turns", n)
	}
}

func TestWrongInput(t *testing.T) {
	d := open(t, t.TempDir())
	for _, c := range []pubsub.PublisherConfig{
		{Slots: 1 << 30}, {SlotBytes: 1 << 20}, {ArenaLimit: 100}, {Policy: 7}, {ContentType: strings.Repeat("x", 2000)}, {Slots: -5, ArenaLimit: -1},
	} {
		if _, err := pubsub.Publish(d, "numbers", &c); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, name := range []string{"", "a\x00b", strings.Repeat("n", 201), "\xff"} {
		if _, err := pubsub.Publish(d, name, nil); err == nil {
			t.Errorf("%q is a topic", name)
		}
	}
	p, _ := pair(t, &pubsub.PublisherConfig{ArenaLimit: 1 << 20}, nil)
	if err := p.Publish(background, make([]byte, 2<<20)); !errors.Is(err, pubsub.ErrTooLarge) {
		t.Error(err)
	}
	if err := p.PublishBatch(background, [][]byte{make([]byte, 1<<20), {1}}); !errors.Is(err, pubsub.ErrTooLarge) {
		t.Error(err)
	}
	var l pubsub.Loan
	if err := l.Publish(background, 1); !errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
	l.Discard()
}
