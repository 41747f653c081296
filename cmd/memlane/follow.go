package main

import (
	"context"
	"errors"

	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/shmsync"
)

// follower follows a topic, whose publishers come and go.
type follower struct {
	name     string
	s        *pubsub.Subscriber
	timeout  patience // for the next message
	ends     bool     // that is how it ends, and no error
	untilEnd bool     // it ends when all publishers have gone

	say     func(format string, args ...any)
	message func(pubsub.Message) error
	idle    func() error                // there is no further message at once
	lost    func(e *pubsub.LaggedError) // nil: it is said

	met   bool // a publisher has been there
	there bool // one has been there since it was said that there is none
}

// errDone ends all topics: nothing more is wanted.
var errDone = errors.New("done")

// errChanged: a publisher has come, or gone.
var errChanged = errors.New("publishers have changed")

// follow hands on the messages until there will be none any more, which is no error,
// or all topics are to end.
func (f *follower) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		changes := f.s.Changes()
		steady, cancel := context.WithCancelCause(ctx)
		go func() {
			select {
			case <-changes:
				cancel(errChanged)
			case <-steady.Done():
			}
		}()
		err := f.followThese(steady)
		cancel(nil)
		if !errors.Is(err, errChanged) {
			return err
		}
		f.met = true // even if it has gone again
	}
	return context.Cause(ctx)
}

// followThese is follow while no publisher comes or goes.
func (f *follower) followThese(ctx context.Context) error {
	f.there = f.there || f.s.Publishers() > 0
	// Once more, because only the second look is after a publisher's end.
	if err := f.drain(ctx); err != nil {
		return err
	}
	for {
		if err := f.drain(ctx); err != nil {
			return err
		}
		if f.s.Publishers() == 0 {
			if f.untilEnd && (f.met || f.there) {
				return nil
			}
			if f.there {
				f.there = false
				f.say("the last publisher of %q is gone; waiting for another", f.name)
			}
		}
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
}

// drain hands on what there is.
func (f *follower) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		m, err := f.s.TryReceive()
		if err == pubsub.ErrEmpty {
			return f.idle()
		}
		if err := f.take(ctx, m, err); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// wait waits for a message, and hands it on.
func (f *follower) wait(ctx context.Context) error {
	limit, stop := f.timeout.context(ctx)
	defer stop()
	m, err := f.s.Receive(limit)
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return err // and nothing else, which would have to be reported
	case errors.Is(err, shmsync.ErrBusy) && f.ends:
		return errDone
	}
	return f.take(ctx, m, err)
}

// take hands on a message, or says what is none; it returns what is the end: after other errors
// a subscriber goes on.
func (f *follower) take(ctx context.Context, m pubsub.Message, err error) error {
	var lagged *pubsub.LaggedError
	switch {
	case err == nil:
		f.there = true
		return f.message(m)
	case errors.As(err, &lagged):
		if f.lost == nil {
			f.sayLost(lagged)
		} else {
			f.lost(lagged)
		}
	case ctx.Err() != nil, errors.Is(err, pubsub.ErrClosed), errors.Is(err, shmsync.ErrBusy):
		return err
	default:
		f.say("%v", err)
	}
	return nil
}

func (f *follower) sayLost(e *pubsub.LaggedError) {
	f.say("lost %d messages of publisher %016x of %q: too slow", e.Lost, e.Publisher, f.name)
}
