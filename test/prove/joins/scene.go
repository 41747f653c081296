package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/calls"
	"github.com/memlane/memlane/test/prove/topic"
)

// late is when an answer has come of a backstop, and not of a wake.
const late = 500 * time.Millisecond

// errStuck: somebody who could go on does not.
var errStuck = errors.New("stuck")

// judged is a failure of what is tested, and not of the test.
type judged struct{ error }

// judgment marks an error as one of what is tested; nil stays nil.
func judgment(err error) error {
	if err == nil {
		return nil
	}
	return judged{err}
}

// A scene is what surrounds victims, one after the other, and judges: a domain with a
// publisher and a subscriber of the topic, in which everybody is who comes.
type scene struct {
	folder string
	d      *memlane.Domain
	p      *pubsub.Publisher
	s      *pubsub.Subscriber

	published uint64            // by p
	next      map[uint64]uint64 // by who publishes: the number of the next message
	err       error             // what must not be, of what s has received
	numbers   uint64            // of victims and newcomers so far
	late      int               // answers that took longer than half a second
	kept      *pubsub.Borrowed  // of a mutant
}

// blocks is how many there are of the conductor's arena, of a KiB; what is borrowed, and
// kept, is of it.
const blocks = 16

func newScene(o *operation) (_ *scene, err error) {
	s := &scene{next: map[uint64]uint64{}, numbers: conductors}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.folder, err = topic.NewFolder(); err != nil {
		return nil, err
	}
	if s.d, err = topic.Open(s.folder); err != nil {
		return nil, err
	}
	s.p, err = pubsub.Publish(s.d, topicName, &pubsub.PublisherConfig{
		Policy: o.policy, Slots: 64, SlotBytes: 64, ArenaBytes: blocks << 10, ArenaLimit: blocks << 10})
	if err != nil {
		return nil, err
	}
	s.s, err = pubsub.Subscribe(s.d, topicName, nil)
	if err != nil {
		return nil, err
	}
	found := func() bool { return s.s.Publishers() == 1 && s.p.Subscribers() == 1 }
	return s, errors.Join(s.until("they have found each other", found), s.probe())
}

// close ends it, and removes its folder.
func (s *scene) close() {
	if s.kept != nil {
		s.kept.Release()
	}
	if s.d != nil {
		s.d.Close()
	}
	os.RemoveAll(s.folder)
}

// somebody returns a number for who comes next.
func (s *scene) somebody() uint64 {
	s.numbers++
	return s.numbers
}

// drain receives what there is.
func (s *scene) drain() error {
	for s.err == nil {
		m, err := s.s.TryReceive()
		if err == pubsub.ErrEmpty {
			break
		}
		var who, number uint64
		if err == nil {
			who, number, err = topic.Read(m.Data)
		}
		// The first ones of a victim it may have published when nobody was there.
		if next, known := s.next[who]; err == nil && number != next && (known || who == conductors) {
			err = fmt.Errorf("message %d of %d; want %d", number, who, s.next[who])
		}
		s.err = err
		s.next[who] = number + 1
	}
	return s.err
}

