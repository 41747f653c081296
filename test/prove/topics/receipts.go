package main

import (
	"errors"
	"time"

	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/rounds"
)

// receipts are what a subscriber has received, by the publishers' incarnations.
type receipts struct {
	w    *worker
	from map[uint64]*receipt
	lost map[uint64]uint64 // by the publishers' ids: messages that were lost before the next
	due  map[uint64]uint64 // how many messages those had begun who were there before
}

// receipt is what was received of one publisher: all messages before next, from the
// first one on, but for those that were said to be lost.
type receipt struct {
	next uint64
	id   uint64 // the publisher's
}

// subscribe is a subscriber.
func (w *worker) subscribe() (err error) {
	var s *pubsub.Subscriber
	err = w.begin(func() error {
		s, err = pubsub.Subscribe(w.domain, topicName, nil)
		return err
	})
	if err != nil {
		return err
	}
	r := &receipts{w: w, from: map[uint64]*receipt{}, lost: map[uint64]uint64{}, due: w.begunBefore()}
	if err := rounds.Announce(w.incarnation); err != nil {
		return err
	}
	var late time.Time
	for w.stage() < leave {
		if w.stage() < drain {
			late = time.Now().Add(w.patience)
			w.entry.done.Store(w.stage())
		} else if missing := r.missing(); missing == nil {
			w.entry.done.Store(drain)
		} else if time.Now().After(late) {
			return missing
		}
		if err := r.some(s); err != nil {
			return err
		}
		w.entry.steps.Add(1)
		if w.rnd.IntN(2000) == 0 {
			time.Sleep(time.Duration(w.rnd.IntN(3000)) * time.Microsecond) // and is a ring behind
		}
	}
	return s.Close()
}

// begunBefore returns how many messages those have begun to publish who were there when
// this subscriber began: what comes after that it must get. There is nobody if it took
// so long that they may not have answered.
func (w *worker) begunBefore() map[uint64]uint64 {
	due := map[uint64]uint64{}
	if w.entry.slow.Load() != 0 {
		return due
	}
	for i := range w.ledger.Entries {
		e := &w.ledger.Entries[i]
		if ready := e.ready.Load(); ready != 0 && ready < w.entry.began.Load() {
			due[uint64(i)] = e.begun.Load()
		}
	}
	return due
}

// some receives a message, in one way or the other, or a few.
func (r *receipts) some(s *pubsub.Subscriber) error {
	switch r.w.rnd.IntN(8) {
	case 0:
		var broken error
		_, err := s.ReceiveBatch(contextOf(time.Millisecond), func(m pubsub.Message) bool {
			broken = r.enter(m)
			return broken == nil && r.w.rnd.IntN(20) != 0
		})
		if broken != nil {
			return broken
		}
		return r.failed(err)
	case 1:
		b, err := s.Borrow(contextOf(time.Millisecond))
		if err != nil {
			return r.failed(err)
		}
		defer b.Release()
		return r.enter(b.Message)
	case 2, 3:
		m, err := s.TryReceive()
		if err != nil {
			return r.failed(err)
		}
		return r.enter(m)
	}
	m, err := s.Receive(contextOf(5 * time.Millisecond))
	if err != nil {
		return r.failed(err)
	}
	return r.enter(m)
}

// failed enters what was returned instead of a message; nil if that is as it should be.
func (r *receipts) failed(err error) error {
	var lagged *pubsub.LaggedError
	switch {
	case err == nil, errors.Is(err, errOver), errors.Is(err, pubsub.ErrEmpty), errors.Is(err, pubsub.ErrMissed):
		return nil
	case errors.As(err, &lagged):
		// Before the first message: the publisher came, and did not wait until we answered,
		// because we were stopped or slow.
		if r.w.policy == pubsub.Block && r.met(lagged.Publisher) {
			return rounds.Breaks(lost, "%v, of a publisher that blocks", err)
		}
		if lagged.Lost == 0 {
			return rounds.Breaks(miscounted, "%v", err)
		}
		r.lost[lagged.Publisher] += lagged.Lost
		r.w.entry.lost.Add(lagged.Lost)
		return nil
	}
	return rounds.Breaks(rounds.Unexpected, "receive: %v", err)
}

