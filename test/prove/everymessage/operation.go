package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
	"github.com/memlane/memlane/test/prove/topic"
)

const (
	victimName = "victim"
	topicName  = "numbers"
)

// Who publishes.
const (
	victims    = 1
	conductors = 2
)

var background = context.Background()

// An operation is what a victim does between the marks, and what surrounds it.
type operation struct {
	name   string
	every  int  // take every so many-th of its places only; 0: all
	quiet  bool // it must make no system call
	mutant bool // the victim breaks the rules, and the judge must notice
	stops  bool // of a mutant: it is stopped too, not only killed

	// Of a victim that publishes: see publishing. config is nil for one that subscribes.
	config    *pubsub.PublisherConfig
	before    int // messages that it publishes before the first mark
	size      int // of each message
	count     int // messages that the operation publishes
	unread    int // of those before, so many are still to be received when it begins
	asleep    bool
	loses     bool // messages may be lost
	publishes func(p *pubsub.Publisher, o *operation) error

	// Of a victim that subscribes: see receiving.
	policy   pubsub.Policy
	offered  int // messages that are there for it when the operation begins
	waits    bool
	prepares func(s *pubsub.Subscriber) error // before the first mark
	receives func(k *kept) error
}

func (o *operation) places() *places.Operation {
	p := &places.Operation{Name: o.name, Stages: []string{"not yet"}, Every: o.every, Quiet: o.quiet, Mutant: o.mutant, Stops: o.stops}
	if o.config == nil {
		p.Make = func(rnd *rand.Rand) (places.Scene, error) { return newReceiving(o, rnd) }
		return p
	}
	if o.count > 0 {
		p.Stages = append(p.Stages, "published")
	}
	p.Make = func(rnd *rand.Rand) (places.Scene, error) { return newPublishing(o, rnd) }
	return p
}

// one publishes the next message of the operation's size.
func one(p *pubsub.Publisher, o *operation) error {
	return p.Publish(background, next(o, 0))
}

// next is message i of those that the operation publishes; filled, because it is made
// between the marks.
func next(o *operation, i int) []byte { return ready[i] }

// ready are the messages that are published between the marks, which are made before.
var ready [][]byte

func batch(p *pubsub.Publisher, o *operation) error {
	return p.PublishBatch(background, ready[:o.count])
}

func lend(p *pubsub.Publisher, o *operation) error {
	l, err := p.Loan(background, o.size)
	if err != nil {
		return err
	}
	copy(l.Bytes(), ready[0])
	return l.Publish(background, o.size)
}

// kept is what a subscriber that is a victim has received, to be looked at afterwards.
type kept struct {
	s        *pubsub.Subscriber
	copies   [][]byte
	copied   uint64 // sequence number of the last copy
	borrowed []pubsub.Borrowed
	next     uint64 // sequence number of the next message
	lagged   *pubsub.LaggedError
	err      error
}

// count counts a message, or what was lost while the victim was stopped, and says whether
// there is one.
func (k *kept) count(m pubsub.Message, err error) (bool, error) {
	if errors.As(err, &k.lagged) {
		k.next += k.lagged.Lost
		k.copies = k.copies[:0] // they are good until a call that receives
		return false, nil
	}
	if err == nil && m.Sequence != k.next {
		k.err = fmt.Errorf("message %d is received; want %d", m.Sequence, k.next)
	}
	k.next++
	return err == nil, err
}

func (k *kept) receive() error {
	m, err := k.s.Receive(background)
	ok, err := k.count(m, err)
	if ok {
		k.copies = append(k.copies, m.Data)
		k.copied = m.Sequence
	}
	return err
}

func (k *kept) borrow() error {
	b, err := k.s.Borrow(background)
	ok, err := k.count(b.Message, err)
	if ok {
		k.borrowed = append(k.borrowed, b)
	}
	return err
}