// until waits until a condition is met; an error says of what.
func (s *scene) until(what string, is func() bool) error {
	begun := time.Now()
	for {
		if err := s.drain(); err != nil {
			return err
		}
		met, took := is(), time.Since(begun)
		switch {
		case met && took > late:
			s.late++
			fallthrough
		case met:
			return nil
		case took > calls.Limit:
			return fmt.Errorf("%w: it is not so after %v that %s", errStuck, took.Round(time.Millisecond), what)
		case took > 100*time.Microsecond:
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// publish publishes a message of the conductor, which its subscriber receives.
func (s *scene) publish(size int) error {
	if err := s.p.TryPublish(topic.Message(conductors, s.published, size)); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	s.published++
	return s.has(conductors, s.published)
}

// has waits until the number of the next message of somebody is that.
func (s *scene) has(who, next uint64) error {
	return s.until(fmt.Sprintf("the next message of %d is %d", who, next), func() bool { return s.next[who] == next })
}

// probe has the conductor's own messages come.
func (s *scene) probe() error { return errors.Join(s.publish(40), s.publish(1000)) }

// newcomer has somebody come who publishes and subscribes, and leave again.
func (s *scene) newcomer() (err error) {
	d, err := topic.Open(filepath.Dir(s.d.Folder()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	begun := time.Now()
	sub, err := pubsub.Subscribe(d, topicName, nil)
	if err != nil {
		return err
	}
	p, err := pubsub.Publish(d, topicName, nil)
	if err != nil {
		return err
	}
	if time.Since(begun) > late {
		s.late++
	}
	me := s.somebody()
	// Its messages come to the conductor's subscriber, and all others to it.
	knows := func() bool { return sub.Publishers() >= 2 && p.Subscribers() >= 2 }
	if err := s.until("a newcomer finds everybody", knows); err != nil {
		return err
	}
	if err := p.TryPublish(topic.Message(me, 0, 40)); err != nil {
		return err
	}
	if err := errors.Join(s.has(me, 1), s.publish(40)); err != nil {
		return err
	}
	heard := map[uint64]bool{}
	return s.until("a newcomer receives its own message and the conductor's", func() bool {
		m, err := sub.TryReceive()
		if err != nil {
			return err != pubsub.ErrEmpty // said by has
		}
		who, _, _ := topic.Read(m.Data)
		heard[who] = true
		return heard[me] && heard[conductors]
	})
}

// keep has the conductor borrow a message and never release it.
func (s *scene) keep() {
	if s.kept != nil || s.p.TryPublish(topic.Message(conductors, s.published, 1000)) != nil {
		return
	}
	if b, err := s.s.TryBorrow(); err == nil {
		s.kept = &b
		s.published++
		s.next[conductors]++
	}
}

// frozen judges while a victim is stopped.
func (s *scene) frozen() error {
	if err := s.probe(); err != nil {
		return fmt.Errorf("while the victim is stopped: %w", err)
	}
	if err := s.newcomer(); err != nil {
		return fmt.Errorf("somebody comes while the victim is stopped: %w", err)
	}
	return nil
}

// after judges when the victims are gone.
func (s *scene) after(victims ...*running) error {
	for _, v := range victims {
		least := v.reports.published()
		all := func() bool { return s.next[v.number] >= least }
		if err := s.until(fmt.Sprintf("all %d have come that victim %d has acknowledged", least, v.number), all); err != nil {
			return err
		}
		defer delete(s.next, v.number)
		if err := s.until("only the conductor publishes", func() bool { return s.s.Publishers() == 1 }); err != nil {
			return err
		}
		if n := s.next[v.number]; least > 0 && n > least+1 || v.ended && n != least {
			return fmt.Errorf("%d messages have come of victim %d, who had acknowledged %d", n, v.number, least)
		}
	}
	if err := s.until("only the conductor subscribes", func() bool { return s.p.Subscribers() == 1 }); err != nil {
		return err
	}
	if err := s.probe(); err != nil {
		return fmt.Errorf("when all victims are gone: %w", err)
	}
	if err := s.nothingHeld(); err != nil {
		return err
	}
	return topic.Swept(s.d)
}

// nothingHeld wants all of the conductor's arena on loan.
func (s *scene) nothingHeld() error {
	var loans []pubsub.Loan
	defer func() {
		for _, l := range loans {
			l.Discard()
		}
	}()
	for i := range blocks {
		var l pubsub.Loan
		// Under Block a loan waits for the subscriber to say that it has read.
		err := s.until(fmt.Sprintf("block %d of %d can be had on loan, when all victims are gone", i+1, blocks), func() bool {
			ctx, cancel := context.WithTimeout(background, time.Millisecond)
			defer cancel()
			var err error
			l, err = s.p.Loan(ctx, 1000)
			return err == nil
		})
		if err != nil {
			return err
		}
		loans = append(loans, l)
	}
	return nil
}
