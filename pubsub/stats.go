package pubsub

import (
	"github.com/memlane/memlane/internal/ring"
)

// PublisherStats is what a publisher has done so far.
type PublisherStats struct {
	Published  uint64 // messages
	Bytes      uint64 // of those
	Blocked    uint64 // how often it had to wait for a subscriber
	Wakes      uint64 // how often it asked the kernel to wake subscribers
	Evicted    uint64 // subscribers that were let go because their words made no sense
	ArenaBytes uint64 // how large the arena has grown
}

// Stats returns what the publisher has done so far. It may be called at any time,
// until the publisher is closed.
func (p *Publisher) Stats() PublisherStats {
	v, err := ring.NewView(p.memory.Region())
	if err != nil {
		return PublisherStats{} // it is closed
	}
	l := v.Look()
	return PublisherStats{l.Sequence, l.Bytes, l.Blocked, l.Wakes, l.Evicted, l.ArenaBytes}
}

// SubscriberStats is what a subscriber has done so far, with all publishers, also those
// that have gone.
type SubscriberStats struct {
	Received uint64 // messages; some of the last ones may not be counted yet
	Lost     uint64 // messages that a publisher dropped before it came to them
}

// Stats returns what the subscriber has done so far. It may be called at any time.
func (s *Subscriber) Stats() SubscriberStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.past
	for _, src := range *s.sources.Load() {
		stats.add(src)
	}
	return stats
}

// add adds what the entry of a source counts. One that was closed was added before.
func (s *SubscriberStats) add(src *source) {
	if src.place == nil {
		return
	}
	look := src.entry.Look()
	s.Received += look.Received
	s.Lost += look.Lost
}

// Changes returns a channel that is closed when a publisher next comes or goes. A
// publisher that has gone counts as one until its last message has been received;
// so whoever wants to know whether all have gone looks twice whether there is a
// message, and then at Publishers.
func (s *Subscriber) Changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// PID returns the process of a publisher whose messages have that number, in this process's
// PID namespace; 0 if that is not known. It may be called at any time, and knows a publisher
// until the call after that for its last message.
func (s *Subscriber) PID(publisher uint64) int {
	for _, src := range *s.sources.Load() {
		if src.id == publisher {
			return src.remote.Peer().PID()
		}
	}
	return 0
}
