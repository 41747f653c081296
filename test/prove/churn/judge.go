package main

import (
	"github.com/memlane/memlane/test/prove/rounds"
)

// A judge compares what was received with what was published, when everything that there is
// has been received and before anybody leaves. It knows the ledgers alone.
type judge struct {
	*ledgers
	byTopic map[uint64][]uint64 // publications

	// What it has compared.
	receipts int // of a subscription from a publication
	joins    int // of those where it is known which message must be the first
	whole    int // of those where it is known which must be the last
}

// judge compares everything, and returns the first *rounds.Broken.
func (l *ledgers) judge() (*judge, error) {
	j := &judge{ledgers: l, byTopic: map[uint64][]uint64{}}
	for number, p := range l.publicationsThere {
		if p.ready.Load() != 0 {
			t := p.topic.Load()
			j.byTopic[t] = append(j.byTopic[t], number)
		}
	}
	for number, s := range l.subscriptionsThere {
		if s.ready.Load() == 0 || l.killed(s.owner.Load()) {
			continue // whoever was killed may have been about to enter something
		}
		if err := j.subscription(number, s); err != nil {
			return j, err
		}
	}
	return j, nil
}

// subscription judges one.
func (j *judge) subscription(number uint64, s *subscription) error {
	due := map[uint64]uint64{}
	for i := range s.due {
		if n := s.due[i].publication.Load(); n != 0 && s.slow.Load() == 0 && j.publications.Entries[n].ready.Load() < s.began.Load() {
			due[n] = s.due[i].begun.Load()
		}
	}
	of := map[uint64]*receipt{}
	untold := uint64(0) // lost of publications of which nothing has come
	for i := range s.receipts {
		r := &s.receipts[i]
		switch n := r.publication.Load(); {
		case r.id.Load() == 0:
		case n == 0:
			untold += r.before.Load()
		case of[n] != nil:
			return rounds.Breaks(twice, "subscription %d has two accounts of publication %d", number, n)
		default:
			of[n] = r
		}
	}
	for n, r := range of {
		if err := j.receipt(number, s, n, r, due); err != nil {
			return err
		}
	}
	if !j.listening(s) {
		return nil
	}
	for _, n := range j.byTopic[s.topic.Load()] {
		p := &j.publications.Entries[n]
		published := p.published.Load()
		begun, wasThere := due[n]
		switch r := of[n]; {
		case r != nil && r.next.Load() < published:
			return rounds.Breaks(lost, "subscription %d is at %d of publication %d, which has published %d", number, r.next.Load(), n, published)
		case r != nil:
			j.whole++
		case published == 0 || untold >= published:
			// All that it has published was lost: nothing tells whose loss that was.
		case j.living(p), j.joinedBefore(s, p), wasThere && published > begun:
			return rounds.Breaks(lost, "subscription %d has nothing of publication %d, which has published %d", number, n, published)
		}
	}
	return nil
}

// joinedBefore says whether a subscription was there when a publication began, and that has
// heard of it: it has to get everything.
func (j *judge) joinedBefore(s *subscription, p *publication) bool {
	return p.began.Load() > s.ready.Load() && p.slow.Load() == 0
}

// receipt judges what a subscription has received from one publication.
func (j *judge) receipt(number uint64, s *subscription, n uint64, r *receipt, due map[uint64]uint64) error {
	p := &j.publications.Entries[n]
	before, first, received, gone, next := r.before.Load(), r.first.Load(), r.received.Load(), r.lost.Load(), r.next.Load()
	j.receipts++
	switch {
	case p.topic.Load() != s.topic.Load():
		return rounds.Breaks(madeUp, "subscription %d, of topic %d, has messages of publication %d, of topic %d", number, s.topic.Load(), n, p.topic.Load())
	case next > p.begun.Load():
		return rounds.Breaks(miscounted, "subscription %d is at %d of publication %d, which has begun %d; %d are said to be lost", number, next, n, p.begun.Load(), gone)
	case first+received+gone != next:
		return rounds.Breaks(lost, "subscription %d is at %d of publication %d: the first was %d, %d came, %d are said to be lost", number, next, n, first, received, gone)
	case before > first:
		return rounds.Breaks(miscounted, "subscription %d has %d as the first message of publication %d, %d being said to be lost before", number, first, n, before)
	}
	begun, wasThere := due[n]
	switch {
	case j.joinedBefore(s, p):
		if first != before {
			return rounds.Breaks(lost, "publication %d began when subscription %d was there, which has %d as the first message, %d being said to be lost before", n, number, first, before)
		}
		j.joins++
	case wasThere:
		if first > begun+before {
			return rounds.Breaks(lost, "publication %d had begun %d messages when subscription %d was ready, which has %d as the first, %d being said to be lost before", n, begun, number, first, before)
		}
		j.joins++
	}
	return nil
}
