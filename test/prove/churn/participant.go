package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/rounds"
	"github.com/memlane/memlane/test/prove/topic"
)

// A participant has opened the domain, and is in some topics. It is one goroutine.
type participant struct {
	w             *worker
	index         int
	rnd           *rand.Rand
	domain        *memlane.Domain
	publications  []*publishing
	subscriptions []*subscribing
}

// publishing is a publisher with its account.
type publishing struct {
	*pubsub.Publisher
	number uint64
	entry  *publication
	said   bool // its last message
}

// How many topics a participant publishes and subscribes to at most.
const publishesMost, subscribesMost = 3, 5

// topicName is the name of a topic, which blocks if its number is even.
func topicName(n uint64) string { return fmt.Sprintf("topic %d", n) }

func policyOf(n uint64) pubsub.Policy {
	if n%2 == 0 {
		return pubsub.Block
	}
	return pubsub.DropOldest
}

// is says whether the participant is that mutant, and shall behave as one now: once in
// n times.
func (p *participant) is(mutant string, n int) bool {
	return p.w.mutant == mutant && p.rnd.IntN(n) == 0
}

func (p *participant) done(stage uint64) { p.w.entry.participants[p.index].done.Store(stage) }

// open takes part.
func (p *participant) open() error {
	var err error
	if p.domain, err = memlane.Open(domainName, &memlane.Config{Folder: p.w.folder}); err != nil {
		return rounds.Breaks(rounds.Unexpected, "open: %v", err)
	}
	p.w.entry.opened.Add(1)
	return nil
}

// live is a participant's life: a storm of what comes by lot, and then the end.
func (p *participant) live() error {
	pace := time.Duration(p.w.size.processes*p.w.size.participants) * pacePerParticipant
	for p.w.stage() == storm {
		if p.is(stops, 50) {
			time.Sleep(time.Hour)
		}
		if err := p.act(); err != nil {
			return err
		}
		p.w.step(p.index)
		time.Sleep(time.Duration(p.rnd.Int64N(int64(pace))))
	}
	for _, part := range []struct {
		stage uint64
		work  func() (bool, error)
	}{{hush, func() (bool, error) { return true, nil }}, {gather, p.gathered}, {drain, p.drained}} {
		if err := p.until(part.stage, part.work); err != nil {
			return err
		}
	}
	return p.quit()
}