// met says whether a message of a publisher has come.
func (r *receipts) met(id uint64) bool {
	for _, from := range r.from {
		if from.id == id {
			return true
		}
	}
	return false
}

// enter compares a message with what may come.
func (r *receipts) enter(m pubsub.Message) error {
	publisher, number, err := read(m.Data)
	if err != nil {
		return rounds.Breaks(torn, "%v", err)
	}
	if publisher >= uint64(len(r.w.ledger.Entries)) || number >= r.w.ledger.Entries[publisher].begun.Load() {
		return rounds.Breaks(madeUp, "message %d of publisher %d", number, publisher)
	}
	if r.w.is(forgets, 500) {
		return nil
	}
	r.w.entry.received.Add(1)
	skipped := r.lost[m.Publisher]
	delete(r.lost, m.Publisher)
	from := r.from[publisher]
	if from == nil {
		r.from[publisher] = &receipt{number + 1, m.Publisher}
		if r.joinedBefore(publisher) && number != skipped {
			return rounds.Breaks(lost, "publisher %d began after us, and the first message we get of it is %d, %d having been lost", publisher, number, skipped)
		}
		if begun, wasThere := r.due[publisher]; wasThere && number > begun+skipped {
			return rounds.Breaks(lost, "publisher %d had begun %d messages when we came, and the first we get of it is %d, %d having been lost", publisher, begun, number, skipped)
		}
		return nil
	}
	want := from.next + skipped
	from.next = number + 1
	switch {
	case number > want:
		return rounds.Breaks(lost, "message %d of publisher %d comes after %d, %d having been lost", number, publisher, want-skipped, skipped)
	case number < want && skipped > 0:
		return rounds.Breaks(miscounted, "message %d of publisher %d comes after %d, %d having been lost", number, publisher, want-skipped, skipped)
	case number < want:
		return rounds.Breaks(twice, "message %d of publisher %d comes after %d", number, publisher, want-1)
	}
	return nil
}

// untold returns how many messages are said to be lost of publishers of whom nothing has
// come.
func (r *receipts) untold() (n uint64) {
	known := map[uint64]bool{}
	for _, from := range r.from {
		known[from.id] = true
	}
	for id, lost := range r.lost {
		if !known[id] {
			n += lost
		}
	}
	return n
}

// joinedBefore says whether this subscriber was there when a publisher began, and both
// have heard of each other: everything of it is to be received.
func (r *receipts) joinedBefore(publisher uint64) bool {
	e := &r.w.ledger.Entries[publisher]
	return e.began.Load() > r.w.entry.ready.Load() && e.slow.Load() == 0
}

// missing says what is still to be received; nil if nothing is.
func (r *receipts) missing() error {
	for i := range r.w.ledger.Entries {
		e, publisher := &r.w.ledger.Entries[i], uint64(i)
		published := e.published.Load()
		from := r.from[publisher]
		begun, wasThere := r.due[publisher]
		switch {
		case from != nil:
			// What was lost behind the last message is told when the publisher has ended.
			if next := from.next + r.lost[from.id]; next < published {
				return rounds.Breaks(lost, "publisher %d has published %d, and we are at %d", publisher, published, next)
			} else if begun := e.begun.Load(); next > begun {
				return rounds.Breaks(miscounted, "publisher %d has begun %d, and we are at %d, %d having been lost", publisher, begun, next, r.lost[from.id])
			}
		case published == 0 || r.untold() >= published:
			// All that it has published was lost: nothing tells whose loss that was.
		case r.joinedBefore(publisher), wasThere && published > begun:
			return rounds.Breaks(lost, "publisher %d has published %d, of which nothing came", publisher, published)
		}
	}
	return nil
}
