package bench

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// participants are how many the subscribers of a fan-out are divided among.
const participants = 8

// fanGroup is of how many messages the time is told.
const fanGroup = 1024

// fanOut measures what publishing costs: side 0 publishes, and the subscribers of
// side 1 look for messages all the time.
func fanOut(t *task, _ io.Writer) (*count, error) {
	if t.Side == 1 {
		return nil, gather(t)
	}
	d, err := memlane.Open("bench", &memlane.Config{Folder: t.Folder})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	pub, err := pubsub.Publish(d, "news", nil)
	if err != nil {
		return nil, err
	}
	l := &lane{task: t, pub: pub, outs: messagesOf(t)}
	ctx, cancel := contextOf(patience)
	defer cancel()
	if err := pub.WaitSubscribers(ctx, t.Readers); err != nil {
		return nil, err
	}
	put := l.putEach
	if t.Batch > 1 {
		put = l.putBatches
	}
	c := &count{Groups: make([]uint32, 0, samplesMost)}
	group := 256 / len(l.outs) * len(l.outs) // messages
	if group == 0 {
		group = len(l.outs)
	}
	v := uint64(1)
	begun := time.Now()
	now := time.Duration(0)
	ends := t.Warm + t.Length
	for (now < ends || len(c.Groups) < groupsLeast) && len(c.Groups) < samplesMost {
		before := time.Since(begun)
		if err := put(v, group, false); err != nil {
			return nil, err
		}
		v += uint64(group)
		now = time.Since(begun)
		if v < warmMessages*uint64(t.Batch) {
			ends = now + t.Length
			continue
		}
		if before >= t.Warm {
			c.Groups = append(c.Groups, nanoseconds((now-before)*fanGroup/time.Duration(group)))
			c.Messages += uint64(group)
			c.Took += now - before
		}
	}
	if err := put(v, len(l.outs), true); err != nil {
		return nil, err
	}
	// The memory is there until all have seen the end.
	ended, err := pubsub.Subscribe(d, "end", nil)
	if err != nil {
		return nil, err
	}
	_, err = ended.Receive(ctx)
	return c, err
}

// warmMessages are so many that the ring has gone round, and the arena has grown.
const warmMessages = 4096

// gather is the subscribers.
func gather(t *task) error {
	var domains []*memlane.Domain
	for range min(participants, t.Readers) {
		d, err := memlane.Open("bench", &memlane.Config{Folder: t.Folder})
		if err != nil {
			return err
		}
		defer d.Close()
		domains = append(domains, d)
	}
	type reader struct {
		sub  *pubsub.Subscriber
		next uint64
		over bool
	}
	readers := make([]reader, t.Readers)
	for i := range readers {
		s, err := pubsub.Subscribe(domains[i%len(domains)], "news", nil)
		if err != nil {
			return err
		}
		readers[i] = reader{sub: s, next: 1}
	}
	var lagged *pubsub.LaggedError
	for left := len(readers); left > 0; {
		for i := range readers {
			r := &readers[i]
			if r.over {
				continue
			}
			m, err := r.sub.TryReceive()
			switch {
			case err == pubsub.ErrEmpty:
				continue
			case errors.As(err, &lagged):
				r.next += lagged.Lost
				continue
			case err != nil:
				return err
			}
			if r.over, err = check(m.Data, t.Size, r.next); err != nil {
				return fmt.Errorf("subscriber %d: %w", i, err)
			}
			r.next++
			if r.over {
				left--
			}
		}
	}
	end, err := pubsub.Publish(domains[0], "end", nil)
	if err != nil {
		return err
	}
	ctx, cancel := contextOf(patience)
	defer cancel()
	if err := end.WaitSubscribers(ctx, 1); err != nil {
		return err
	}
	if err := end.TryPublish([]byte("all")); err != nil {
		return err
	}
	time.Sleep(20 * time.Millisecond)
	return nil
}
