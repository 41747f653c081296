package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/calls"
	"github.com/memlane/memlane/test/prove/topic"
)

const (
	victimName = "victim"
	topicName  = "numbers"

	// conductors is who publishes in the conductor; victims have the numbers behind it.
	conductors = 1
)

var background = context.Background()

// An operation is the life of a victim.
type operation struct {
	name   string
	policy pubsub.Policy // of all publishers
	mutant bool          // somebody makes a mistake, and the judge must notice
	live   func(v *victim) error
	// mistake is the conductor's, when the victim is gone; nil: none.
	mistake func(s *scene)
}

// messages are how long those are that are published: in a slot, in the arena, and in a
// chunk by which that grows.
var messages = [...]int{40, 1000, 40, 5000}

func operations() []*operation {
	return []*operation{
		{name: "mutant: acknowledges what it has not published", mutant: true, live: func(v *victim) error {
			v.says(fmt.Sprint("published ", 1000))
			return v.publish()
		}},
		{name: "mutant: publishes one message twice", mutant: true, live: func(v *victim) error {
			v.again = true
			return v.publish()
		}},
		{name: "mutant: the conductor keeps what it has borrowed", mutant: true, live: (*victim).publish, mistake: (*scene).keep},
		{name: "publish", live: (*victim).publish},
		{name: "publish under Block", policy: pubsub.Block, live: (*victim).publish},
		{name: "subscribe", live: (*victim).subscribe},
		{name: "subscribe under Block", policy: pubsub.Block, live: (*victim).subscribe},
		{name: "publish and subscribe", live: func(v *victim) error {
			// It has two ports at once, and closes the domain over one of them.
			if err := v.open(); err != nil {
				return err
			}
			if _, err := pubsub.Subscribe(v.domain, topicName, nil); err != nil {
				return err
			}
			return v.publish()
		}},
	}
}

// helloTime is between the first two messages that a victim publishes until somebody has
// heard it, or the conductor for a victim.
const helloTime = 5 * time.Millisecond

// heard is closed when the conductor says so.
func heard(f *os.File) <-chan struct{} {
	there := make(chan struct{})
	go func() {
		if n, _ := f.Read(make([]byte, 1)); n == 1 {
			close(there)
		}
	}()
	return there
}

// called returns the operation of that name; nil if there is none.
func called(name string) *operation {
	for _, o := range operations() {
		if o.name == name {
			return o
		}
	}
	return nil
}

// role does what this process is, if it was started as a victim: args are its operation,
// the folder, its number, and where it is to be stopped.
func role(args []string) (ok bool, err error) {
	if len(args) != 6 || args[0] != victimName {
		return false, nil
	}
	o := called(args[1])
	if o == nil {
		return true, fmt.Errorf("no operation is called %q", args[1])
	}
	number, err := strconv.ParseUint(args[3], 10, 64)
	if err != nil {
		return true, err
	}
	where, err := parsePlace(args[4])
	if err != nil {
		return true, err
	}
	v := &victim{o: o, folder: args[2], number: number, report: os.NewFile(3, "report"), heard: heard(os.NewFile(4, "heard"))}
	calls.Begin()
	finish, err := arm(where, args[5] == "kill", v.report)
	if err != nil {
		return true, err
	}
	err = o.live(v)
	finish()
	return true, err
}

// A victim is what a victim has.
type victim struct {
	o      *operation
	folder string
	number uint64 // who it is in messages
	report *os.File
	domain *memlane.Domain
	heard  <-chan struct{} // closed when the conductor has heard of it
	again  bool            // it publishes each message twice
}

// says tells the conductor.
func (v *victim) says(what string) { fmt.Fprintln(v.report, what) }

// open opens the domain, once.
func (v *victim) open() (err error) {
	if v.domain == nil {
		v.domain, err = topic.Open(v.folder)
	}
	return err
}

// publish is a victim that publishes.
func (v *victim) publish() error {
	if err := v.open(); err != nil {
		return err
	}
	p, err := pubsub.Publish(v.domain, topicName, &pubsub.PublisherConfig{Policy: v.o.policy, Slots: 16, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 1 << 16})
	if err != nil {
		return err
	}
	// What it publishes before the conductor's subscriber is there need not come to it. That
	// there is a subscriber says nothing: it may be another one.
	var number uint64
	for wait, there := helloTime, false; !there; number++ {
		if err := p.Publish(background, topic.Message(v.number, number, 40)); err != nil {
			return err
		}
		select {
		case <-v.heard:
			there = true
		case <-time.After(wait):
			wait *= 2 // the ring is to be longer than this can go on
		}
	}
	for _, n := range messages {
		m := topic.Message(v.number, number, n)
		number++
		if err := p.Publish(background, m); err != nil {
			return err
		}
		if v.again {
			if err := p.Publish(background, m); err != nil {
				return err
			}
		}
		v.says(fmt.Sprint("published ", number))
	}
	return errors.Join(p.Close(), v.domain.Close())
}

// subscribe is a victim that subscribes, and receives what the conductor publishes then.
func (v *victim) subscribe() error {
	if err := v.open(); err != nil {
		return err
	}
	s, err := pubsub.Subscribe(v.domain, topicName, nil)
	if err != nil {
		return err
	}
	v.says("subscribed") // from now on the conductor publishes, until this one has heard it
	ctx, cancel := context.WithTimeout(background, calls.Limit)
	defer cancel()
	var next uint64
	for received := 0; received < len(messages); {
		who, number, err := one(ctx, s, received%2 == 1)
		switch {
		case errors.As(err, new(*pubsub.LaggedError)) && received == 0, errors.Is(err, pubsub.ErrMissed):
			continue // it has taken its time
		case err != nil:
			return err
		case who != conductors:
			continue // of one who came while this one was stopped
		case received > 0 && number != next:
			return fmt.Errorf("message %d of the conductor; want %d", number, next)
		}
		if received == 0 {
			v.says("heard")
		}
		next = number + 1
		received++
	}
	return errors.Join(s.Close(), v.domain.Close())
}

// one receives a message, or borrows it.
func one(ctx context.Context, s *pubsub.Subscriber, borrow bool) (who, number uint64, err error) {
	if !borrow {
		m, err := s.Receive(ctx)
		if err != nil {
			return 0, 0, err
		}
		return topic.Read(m.Data)
	}
	b, err := s.Borrow(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer b.Release()
	return topic.Read(b.Data)
}
