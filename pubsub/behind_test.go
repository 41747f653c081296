package pubsub_test

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// cut ends all connections of this process's domains: the sockets that are connected.
func cut(t *testing.T) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range list {
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil || kind != syscall.SOCK_SEQPACKET {
			continue
		}
		if _, err := syscall.Getpeername(fd); err != nil {
			continue // it listens
		}
		if syscall.Shutdown(fd, syscall.SHUT_RDWR) == nil {
			n++
		}
	}
	if n == 0 {
		t.Fatal("nothing is connected")
	}
}

// A subscriber that is never done with what there is, is one again after the connection was
// lost: a publisher under Block waits for it as before.
func TestMetAgainThoughBehind(t *testing.T) {
	folder := t.TempDir()
	p, err := pubsub.Publish(open(t, folder), "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block, Slots: 64})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		t.Fatal(err)
	}
	var published, received, lost uint64
	// The ring is never empty, and some of it is always published, when it is not waited for.
	publish := func() {
		t.Helper()
		for published < received+lost+40 {
			if err := p.TryPublish(message(published, 40)); err != nil {
				if errors.Is(err, pubsub.ErrFull) {
					return
				}
				t.Fatal(err)
			}
			published++
		}
	}
	receive := func() {
		t.Helper()
		m, err := s.TryReceive()
		var lagged *pubsub.LaggedError
		switch {
		case errors.As(err, &lagged):
			lost += lagged.Lost
			return
		case err == pubsub.ErrEmpty:
			return
		case err != nil:
			t.Fatal(err)
		}
		if got, err := number(m.Data); err != nil || got != received+lost {
			t.Fatalf("message %d, %v; want %d", got, err, received+lost)
		}
		received++
	}
	for range 1000 {
		publish()
		receive()
	}
	cut(t)
	eventually(t, "lost", func() bool { publish(); receive(); return p.Subscribers() == 0 })
	eventually(t, "met again", func() bool { publish(); receive(); return p.Subscribers() == 1 })
	for received+lost < published {
		receive()
	}
	before := lost
	for range 1000 {
		publish()
		receive()
	}
	if lost != before {
		t.Errorf("%d messages were lost that the publisher should have waited for", lost-before)
	}
}
