package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
	"github.com/memlane/memlane/test/prove/topic"
)

// limit is how long anybody may take for anything.
const limit = step.Limit

// late is when an answer has come of a backstop, and not of a wake.
const late = 500 * time.Millisecond

// A subscriber is one of the conductor's, which may be asleep, and notes what it gets.
type subscriber struct {
	s *pubsub.Subscriber

	sleeping context.CancelFunc // ends the goroutine that receives; nil: there is none
	slept    chan struct{}      // closed when it has ended

	mu   sync.Mutex
	next [3]uint64 // by who publishes: the number of the next message
	ids  [3]uint64 // their numbers as publishers
	lost uint64
	err  error // what must not be
	late int
}

// forget forgets the messages of victims: the next one begins anew.
func (s *subscriber) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[victims], s.ids[victims], s.lost = 0, 0, 0
}

// note notes what was received. A loss is of the victim's messages: those of others are
// all received in time.
func (s *subscriber) note(m pubsub.Message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lagged *pubsub.LaggedError
	if errors.As(err, &lagged) {
		s.next[victims] += lagged.Lost
		s.lost += lagged.Lost
		return
	}
	var who, number uint64
	if err == nil {
		who, number, err = topic.Read(m.Data)
	}
	switch {
	case err != nil:
	case who != victims && who != conductors:
		err = fmt.Errorf("a message of %d, who is nobody", who)
	case number != s.next[who]:
		err = fmt.Errorf("message %d of %d; want %d", number, who, s.next[who])
	default:
		s.next[who]++
	}
	if s.err == nil {
		s.err = err
	}
}

// sleep has a goroutine receive, and returns when it sleeps.
func (s *subscriber) sleep() error {
	ctx, cancel := context.WithCancel(background)
	s.sleeping, s.slept = cancel, make(chan struct{})
	thread := make(chan int)
	go func() {
		defer close(s.slept)
		runtime.LockOSThread()
		thread <- syscall.Gettid()
		for {
			m, err := s.s.Receive(ctx)
			if errors.Is(err, context.Canceled) {
				return
			}
			s.note(m, err)
		}
	}()
	return asleep(<-thread)
}

// asleep returns when a thread of this process sleeps.
func asleep(thread int) error {
	for end := time.Now().Add(limit); !step.Sleeps(os.Getpid(), thread); runtime.Gosched() {
		if time.Now().After(end) {
			return fmt.Errorf("somebody does not fall asleep: %w", places.ErrStuck)
		}
	}
	return nil
}

// wake ends what sleep has begun.
func (s *subscriber) wake() {
	if s.sleeping != nil {
		s.sleeping()
		<-s.slept
		s.sleeping = nil
	}
}

// drain receives what there is, if nobody else does.
func (s *subscriber) drain() {
	for s.sleeping == nil {
		m, err := s.s.TryReceive()
		if err == pubsub.ErrEmpty {
			return
		}
		s.note(m, err)
	}
}

// until waits until a condition is met, of what was received; an error says of what.
func (s *subscriber) until(what string, is func() bool) error {
	begun := time.Now()
	for {
		s.drain()
		s.mu.Lock()
		met, err, state := is(), s.err, fmt.Sprintf("victim's next is %d, conductor's %d, %d lost", s.next[victims], s.next[conductors], s.lost)
		s.mu.Unlock()
		took := time.Since(begun)
		if took > late && met {
			s.late++
		}
		switch {
		case err != nil:
			return err
		case met:
			return nil
		case took > limit:
			return fmt.Errorf("%s, and it is not so after %v (%s): %w", what, took, state, places.ErrStuck)
		case took > 100*time.Microsecond:
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// has waits until the number of the next message is that.
func (s *subscriber) has(who int, next uint64) error {
	return s.until(fmt.Sprintf("the next message of %d is to be %d", who, next), func() bool { return s.next[who] == next })
}

// found waits until it knows so many publishers, and receives nothing.
func (s *subscriber) found(n int) error {
	for end := time.Now().Add(limit); s.s.Publishers() != n; time.Sleep(20 * time.Microsecond) {
		if time.Now().After(end) {
			return fmt.Errorf("it knows %d publishers, and not %d: %w", s.s.Publishers(), n, places.ErrStuck)
		}
	}
	return nil
}

// publishers waits until it has so many.
func (s *subscriber) publishers(n int) error {
	return s.until(fmt.Sprintf("there are to be %d publishers", n), func() bool { return s.s.Publishers() == n })
}
