package live

import (
	"time"

	"github.com/memlane/memlane/inspect"
)

// Counts are what the publishers and subscriptions of a topic have counted up to some moment.
type Counts struct {
	At        time.Time
	published map[uint64]Tally    // by publisher
	received  map[[2]uint64]Tally // by publisher and subscriber
	complete  bool                // all have answered: who is here later is new
}

// Tally is what was counted.
type Tally struct{ Messages, Bytes, Lost uint64 }

// CountsOf returns what a snapshot says.
func CountsOf(s *inspect.Snapshot) Counts {
	c := Counts{s.At, map[uint64]Tally{}, map[[2]uint64]Tally{}, len(s.Silent) == 0}
	for _, p := range s.Publishers {
		c.published[p.ID] = Tally{Messages: p.Published, Bytes: p.Bytes}
		for _, sub := range p.Subscriptions {
			c.received[[2]uint64{p.ID, sub.ID}] = Tally{Messages: sub.Received, Lost: sub.Lost}
		}
	}
	return c
}

// Since returns what was counted since an earlier moment, by those who are there: those who
// were not then have counted all since.
func (c Counts) Since(before Counts) (published, received Tally) {
	return since(c.published, before.published, before.complete), since(c.received, before.received, before.complete)
}

// ReceivedSince returns how many messages of a publisher a subscriber has received since an
// earlier moment.
func (c Counts) ReceivedSince(before Counts, publisher, subscriber uint64) uint64 {
	key := [2]uint64{publisher, subscriber}
	now, then := c.received[key], before.received[key]
	return now.Messages - min(now.Messages, then.Messages)
}

func since[K comparable](now, before map[K]Tally, complete bool) (sum Tally) {
	for id, n := range now {
		if b, known := before[id]; known || complete {
			sum.Messages += n.Messages - min(n.Messages, b.Messages)
			sum.Bytes += n.Bytes - min(n.Bytes, b.Bytes)
			sum.Lost += n.Lost - min(n.Lost, b.Lost)
		}
	}
	return sum
}
