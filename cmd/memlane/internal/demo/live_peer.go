package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// What a peer does in part 4.

// join opens the domain.
func (p *process) join(o order, _ *report) (err error) {
	p.domain, err = memlane.Open(domainName, &memlane.Config{Folder: o.Path})
	return err
}

// advertise begins to publish a topic.
func (p *process) advertise(o order, _ *report) (err error) {
	c := pubsub.PublisherConfig{Slots: o.Count}
	if o.Block {
		c.Policy = pubsub.Block
	}
	p.publisher, err = pubsub.Publish(p.domain, o.Path, &c)
	return err
}

// subscribe subscribes to a topic.
func (p *process) subscribe(o order, _ *report) (err error) {
	if p.subscriber != nil {
		if err := p.subscriber.Close(); err != nil {
			return err
		}
	}
	p.subscriber, err = pubsub.Subscribe(p.domain, o.Path, nil)
	return err
}

// await waits until all have subscribed.
func (p *process) await(o order, _ *report) error {
	return p.publisher.WaitSubscribers(context.Background(), o.Count)
}

// silence ends the topic.
func (p *process) silence(order, *report) error { return p.publisher.Close() }

// A message of part 4 is its number, and a word that follows from it. The last one
// has the number of messages before it, and endMark.
const (
	tickBytes = 16
	tickMark  = 0x9e3779b97f4a7c15
	endMark   = 1
)

func tick(b []byte, n uint64, end bool) {
	mark := n * tickMark &^ endMark
	if end {
		mark |= endMark
	}
	binary.LittleEndian.PutUint64(b, n)
	binary.LittleEndian.PutUint64(b[8:], mark)
}

// readTick returns what a message says.
func readTick(b []byte) (n uint64, end bool, err error) {
	if len(b) != tickBytes {
		return 0, false, fmt.Errorf("a message of %d bytes", len(b))
	}
	n = binary.LittleEndian.Uint64(b)
	mark := binary.LittleEndian.Uint64(b[8:])
	if mark&^endMark != n*tickMark&^endMark {
		return 0, false, fmt.Errorf("message %d is torn: %x", n, b)
	}
	return n, mark&endMark != 0, nil
}

// hold is a time in which a publisher did not get on, in ns since 1970.
type hold struct{ From, To int64 }

// holdLeast is what counts as one, and holdsMost how many are reported.
const (
	holdLeast = 500 * time.Microsecond
	holdsMost = 1000
)

// publish publishes for a time, in which holds are not counted. With a pace it rests
// after so many.
func (p *process) publish(o order, r *report) error {
	ctx := context.Background()
	var b [tickBytes]byte
	var held time.Duration
	begun := time.Now()
	before := begun
	for n := uint64(0); ; n++ {
		end := n%64 == 63 && before.Sub(begun)-held > o.For
		tick(b[:], n, end)
		if err := p.publisher.Publish(ctx, b[:]); err != nil {
			return err
		}
		r.Messages++
		// Looking at the clock is as much work as publishing: every few messages.
		if end || n%16 == 15 {
			now := time.Now()
			if took := now.Sub(before); took >= holdLeast && o.Pace == 0 {
				held += took
				if len(r.Holds) < holdsMost {
					r.Holds = append(r.Holds, hold{before.UnixNano(), now.UnixNano()})
				}
			}
			before = now
		}
		if end {
			r.Took = before.Sub(begun) - held
			return nil
		}
		if o.Pace > 0 && n%uint64(o.Pace) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// read receives to the end, or so many messages, and checks that nothing is missing but
// what it is told. With a pace it rests after so many.
func (p *process) read(o order, r *report) error {
	ctx := context.Background()
	next := uint64(0)
	for {
		m, err := p.subscriber.Receive(ctx)
		var lagged *pubsub.LaggedError
		if errors.As(err, &lagged) {
			next += lagged.Lost
			r.Lost += int64(lagged.Lost)
			continue
		}
		if err != nil {
			return err
		}
		n, end, err := readTick(m.Data)
		switch {
		case err != nil:
			return err
		case n != next || m.Sequence != n:
			return fmt.Errorf("message %d, of sequence %d, comes where %d is next", n, m.Sequence, next)
		}
		next++
		r.Messages++
		if end || r.Messages == o.Bytes {
			return nil
		}
		if o.Pace > 0 && r.Messages%int64(o.Pace) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}
