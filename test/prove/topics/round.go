package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

const (
	maxLife  = 8 * time.Millisecond  // of a worker after it has begun to work
	maxStart = 4 * time.Millisecond  // of one that is killed before
	maxStop  = 20 * time.Millisecond // of a stop
	maxRest  = 2 * time.Millisecond  // of a worker after it was stopped

	// publishers and subscribers are how many there are of each at a time. The first of
	// each is not killed.
	publishers, subscribers = 3, 3

	// watchEvery is how often it is looked whether everybody goes on.
	watchEvery = 50 * time.Millisecond
)

// A round is one topic's life: processes use it and are killed, until there were so
// many kills; then those who live receive what there is, and leave.
type round struct {
	folder   string
	seed     uint64
	mutant   string // what the workers do wrong, "" for nothing
	patience time.Duration
	policy   pubsub.Policy

	ledger *ledger
	places []*place
	todo   atomic.Int64  // kills
	last   atomic.Uint64 // incarnation

	// What came of it.
	killed, stops atomic.Int64
}

// newRound makes what the workers need, in a folder of its own below dir.
func newRound(dir string, seed uint64, kills int, mutant string, patience time.Duration) (r *round, err error) {
	r = &round{folder: filepath.Join(dir, fmt.Sprintf("round-%d", seed)), seed: seed, mutant: mutant, patience: patience, policy: pubsub.DropOldest}
	if seed%2 == 0 || mutant != "" {
		r.policy = pubsub.Block
	}
	r.todo.Store(int64(kills))
	if err := os.Mkdir(r.folder, 0o700); err != nil {
		return nil, err
	}
	if r.ledger, err = createLedger(r.folder, 2+kills+publishers+subscribers); err != nil {
		return nil, errors.Join(err, r.discard())
	}
	for i := range publishers + subscribers {
		role := "publisher"
		if i >= publishers {
			role = "subscriber"
		}
		s, err := newPlace(r.folder, i, role)
		if err != nil {
			return nil, errors.Join(err, r.discard())
		}
		s.veteran = i == 0 || i == publishers
		r.places = append(r.places, s)
	}
	return r, nil
}

// discard ends all workers and removes everything.
func (r *round) discard() error {
	for _, s := range r.places {
		if p := s.running(); p != nil {
			p.kill()
			<-p.ended
		}
		s.stderr.Close()
	}
	var err error
	if r.ledger != nil {
		err = r.ledger.Close()
	}
	return errors.Join(err, os.RemoveAll(r.folder))
}

// run runs the round, and adds what it has found to the sum. The error is a *broken, or
// what else went wrong.
func (r *round) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, watched := make(chan struct{}), make(chan error)
	go func() {
		err := r.watch(over)
		if err != nil {
			cancel(err)
		}
		watched <- err
	}()
	err = r.play(ctx, cancel)
	close(over)
	// What watch has seen comes before what came of it.
	if seen := <-watched; seen != nil {
		err = seen
	}
	return err
}

// play is the round's course.
func (r *round) play(ctx context.Context, cancel context.CancelCauseFunc) error {
	var storming sync.WaitGroup
	for _, s := range r.places {
		storming.Go(func() {
			if err := r.storm(ctx, s); err != nil {
				cancel(err) // the first error is the one that counts
			}
		})
	}
	storming.Wait()
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
	rnd := rand.New(rand.NewPCG(r.seed, 1<<32+uint64(s.index)))
	upTo := func(d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
	for ctx.Err() == nil {
		p, err := s.start(r)
		if err != nil {
			return err
		}
		if s.veteran || r.todo.Add(-1) < 0 {
			p.await(ctx)
			return nil
		}
		if rnd.IntN(8) == 0 {
			rest(p, upTo(maxStart)) // it may not have begun yet
		} else {
			p.await(ctx)
			rest(p, upTo(maxLife))
		}
		switch n := rnd.IntN(32); {
		case n < 8: // it is stopped for a while
			r.stop(p, upTo(maxStop))
			rest(p, upTo(maxRest))
		case n < 10: // it is killed while it is stopped
			if p.Signal(syscall.SIGSTOP) == nil {
				r.stops.Add(1)
			}
			rest(p, upTo(maxStop))
		case n < 13: // one that will go on is stopped for a while
			if q := r.places[rnd.IntN(2)*publishers].running(); q != nil {
				r.stop(q, upTo(maxStop))
			}
		}
		p.kill()
		<-p.ended
		if p.killed() {
			r.killed.Add(1)
		}
		if err := s.verdict(p); err != nil {
			return err
		}
	}
	return nil
}

// rest waits so long, or until the worker has ended.
func rest(p *process, d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ended:
	}
}

// stop stops the worker for so long.
func (r *round) stop(p *process, d time.Duration) {
	if p.Signal(syscall.SIGSTOP) != nil {
		return
	}
	r.stops.Add(1)
	rest(p, d)
	p.Signal(syscall.SIGCONT) // it may have been killed
}

// enter begins a stage, and waits until all workers have done what is theirs in it, which
// in the last is to end.
func (r *round) enter(ctx context.Context, stage uint64) error {
	r.ledger.header.stage.Store(stage)
	for ; ; time.Sleep(time.Millisecond) {
		waiting := false
		for _, s := range r.places {
			p := s.running()
			select {
			case <-p.ended:
				if err := s.verdict(p); err != nil {
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
	d, err := memlane.Open(domainName, &memlane.Config{Folder: r.folder})
	if err != nil {
		return breaks(unexpected, "open the domain at the end: %v", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	s, err := pubsub.Subscribe(d, topicName, nil)
	if err != nil {
		return breaks(unexpected, "subscribe at the end: %v", err)
	}
	if n := s.Publishers(); n != 0 {
		return breaks(leaked, "%d publishers at the end", n)
	}
	if err := s.Close(); err != nil {
		return breaks(unexpected, "close at the end: %v", err)
	}
	return nil
}

// watch looks at all workers until the round is over: each must go on, which is to end
// calls. A worker that ends without an order has something to say.
func (r *round) watch(over <-chan struct{}) error {
	type progress struct {
		of    *process
		steps uint64
		since time.Time
	}
	last := make([]progress, len(r.places))
	for {
		select {
		case <-over:
			return nil
		case <-time.After(watchEvery):
		}
		for i, s := range r.places {
			p := s.running()
			if p == nil {
				continue
			}
			select {
			case <-p.ended:
				if err := s.verdict(p); err != nil && !p.ordered.Load() {
					return err
				}
				continue
			default:
			}
			if steps := p.entry.steps.Load(); last[i].of != p || last[i].steps != steps {
				last[i] = progress{p, steps, time.Now()}
			} else if stands := time.Since(last[i].since); stands > r.patience {
				var all []stander
				for k, q := range last {
					if stands := time.Since(q.since); q.of != nil && q.of == r.places[k].running() && stands > r.patience/2 {
						all = append(all, stander{r.places[k], q.of, stands})
					}
				}
				return r.stuck(all)
			}
		}
	}
}

// A stander is a worker that does not go on.
type stander struct {
	*place
	*process
	stands time.Duration
}

// stuck describes workers that do not go on, with the stacks of their first goroutines.
func (r *round) stuck(all []stander) error {
	var text strings.Builder
	for _, s := range all {
		s.ordered.Store(true)
		if s.Signal(syscall.SIGQUIT) == nil {
			rest(s.process, 2*time.Second)
		}
		fmt.Fprintf(&text, "%s %d does nothing for %v\n%s\n", s.role, s.incarnation, s.stands, firstGoroutine(s.said()))
	}
	return breaks(stuck, "%s", text.String())
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
