package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/rounds"
)

const (
	domainName = "prove"
	topicName  = "numbers"

	// answerTime is how long Publish and Subscribe wait for an answer; who took half of
	// it may have waited in vain for somebody.
	answerTime = 100 * time.Millisecond
)

// A worker is a process that publishes or subscribes until it is killed, or told to
// leave.
type worker struct {
	incarnation uint64
	policy      pubsub.Policy
	mutant      string
	patience    time.Duration
	ledger      *ledger
	entry       *entry
	rnd         *rand.Rand
	domain      *memlane.Domain
}

// work is the worker process: args are the folder, its incarnation, its seed, the
// policy, the patience, and which mutant it is, "" if none.
func work(role string, args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("%s: %d arguments; want folder, incarnation, seed, policy, patience and mutant", role, len(args))
	}
	var numbers [4]uint64
	for i := range numbers {
		n, err := strconv.ParseUint(args[1+i], 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
		numbers[i] = n
	}
	w := &worker{incarnation: numbers[0], policy: pubsub.Policy(numbers[2]), patience: time.Duration(numbers[3]),
		mutant: args[5], rnd: rand.New(rand.NewPCG(numbers[1], numbers[0]))}
	var err error
	if w.ledger, err = rounds.Open[header, entry](args[0]); err != nil {
		return fmt.Errorf("%s: open the ledger: %w", role, err)
	}
	w.entry = &w.ledger.Entries[w.incarnation]
	if err := w.take(role, args[0]); err != nil {
		w.entry.Tell(err)
		return fmt.Errorf("%s %d: %w", role, w.incarnation, err)
	}
	return nil
}

// take takes part in the domain, in its role.
func (w *worker) take(role, folder string) (err error) {
	if w.domain, err = memlane.Open(domainName, &memlane.Config{Folder: folder}); err != nil {
		return err
	}
	if role == "publisher" {
		err = w.publish()
	} else {
		err = w.subscribe()
	}
	return errors.Join(err, w.domain.Close())
}

// begin does what begins to publish or to subscribe, and enters when.
func (w *worker) begin(what func() error) error {
	w.entry.began.Store(w.ledger.Header.clock.Add(1))
	begun := time.Now()
	if err := what(); err != nil {
		return err
	}
	if time.Since(begun) >= answerTime/2 {
		w.entry.slow.Store(1)
	}
	w.entry.ready.Store(w.ledger.Header.clock.Add(1))
	return nil
}

func (w *worker) stage() uint64 { return w.ledger.Header.stage.Load() }

// is says whether the worker is that mutant, and shall behave as one now: once in
// n times.
func (w *worker) is(mutant string, n int) bool { return w.mutant == mutant && w.rnd.IntN(n) == 0 }

// publish is a publisher.
func (w *worker) publish() (err error) {
	var p *pubsub.Publisher
	err = w.begin(func() error {
		p, err = pubsub.Publish(w.domain, topicName, &pubsub.PublisherConfig{Policy: w.policy, Slots: 64, ArenaLimit: 4 << 20})
		return err
	})
	if err != nil {
		return err
	}
	if err := rounds.Announce(w.incarnation); err != nil {
		return err
	}
	for w.stage() == storm {
		if err := w.some(p); err != nil {
			return rounds.Breaks(rounds.Unexpected, "publish: %v", err)
		}
		w.entry.steps.Add(1)
		if w.rnd.IntN(64) == 0 {
			time.Sleep(time.Duration(w.rnd.IntN(300)) * time.Microsecond) // so that subscribers sleep too
		}
	}
	for w.stage() < leave {
		w.entry.done.Store(w.stage())
		w.entry.steps.Add(1)
		time.Sleep(time.Millisecond)
	}
	return p.Close()
}

// some publishes a message, in one way or the other, or a few.
func (w *worker) some(p *pubsub.Publisher) error {
	next := w.entry.published.Load()
	message := func(number uint64) []byte {
		b := make([]byte, sizeOf(w.incarnation, number))
		fill(b, w.incarnation, number)
		if w.is(publishesTorn, 50) && len(b) > leastBytes {
			b[len(b)-1]++
		}
		return b
	}
	ctx := context.Background()
	n := uint64(1)
	var err error
	switch way := w.rnd.IntN(16); {
	case w.is(stops, 500):
		time.Sleep(time.Hour)
	case w.is(publishesNot, 200):
		w.entry.begun.Store(next + 1)
	case w.is(publishesSecret, 50):
		return p.Publish(ctx, message(next+1000))
	case w.is(publishesTwice, 50):
		w.entry.begun.Store(next + 1)
		err = errors.Join(p.Publish(ctx, message(next)), p.Publish(ctx, message(next)))
	case way < 9:
		w.entry.begun.Store(next + 1)
		err = p.Publish(ctx, message(next))
	case way < 12:
		n = 2 + w.rnd.Uint64N(7)
		batch := make([][]byte, n)
		for i := range batch {
			batch[i] = message(next + uint64(i))
		}
		w.entry.begun.Store(next + n)
		err = p.PublishBatch(ctx, batch)
	case way < 14:
		b := message(next)
		w.entry.begun.Store(next + 1)
		for err = p.TryPublish(b); errors.Is(err, pubsub.ErrFull); err = p.TryPublish(b) {
			w.entry.steps.Add(1)
		}
	default:
		var l pubsub.Loan
		if l, err = p.Loan(ctx, sizeOf(w.incarnation, next)); err != nil {
			return err
		}
		if w.rnd.IntN(8) == 0 {
			l.Discard()
			return nil
		}
		fill(l.Bytes(), w.incarnation, next)
		w.entry.begun.Store(next + 1)
		err = l.Publish(ctx, len(l.Bytes()))
	}
	if err == nil {
		w.entry.published.Store(next + n)
	}
	return err
}

// errOver ends a call that waits.
var errOver = errors.New("long enough")

// contextOf returns a context that ends after so long, with errOver.
func contextOf(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), d, errOver)
	context.AfterFunc(ctx, cancel)
	return ctx
}
