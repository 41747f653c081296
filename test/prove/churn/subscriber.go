package main

import (
	"errors"
	"slices"

	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/rounds"
	"github.com/memlane/memlane/test/prove/topic"
)

// subscribing is a subscriber with its account.
type subscribing struct {
	*pubsub.Subscriber
	number uint64
	entry  *subscription
	of     map[uint64]*receipt // by publication
	by     map[uint64]*receipt // by the publisher's id
}

// subscribe begins to subscribe to a topic.
func (p *participant) subscribe() error {
	t := p.rnd.Uint64N(uint64(p.w.size.topics))
	if slices.ContainsFunc(p.subscriptions, func(s *subscribing) bool { return s.entry.topic.Load() == t }) {
		return nil
	}
	l := p.w.ledgers.subscriptions
	number := l.Header.last.Add(1)
	if number >= uint64(len(l.Entries)) {
		return errors.New("the ledger of subscriptions is full")
	}
	s := &subscribing{number: number, entry: &l.Entries[number], of: map[uint64]*receipt{}, by: map[uint64]*receipt{}}
	s.entry.topic.Store(t)
	s.entry.owner.Store(p.w.incarnation)
	s.entry.began.Store(p.w.clock())
	took, err := p.w.timed(func() (err error) {
		s.Subscriber, err = pubsub.Subscribe(p.domain, topicName(t), nil)
		return err
	})
	if err != nil {
		return rounds.Breaks(rounds.Unexpected, "subscribe: %v", err)
	}
	if took >= answerTime/2 {
		s.entry.slow.Store(1)
	}
	due := 0
	for number, at := range p.w.publicationsThere {
		if at.topic.Load() == t && at.ready.Load() != 0 && at.ended.Load() == 0 && due < dueMost {
			s.entry.due[due].begun.Store(at.begun.Load())
			s.entry.due[due].publication.Store(number)
			due++
		}
	}
	s.entry.ready.Store(p.w.clock())
	p.subscriptions = append(p.subscriptions, s)
	return nil
}

// unsubscribe ends one.
func (p *participant) unsubscribe(i int) error {
	s := p.subscriptions[i]
	p.subscriptions = slices.Delete(p.subscriptions, i, i+1)
	s.entry.ended.Store(1)
	if _, err := p.w.timed(s.Close); err != nil {
		return rounds.Breaks(rounds.Unexpected, "close a subscriber: %v", err)
	}
	return nil
}

// receive receives what there is in all topics, but not more than so many of each.
func (p *participant) receive(most int) error {
	for i := 0; i < len(p.subscriptions); i++ {
		s := p.subscriptions[i]
		for range most {
			m, err := s.TryReceive()
			if errors.Is(err, pubsub.ErrEmpty) {
				break
			}
			if err = p.enter(s, m, err); err != nil {
				return err
			}
		}
		// Who has met too many to enter them leaves.
		if len(s.by) > receiptsMost-publishesMost*8 && p.w.stage() == storm {
			return p.unsubscribe(i)
		}
	}
	return nil
}

// receiptOf returns the account of a publisher, by its id.
func (s *subscribing) receiptOf(id uint64) (*receipt, error) {
	if r := s.by[id]; r != nil {
		return r, nil
	}
	if len(s.by) == receiptsMost {
		return nil, errors.New("a subscription has met more publishers than its account has room for")
	}
	r := &s.entry.receipts[len(s.by)]
	r.id.Store(id)
	s.by[id] = r
	return r, nil
}

// enter enters what was received, or the error that came instead. Here it is only looked
// whether one message follows the other; the conductor judges the rest.
func (p *participant) enter(s *subscribing, m pubsub.Message, failed error) error {
	t := s.entry.topic.Load()
	var lagged *pubsub.LaggedError
	if errors.As(failed, &lagged) {
		r, err := s.receiptOf(lagged.Publisher)
		if err != nil {
			return err
		}
		if r.publication.Load() == 0 {
			// A publisher that came, and did not wait until we answered, because we were stopped or
			// slow, has published before the two met.
			r.before.Add(lagged.Lost)
		} else if policyOf(t) == pubsub.Block {
			return rounds.Breaks(lost, "subscription %d: %v, of a publisher that blocks", s.number, failed)
		} else {
			r.lost.Add(lagged.Lost)
			r.next.Add(lagged.Lost)
		}
		return nil
	}
	if errors.Is(failed, pubsub.ErrMissed) {
		return nil // who was not met in time: the conductor knows how long that took
	}
	if failed != nil {
		return rounds.Breaks(rounds.Unexpected, "receive: %v", failed)
	}
	publication, number, err := topic.Read(m.Data)
	if err != nil {
		return rounds.Breaks(torn, "subscription %d: %v", s.number, err)
	}
	if publication == 0 || publication >= uint64(len(p.w.publications.Entries)) {
		return rounds.Breaks(madeUp, "subscription %d: message %d of publication %d", s.number, number, publication)
	}
	if p.is(forgets, 200) {
		return nil
	}
	r, err := s.receiptOf(m.Publisher)
	if err != nil {
		return err
	}
	if r.publication.Load() == 0 {
		r.first.Store(number)
		r.next.Store(number)
		r.publication.Store(publication)
		s.of[publication] = r
	}
	switch next := r.next.Load(); {
	case r.publication.Load() != publication:
		return rounds.Breaks(madeUp, "subscription %d: publisher %016x was publication %d, and is %d", s.number, m.Publisher, r.publication.Load(), publication)
	case number > next:
		return rounds.Breaks(lost, "subscription %d: message %d of publication %d comes where %d should, %d having been lost", s.number, number, publication, next, r.lost.Load())
	case number < next:
		return rounds.Breaks(twice, "subscription %d: message %d of publication %d comes where %d should, %d having been lost", s.number, number, publication, next, r.lost.Load())
	}
	r.received.Add(1)
	r.next.Store(number + 1)
	return nil
}