// until receives until the stage is over, and does its work: again and again, until it has
// nothing more to do.
func (p *participant) until(stage uint64, work func() (done bool, err error)) error {
	var late time.Time
	for done := false; p.w.stage() <= stage; p.w.step(p.index) {
		if err := p.receive(100); err != nil {
			return err
		}
		if p.w.stage() < stage || done {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if late.IsZero() {
			late = time.Now().Add(p.w.patience)
		}
		var err error
		if done, err = work(); done {
			p.done(stage)
		} else if b := (*rounds.Broken)(nil); !errors.As(err, &b) || time.Now().After(late) {
			return err // is broken only if it stays so
		}
	}
	return nil
}

// act does something, by lot.
func (p *participant) act() error {
	switch n := p.rnd.IntN(1000); {
	case n < 15 && len(p.publications) < publishesMost:
		return p.publish()
	case n < 40 && len(p.subscriptions) < subscribesMost:
		return p.subscribe()
	case n < 50 && len(p.publications) > 0:
		return p.unpublish(p.rnd.IntN(len(p.publications)))
	case n < 65 && len(p.subscriptions) > 0:
		return p.unsubscribe(p.rnd.IntN(len(p.subscriptions)))
	case n < 66:
		if err := p.quit(); err != nil {
			return err
		}
		_, err := p.w.timed(p.open)
		return err
	case n < 500 && len(p.publications) > 0:
		return p.send(p.publications[p.rnd.IntN(len(p.publications))])
	}
	return p.receive(100)
}

// quit leaves the domain: in order, or at once.
func (p *participant) quit() error {
	for _, at := range p.publications {
		at.entry.ended.Store(1)
	}
	for _, s := range p.subscriptions {
		s.entry.ended.Store(1)
	}
	p.publications, p.subscriptions = nil, nil
	if p.w.stage() > storm && p.w.mutant == stays && p.index == 0 {
		return nil
	}
	if _, err := p.w.timed(p.domain.Close); err != nil {
		return rounds.Breaks(rounds.Unexpected, "close the domain: %v", err)
	}
	p.w.entry.left.Add(1)
	return nil
}

// publish begins to publish a topic.
func (p *participant) publish() error {
	t := p.rnd.Uint64N(uint64(p.w.size.topics))
	if slices.ContainsFunc(p.publications, func(at *publishing) bool { return at.entry.topic.Load() == t }) {
		return nil
	}
	l := p.w.ledgers.publications
	number := l.Header.last.Add(1)
	if number >= uint64(len(l.Entries)) {
		return errors.New("the ledger of publications is full")
	}
	at := &publishing{number: number, entry: &l.Entries[number]}
	at.entry.topic.Store(t)
	at.entry.owner.Store(p.w.incarnation)
	at.entry.began.Store(p.w.clock())
	name := topicName(t)
	if p.is(misses, 4) {
		name = topicName((t + 2) % uint64(p.w.size.topics)) // of the same policy
	}
	took, err := p.w.timed(func() (err error) {
		at.Publisher, err = pubsub.Publish(p.domain, name, &pubsub.PublisherConfig{Policy: policyOf(t), Slots: 64, ArenaBytes: 16 << 10, ArenaLimit: 1 << 20})
		return err
	})
	if err != nil {
		return rounds.Breaks(rounds.Unexpected, "publish: %v", err)
	}
	if took >= answerTime/2 {
		at.entry.slow.Store(1)
	}
	at.entry.ready.Store(p.w.clock())
	p.publications = append(p.publications, at)
	return nil
}

// unpublish ends one.
func (p *participant) unpublish(i int) error {
	at := p.publications[i]
	p.publications = slices.Delete(p.publications, i, i+1)
	at.entry.ended.Store(1)
	if _, err := p.w.timed(at.Close); err != nil {
		return rounds.Breaks(rounds.Unexpected, "close a publisher: %v", err)
	}
	return nil
}

// send publishes some messages, if there is room.
func (p *participant) send(at *publishing) error {
	n := 1 + p.rnd.Uint64N(8)
	if p.rnd.IntN(32) == 0 {
		n = 100 // more than the ring has
	}
	for range n {
		if sent, err := p.sendOne(at); !sent || err != nil {
			return err
		}
	}
	return nil
}

// sendOne publishes a message, and says whether there was room.
func (p *participant) sendOne(at *publishing) (bool, error) {
	number := at.entry.published.Load()
	length := 16 + p.rnd.IntN(100)
	if p.rnd.IntN(64) == 0 {
		length = 5000 // which the arena grows for
	}
	b := topic.Message(at.number, number, length)
	if p.is(publishesTorn, 50) && length > 16 {
		b[length-1]++
	}
	at.entry.begun.Store(number + 1)
	var err error
	if !p.is(publishesNot, 100) {
		err = at.TryPublish(b)
	}
	if err == nil && p.is(publishesTwice, 100) {
		err = at.TryPublish(b)
	}
	switch {
	case errors.Is(err, pubsub.ErrFull):
		at.entry.begun.Store(number)
		return false, nil
	case err != nil:
		return false, rounds.Breaks(rounds.Unexpected, "publish a message: %v", err)
	}
	at.entry.published.Store(number + 1)
	return true, nil
}

// gathered says whether all publishers have all subscribers that live, and no others, and
// have published a last message.
func (p *participant) gathered() (bool, error) {
	for _, at := range p.publications {
		if at.said {
			continue
		}
		want := 0
		for _, s := range p.w.subscriptionsThere {
			if s.topic.Load() == at.entry.topic.Load() && p.w.listening(s) {
				want++
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := at.WaitSubscribers(ctx, want)
		cancel()
		if have := at.Subscribers(); err != nil || have != want {
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return false, rounds.Breaks(rounds.Unexpected, "wait for subscribers: %v", err)
			}
			return false, rounds.Breaks(apart, "publication %d of topic %d has %d subscribers of the %d that are there", at.number, at.entry.topic.Load(), have, want)
		}
		if at.said, err = p.sendOne(at); !at.said || err != nil {
			return false, orStuck(err, "publication %d of topic %d: no room for a last message", at.number, at.entry.topic.Load())
		}
	}
	return true, nil
}

// orStuck returns the error, or if there is none, that somebody is stuck.
func orStuck(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return rounds.Breaks(rounds.Stuck, format, args...)
}

// drained says whether everything has come that living publishers have published, and there
// are no others any more.
func (p *participant) drained() (bool, error) {
	for _, s := range p.subscriptions {
		want := 0
		for number, at := range p.w.publicationsThere {
			if at.topic.Load() != s.entry.topic.Load() || !p.w.living(at) {
				continue
			}
			want++
			r := s.of[number]
			if r == nil {
				return false, rounds.Breaks(lost, "subscription %d of topic %d has nothing of publication %d, which has published %d", s.number, s.entry.topic.Load(), number, at.published.Load())
			}
			if next := r.next.Load(); next != at.published.Load() {
				return false, rounds.Breaks(lost, "subscription %d of topic %d is at %d of publication %d, which has published %d", s.number, s.entry.topic.Load(), next, number, at.published.Load())
			}
		}
		if have := s.Publishers(); have != want {
			return false, rounds.Breaks(apart, "subscription %d of topic %d has %d publishers; %d are there", s.number, s.entry.topic.Load(), have, want)
		}
	}
	return true, nil
}