// operations are all, the mutants first.
func operations() []*operation {
	// small is a ring of 16 slots, of which two are made ready at once, and an arena of four
	// blocks of a KiB, or as many as the limit has.
	small := func(policy pubsub.Policy, limit int) *pubsub.PublisherConfig {
		return &pubsub.PublisherConfig{Policy: policy, Slots: 16, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: limit}
	}
	oldest, all := pubsub.DropOldest, 4096
	receive := (*kept).receive
	twice := func(k *kept) error { return errors.Join(k.receive(), k.receive()) }
	return []*operation{
		{name: "mutant: publishes a wrong byte", mutant: true, config: small(oldest, all), size: 40, count: 1,
			publishes: func(p *pubsub.Publisher, o *operation) error {
				ready[0][20]++
				return one(p, o)
			}},
		{name: "mutant: publishes twice", mutant: true, config: small(oldest, all), size: 40, count: 1,
			publishes: func(p *pubsub.Publisher, o *operation) error { return errors.Join(one(p, o), one(p, o)) }},
		{name: "mutant: writes into what it has published", mutant: true, stops: true, config: small(oldest, all), size: 1000, count: 1,
			publishes: func(p *pubsub.Publisher, o *operation) error {
				l, err := p.Loan(background, o.size)
				if err != nil {
					return err
				}
				b := l.Bytes()
				copy(b, ready[0])
				err = l.Publish(background, o.size)
				b[500]++
				return err
			}},
		{name: "mutant: releases what it goes on reading", mutant: true, stops: true, policy: oldest, offered: large + 2,
			receives: func(k *kept) error {
				// The last one that was received is kept a little longer.
				if err := errors.Join(k.borrow(), k.borrow()); err != nil || len(k.borrowed) == 0 {
					return err
				}
				released := k.borrowed[0]
				released.Release()
				return nil
			}},

		{name: "publish: in a slot", quiet: true, config: small(oldest, all), before: 2, size: 40, count: 1, publishes: one},
		{name: "publish: in a slot, one is asleep", config: small(oldest, all), before: 2, size: 40, count: 1, asleep: true, publishes: one},
		{name: "publish: in the arena", quiet: true, config: small(oldest, all), before: 2, size: 1000, count: 1, publishes: one},
		{name: "publish: a batch", quiet: true, config: small(oldest, all), before: 2, size: 40, count: 3, publishes: batch},
		{name: "publish: a loan", quiet: true, config: small(oldest, all), before: 2, size: 1000, count: 1, publishes: lend},
		{name: "publish: a loan, discarded", quiet: true, config: small(oldest, all), before: 2, size: 1000,
			publishes: func(p *pubsub.Publisher, o *operation) error {
				l, err := p.Loan(background, o.size)
				l.Discard()
				return err
			}},
		{name: "publish: where the ring comes round, all read", quiet: true, config: small(oldest, all), before: 16, size: 40, count: 1, publishes: one},
		{name: "publish: where the ring comes round, nothing read", quiet: true, loses: true, config: small(oldest, all),
			before: 16, unread: 16, size: 40, count: 1, publishes: one},
		{name: "publish: where the arena comes round, all read", quiet: true, config: small(oldest, all), before: 4, size: 1000, count: 1, publishes: one},
		{name: "publish: where the arena comes round, nothing read", quiet: true, loses: true, config: small(oldest, all),
			before: 4, unread: 4, size: 1000, count: 1, publishes: one},
		{name: "publish: a loan of all of the arena, nothing read", quiet: true, loses: true, config: small(oldest, all),
			before: 4, unread: 4, size: 1000, publishes: func(p *pubsub.Publisher, o *operation) error {
				l, err := p.Loan(background, 4096)
				l.Discard()
				return err
			}},
		// It makes memory, and asks /proc how much there may be: 200,000 instructions. At all of
		// its stores and system calls prove-joins has it.
		{name: "publish: where the arena grows", every: 100, config: small(oldest, 1<<16), before: 4, unread: 4, size: 1000, count: 1, publishes: one},
		{name: "publish: under Block", quiet: true, config: small(pubsub.Block, all), before: 16, size: 40, count: 1, publishes: one},
		{name: "publish: under Block, asleep", config: small(pubsub.Block, all), before: 16, unread: 16, size: 40, count: 1, publishes: one},
		{name: "publish: under Block, asleep for the arena", config: small(pubsub.Block, all), before: 4, unread: 4, size: 1000, count: 1, publishes: one},

		{name: "receive: from a slot", quiet: true, policy: oldest, offered: 1, receives: receive},
		{name: "receive: two of a ring of 16", quiet: true, policy: oldest, offered: 2, receives: twice},
		{name: "receive: asleep", policy: oldest, waits: true, prepares: warm, receives: receive},
		{name: "receive: under Block, the writer is asleep", policy: pubsub.Block, offered: 16, receives: twice},
		{name: "receive: from the arena", quiet: true, policy: oldest, offered: large + 1, receives: receive},
		{name: "receive: a batch", quiet: true, policy: oldest, offered: batched + 3,
			receives: func(k *kept) error { return errors.Join(k.receive(), k.receive(), k.receive()) }},
		{name: "receive: what was lost", quiet: true, policy: oldest, offered: 40, receives: func(k *kept) error {
			if err := k.receive(); err != nil || k.lagged == nil {
				return fmt.Errorf("%v, lagged %v; want to be told of a loss", err, k.lagged)
			}
			return k.receive()
		}},
		{name: "receive: nothing", quiet: true, policy: oldest, receives: func(k *kept) error {
			m, err := k.s.TryReceive()
			if err == pubsub.ErrEmpty {
				return nil
			}
			_, err = k.count(m, err)
			return err
		}},
		{name: "borrow: one of the arena", quiet: true, policy: oldest, offered: large + 1, receives: (*kept).borrow},
		{name: "borrow: one of a batch", quiet: true, policy: oldest, offered: batched + 3, receives: (*kept).borrow},
		{name: "borrow and release", quiet: true, policy: oldest, offered: large + 2, receives: func(k *kept) error {
			err := errors.Join(k.borrow(), k.borrow())
			if len(k.borrowed) > 0 {
				k.borrowed[0].Release()
			}
			return err
		}},
	}
}

