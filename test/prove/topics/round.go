package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/rounds"
)

const (
	maxLife  = 8 * time.Millisecond  // of a worker after it has begun to work
	maxStart = 4 * time.Millisecond  // of one that is killed before
	maxStop  = 20 * time.Millisecond // of a stop
	maxRest  = 2 * time.Millisecond  // of a worker after it was stopped

	// publishers and subscribers are how many there are of each at a time. The first of
	// each is not killed.
	publishers, subscribers = 3, 3
)

// A round is one topic's life: processes use it and are killed, until there were so
// many kills; then those who live receive what there is, and leave.
type round struct {
	rounds.Order
	policy pubsub.Policy

	ledger *ledger
	places []*place
	todo   atomic.Int64  // kills
	last   atomic.Uint64 // incarnation

	// What came of it.
	killed, stops atomic.Int64
}

// newRound makes what the workers need.
func newRound(o rounds.Order) (r *round, err error) {
	r = &round{Order: o, policy: pubsub.DropOldest}
	if o.Seed%2 == 0 || o.Mutant != "" {
		r.policy = pubsub.Block
	}
	r.todo.Store(int64(o.Kills))
	if err := os.Mkdir(r.Folder, 0o700); err != nil {
		return nil, err
	}
	if r.ledger, err = rounds.Create[header, entry](r.Folder, 2+o.Kills+publishers+subscribers); err != nil {
		return nil, errors.Join(err, r.Discard())
	}
	for i := range publishers + subscribers {
		role := "publisher"
		if i >= publishers {
			role = "subscriber"
		}
		s, err := rounds.NewPlace(r.Folder, i, said)
		if err != nil {
			return nil, errors.Join(err, r.Discard())
		}
		r.places = append(r.places, &place{Place: s, index: i, role: role, veteran: i == 0 || i == publishers})
	}
	return r, nil
}

// Discard ends all workers and removes everything.
func (r *round) Discard() error {
	for _, s := range r.places {
		if p := s.running(); p != nil {
			p.Kill()
			<-p.Ended
		}
		s.Close()
	}
	var err error
	if r.ledger != nil {
		err = r.ledger.Close()
	}
	return errors.Join(err, os.RemoveAll(r.Folder))
}

func (r *round) String() string { return fmt.Sprintf("round of seed %d, %s", r.Seed, r.policy) }

// Run runs the round. The error is a *rounds.Broken, or what else went wrong.
func (r *round) Run(ctx context.Context) error {
	return rounds.Storm(ctx, r.places, r.storm, r.finish, r.watch())
}

// finish has everybody do what is left, stage after stage.
func (r *round) finish(ctx context.Context) error {
	for stage := uint64(hush); stage < stages && context.Cause(ctx) == nil; stage++ {
		if err := r.enter(ctx, stage); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return r.empty()
}

// storm starts workers in the place and kills them, until the round has had its kills.
// It leaves one that lives; a veteran from the beginning.
func (r *round) storm(ctx context.Context, s *place) error {
	rnd := rand.New(rand.NewPCG(r.Seed, 1<<32+uint64(s.index)))
	upTo := func(d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
	for ctx.Err() == nil {
		p, err := s.start(r)
		if err != nil {
			return err
		}
		if s.veteran || r.todo.Add(-1) < 0 {
			p.Await(ctx)
			return nil
		}
		if rnd.IntN(8) == 0 {
			p.Rest(upTo(maxStart)) // it may not have begun yet
		} else {
			p.Await(ctx)
			p.Rest(upTo(maxLife))
		}
		switch n := rnd.IntN(32); {
		case n < 8: // it is stopped for a while
			r.stop(p, upTo(maxStop))
			p.Rest(upTo(maxRest))
		case n < 10: // it is killed while it is stopped
			if p.Signal(syscall.SIGSTOP) == nil {
				r.stops.Add(1)
			}
			p.Rest(upTo(maxStop))
		case n < 13: // one that will go on is stopped for a while
			if q := r.places[rnd.IntN(2)*publishers].running(); q != nil {
				r.stop(q, upTo(maxStop))
			}
		}
		p.Kill()
		<-p.Ended
		if p.Killed() {
			r.killed.Add(1)
		}
		if err := p.verdict(); err != nil {
			return err
		}
	}
	return nil
}

// stop stops the worker for so long.
func (r *round) stop(p *process, d time.Duration) {
	if p.Stop(d) {
		r.stops.Add(1)
	}
}

// enter begins a stage, and waits until all workers have done what is theirs in it, which
// in the last is to end.
func (r *round) enter(ctx context.Context, stage uint64) error {
	r.ledger.Header.stage.Store(stage)
	for ; ; time.Sleep(time.Millisecond) {
		waiting := false
		for _, s := range r.places {
			p := s.running()
			select {
			case <-p.Ended:
				if err := p.verdict(); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			default:
				waiting = waiting || p.entry.done.Load() < stage
			}
		}
		if !waiting {
			return nil
		}
	}
}

// empty looks at what everybody has left behind: nobody who comes now finds anybody.
func (r *round) empty() (err error) {
	d, err := memlane.Open(domainName, &memlane.Config{Folder: r.Folder})
	if err != nil {
		return rounds.Breaks(rounds.Unexpected, "open the domain at the end: %v", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	s, err := pubsub.Subscribe(d, topicName, nil)
	if err != nil {
		return rounds.Breaks(rounds.Unexpected, "subscribe at the end: %v", err)
	}
	if n := s.Publishers(); n != 0 {
		return rounds.Breaks(leaked, "%d publishers at the end", n)
	}
	if err := s.Close(); err != nil {
		return rounds.Breaks(rounds.Unexpected, "close at the end: %v", err)
	}
	return nil
}

// watch returns what looks at all workers until the round is over: each must go on, which
// is to end calls. A worker that ends without an order has something to say.
func (r *round) watch() func() error {
	last := make([]rounds.Progress, len(r.places))
	return func() error {
		for i, s := range r.places {
			p := s.running()
			if p == nil {
				continue
			}
			select {
			case <-p.Ended:
				if err := p.verdict(); err != nil && !p.Ordered() {
					return err
				}
				continue
			default:
			}
			if last[i].Stands(p, p.entry.steps.Load()) > r.Patience {
				var all []stander
				for k, q := range last {
					p := r.places[k].running()
					if stands := time.Since(q.Since); q.Of == p && stands > r.Patience/2 {
						all = append(all, stander{p, stands})
					}
				}
				return r.stuck(all)
			}
		}
		return nil
	}
}

// A stander is a worker that does not go on.
type stander struct {
	*process
	stands time.Duration
}

// stuck describes workers that do not go on, with the stacks of their first goroutines.
func (r *round) stuck(all []stander) error {
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "%s %d does nothing for %v\n%s\n", s.role, s.Incarnation, s.stands, firstGoroutine(s.Stacks()))
	}
	return rounds.Breaks(rounds.Stuck, "%s", text.String())
}

// firstGoroutine returns the stack of the one that does a worker's work, of all that the
// Go runtime has written.
func firstGoroutine(text string) string {
	_, stack, found := strings.Cut(text, "\ngoroutine 1 ")
	if !found {
		return text
	}
	stack, _, _ = strings.Cut(stack, "\n\n")
	return "goroutine 1 " + stack
}
