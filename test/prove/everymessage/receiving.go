package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
	"github.com/memlane/memlane/test/prove/topic"
)

// receiving is where victims receive: a publisher and another subscriber survive them.
type receiving struct {
	o      *operation
	folder string
	d      *memlane.Domain
	p      *pubsub.Publisher
	other  *subscriber
	rnd    *rand.Rand
	number uint64 // of the next message

	blocked chan error // of a message that waits for room; nil: there is none
}

// The ring of who publishes to victims. A block that is borrowed is an eighth of the
// arena at most.
const (
	slots  = 16
	blocks = 16 // of a KiB
)

func newReceiving(o *operation, rnd *rand.Rand) (_ *receiving, err error) {
	r := &receiving{o: o, rnd: rnd}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.folder, err = topic.NewFolder(); err != nil {
		return nil, err
	}
	if r.d, err = topic.Open(r.folder); err != nil {
		return nil, err
	}
	r.p, err = pubsub.Publish(r.d, topicName, &pubsub.PublisherConfig{
		Policy: o.policy, Slots: slots, SlotBytes: 64, ArenaBytes: blocks << 10, ArenaLimit: blocks << 10})
	if err != nil {
		return nil, err
	}
	r.other = &subscriber{}
	r.other.s, err = pubsub.Subscribe(r.d, topicName, nil)
	return r, err
}

// Close ends it.
func (r *receiving) Close() (late int) {
	if r.other != nil {
		late = r.other.late
	}
	if r.d != nil {
		r.d.Close()
	}
	os.RemoveAll(r.folder)
	return late
}

// publish publishes a message, which the other subscriber receives.
func (r *receiving) publish(size int) error {
	if err := r.p.TryPublish(topic.Message(conductors, r.number, size)); err != nil {
		return err
	}
	r.number++
	return r.other.has(conductors, r.number)
}

// publishBatch publishes a batch of three small ones.
func (r *receiving) publishBatch() error {
	var batch [][]byte
	for i := range uint64(3) {
		batch = append(batch, topic.Message(conductors, r.number+i, 40))
	}
	if err := r.p.TryPublishBatch(batch); err != nil {
		return err
	}
	r.number += 3
	return r.other.has(conductors, r.number)
}

// Begin starts a victim.
func (r *receiving) Begin() (*step.Victim, error) {
	if err := errors.Join(r.publish(1000), r.publishBatch()); err != nil {
		return nil, places.Judged(fmt.Errorf("before the victim: %w", err))
	}
	v, err := step.Start(victimName, r.folder, r.o.name)
	if err != nil {
		return nil, err
	}
	if err := r.offer(); err != nil {
		return nil, errors.Join(places.Judged(fmt.Errorf("before what the victim does: %w", err)), v.Kill())
	}
	return v, nil
}

// offer publishes what the victim is to receive.
func (r *receiving) offer() error {
	ctx, cancel := context.WithTimeout(background, limit)
	defer cancel()
	if err := r.p.WaitSubscribers(ctx, 2); err != nil {
		return err
	}
	if r.o.offered >= batched {
		return r.publishBatch()
	}
	n, size := r.o.offered, 40
	if n >= large {
		n, size = n-large, 1000
	}
	for range n {
		if err := r.publish(size); err != nil {
			return err
		}
	}
	if r.o.policy == pubsub.Block {
		return r.block()
	}
	return nil
}

// block has somebody publish a message for which there is no room, and returns when he
// sleeps.
func (r *receiving) block() error {
	r.blocked = make(chan error, 1)
	thread := make(chan int)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- syscall.Gettid()
		r.blocked <- r.p.Publish(background, topic.Message(conductors, r.number, 40))
	}()
	return asleep(<-thread)
}

// unblocked waits until that message has been published.
func (r *receiving) unblocked() error {
	if r.blocked == nil {
		return nil
	}
	select {
	case err := <-r.blocked:
		r.blocked = nil
		if err != nil {
			return err
		}
	case <-time.After(limit):
		return fmt.Errorf("the publisher waits for who is gone: %w", places.ErrStuck)
	}
	r.number++
	return r.other.has(conductors, r.number)
}

// Stage: what a subscriber does is seen by nobody.
func (r *receiving) Stage() string { return r.o.places().Stages[0] }

// Awaken publishes a message, for which the victim waits.
func (r *receiving) Awaken() error { return r.publish(40) }

// Aside: nobody is faster than a victim.
func (r *receiving) Aside() error { return nil }

// Frozen judges while the victim is stopped.
func (r *receiving) Frozen(string) error {
	if r.o.policy == pubsub.Block {
		// One waits already for room, which there is if the victim has said that it has read.
		return r.other.until("nothing is wrong", func() bool { return true })
	}
	for range 3 * slots {
		if err := errors.Join(r.publish(40), r.publish(1000)); err != nil {
			return err
		}
	}
	return nil
}

// Resumed has a victim that has not slept yet, and is about to, go on.
func (r *receiving) Resumed(string) error {
	if r.o.waits {
		return r.Awaken()
	}
	return nil
}

// After judges when the victim is gone.
func (r *receiving) After(string, bool) error {
	if err := r.unblocked(); err != nil {
		return err
	}
	if err := r.other.until("one subscriber is left", func() bool { return r.p.Subscribers() == 1 }); err != nil {
		return err
	}
	for range 2 * slots {
		if err := errors.Join(r.publish(40), r.publish(1000)); err != nil {
			return fmt.Errorf("when the victim is gone: %w", err)
		}
	}
	// The other one has said that it has read all when it has looked in vain for a while.
	var loans []pubsub.Loan
	defer func() {
		for _, l := range loans {
			l.Discard()
		}
	}()
	for i := range blocks {
		l, err := r.p.Loan(background, 1000)
		if err != nil {
			return fmt.Errorf("loan %d of %d, when the victim is gone: %w", i+1, blocks, err)
		}
		loans = append(loans, l)
	}
	if r.rnd.IntN(16) != 0 {
		return nil
	}
	return topic.Swept(r.d)
}