// primers is how many messages, or batches, a subscriber that is a victim receives before
// its first mark: the last ones that were published before; primed, how many messages.
const primers, primed = 2, 4

// What offered may say besides how many messages: that they are in the arena, or a batch.
const (
	large   = 1000
	batched = 2000
)

// warm has the victim sleep once, so that what a process begins with its first sleep has
// begun.
func warm(s *pubsub.Subscriber) error {
	ctx, cancel := context.WithTimeout(background, 5*time.Millisecond)
	defer cancel()
	if _, err := s.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// beVictim is the victim process.
func beVictim(folder, name string) error {
	for _, o := range operations() {
		if o.name != name {
			continue
		}
		d, err := topic.Open(folder)
		if err != nil {
			return err
		}
		if o.config != nil {
			err = o.publish(d)
		} else {
			err = o.subscribe(d)
		}
		return errors.Join(err, d.Close())
	}
	return fmt.Errorf("no operation is called %q", name)
}

// publish is a victim that publishes.
func (o *operation) publish(d *memlane.Domain) error {
	p, err := pubsub.Publish(d, topicName, o.config)
	if err != nil {
		return err
	}
	if err := p.WaitSubscribers(background, 2); err != nil {
		return err
	}
	for i := range uint64(o.before) {
		if err := p.Publish(background, topic.Message(victims, i, o.size)); err != nil {
			return err
		}
	}
	for i := range max(o.count, 1) {
		ready = append(ready, topic.Message(victims, uint64(o.before+i), o.size))
	}
	step.Begin()
	err = o.publishes(p, o)
	step.End()
	return errors.Join(err, p.Close())
}

// subscribe is a victim that subscribes.
func (o *operation) subscribe(d *memlane.Domain) error {
	s, err := pubsub.Subscribe(d, topicName, &pubsub.SubscriberConfig{History: primers})
	if err != nil {
		return err
	}
	// What is allocated with the first messages of a size is allocated before the mark.
	k := &kept{s: s, copies: make([][]byte, 0, 8), borrowed: make([]pubsub.Borrowed, 0, 8)}
	for range primed {
		m, err := s.Receive(background)
		if err != nil {
			return err
		}
		k.next = m.Sequence + 1
	}
	if o.prepares != nil {
		if err := o.prepares(s); err != nil {
			return err
		}
	}
	step.Begin()
	err = o.receives(k)
	step.End()
	if err != nil {
		return err
	}
	return errors.Join(k.check(), s.Close())
}

// check looks at what was received: it must be whole.
func (k *kept) check() error {
	if k.err != nil {
		return k.err
	}
	// A copy is good until the next one; the last is.
	if n := len(k.copies); n > 0 {
		if err := is(k.copies[n-1], k.copied); err != nil {
			return fmt.Errorf("what was received: %w", err)
		}
	}
	for i := range k.borrowed {
		if k.borrowed[i].Data == nil {
			continue // it was released
		}
		if err := is(k.borrowed[i].Data, k.borrowed[i].Sequence); err != nil {
			return fmt.Errorf("what was borrowed: %w", err)
		}
	}
	return nil
}

// is says what a message is, if it is not the one of that number, whole.
func is(b []byte, number uint64) error {
	who, got, err := topic.Read(b)
	if err == nil && (who != conductors || got != number) {
		err = fmt.Errorf("message %d of %d; want %d", got, who, number)
	}
	return err
}
