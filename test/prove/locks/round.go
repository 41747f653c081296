package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

const (
	maxLife  = 4 * time.Millisecond  // of a worker after it has begun to work
	maxStart = 2 * time.Millisecond  // of one that is killed before
	maxStop  = 20 * time.Millisecond // of a stop
	maxRest  = 2 * time.Millisecond  // of a worker after it was stopped
)

// A round is one segment's life: workers use it and are killed, until there were so
// many kills; then those who live must go on, and what they leave must add up.
type round struct {
	rounds.Order

	ledger *ledger
	arena  *arena // the conductor's
	slots  []*slot
	todo   atomic.Int64  // kills
	last   atomic.Uint64 // incarnation

	// What came of it.
	killed, foreign, stops, returned atomic.Int64
	names                            int
}

// newRound makes what the workers need.
func newRound(o rounds.Order, workers int, namespaces bool) (r *round, err error) {
	r = &round{Order: o}
	r.todo.Store(int64(o.Kills))
	if err := os.Mkdir(r.Folder, 0o700); err != nil {
		return nil, err
	}
	l, err := rounds.Create[header, entry](r.Folder, 1+o.Kills+workers)
	if err != nil {
		return nil, errors.Join(err, r.Discard())
	}
	r.ledger = &ledger{l}
	r.ledger.Header.patience.Store(uint64(min(o.Patience/4, 2*time.Second)))
	if r.arena, err = createArena(r.Folder); err != nil {
		return nil, errors.Join(err, r.Discard())
	}
	for i := range workers {
		p, err := rounds.NewPlace(r.Folder, i, said)
		if err != nil {
			return nil, errors.Join(err, r.Discard())
		}
		s := &slot{Place: p, index: i, veteran: i == 0, namespaces: namespaces && (i == 1 || i == 5)}
		if i%2 == 0 && i > 0 {
			// Where there is one processor, waits do not spin: they sleep at once.
			s.env = append(s.env, "GOMAXPROCS=1")
		}
		r.slots = append(r.slots, s)
	}
	return r, nil
}

// Discard ends all workers and removes everything.
func (r *round) Discard() error {
	for _, s := range r.slots {
		if p := s.running(); p != nil {
			p.Kill()
			<-p.Ended
		}
		s.Close()
	}
	var err error
	if r.arena != nil {
		err = r.arena.Close()
	}
	if r.ledger != nil {
		err = errors.Join(err, r.ledger.Close())
	}
	return errors.Join(err, os.RemoveAll(r.Folder))
}

func (r *round) String() string { return fmt.Sprintf("round of seed %d", r.Seed) }

// Run runs the round. The error is a *rounds.Broken, or what else went wrong.
func (r *round) Run(ctx context.Context) error {
	return rounds.Storm(ctx, r.slots, r.storm, func(ctx context.Context) error {
		if err := r.calm(ctx); err != nil {
			return err
		}
		if err := r.end(ctx); err != nil {
			return err
		}
		return r.judge()
	}, r.watch())
}

// storm starts workers in the slot and kills them, until the round has had its
// kills. It leaves one that lives; a veteran from the beginning.
func (r *round) storm(ctx context.Context, s *slot) error {
	rnd := rand.New(rand.NewPCG(r.Seed, 1<<32+uint64(s.index)))
	upTo := func(d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
	for ctx.Err() == nil {
		p, err := s.start(r)
		if err != nil {
			return err
		}
		todo := r.todo.Add(-1)
		if s.veteran {
			todo = r.todo.Add(1)
		}
		if s.veteran || todo < 0 {
			p.Await(ctx)
			return nil
		}
		r.ledger.Header.epoch.Store(uint64(epochs * (r.Kills - int(todo)) / (r.Kills + 1)))
		if rnd.IntN(16) == 0 {
			p.Rest(upTo(maxStart)) // it may not have begun yet
		} else {
			p.Await(ctx)
			p.Rest(upTo(maxLife))
		}
		switch n := rnd.IntN(64); {
		case n < 8: // another one dies at the same moment
			q := r.slots[rnd.IntN(len(r.slots))]
			if twin := q.running(); twin != nil && !q.veteran && todo > int64(len(r.slots)) {
				twin.Kill()
			}
		case n < 14: // it is stopped for a while
			r.stop(p, upTo(maxStop))
			p.Rest(upTo(maxRest))
		case n < 18: // it is killed while it is stopped
			if p.Signal(syscall.SIGSTOP) == nil {
				r.stops.Add(1)
			}
			p.Rest(upTo(maxStop))
		case n < 20: // one that will go on is stopped for a while
			r.stop(r.slots[0].running(), upTo(maxStop))
		}
		p.Kill()
		<-p.Ended
		if err := r.bury(s, p); err != nil {
			return err
		}
	}
	return nil
}

// stop stops the worker for so long. Meanwhile it keeps what it holds.
func (r *round) stop(p *process, d time.Duration) {
	if p != nil && p.Stop(d) {
		r.stops.Add(1)
	}
}

// bury counts a worker that has ended, and returns what was wrong with its end.
func (r *round) bury(s *slot, p *process) error {
	if p.Killed() {
		r.killed.Add(1)
		r.returned.Add(int64(p.held))
		if s.namespaces {
			r.foreign.Add(1)
		}
	}
	return p.verdict()
}

// calm kills nobody: every worker that lives must go on, through operations of all
// kinds.
func (r *round) calm(ctx context.Context) error {
	const steps = 50
	goal := map[*process]uint64{}
	for _, s := range r.slots {
		p := s.running()
		goal[p] = p.entry.steps.Load() + steps
	}
	for ; len(goal) > 0; time.Sleep(time.Millisecond) {
		for p, steps := range goal {
			select {
			case <-p.Ended: // by order, or watch says so
				delete(goal, p)
			case <-ctx.Done():
				return context.Cause(ctx)
			default:
				if p.entry.steps.Load() >= steps {
					delete(goal, p)
				}
			}
		}
		if err := r.nudge(); err != nil {
			return err
		}
	}
	return nil
}

// end kills half of the workers, and has the others finish.
func (r *round) end(ctx context.Context) error {
	rnd := rand.New(rand.NewPCG(r.Seed, 2<<32))
	for _, s := range r.slots {
		if rnd.IntN(2) == 0 {
			s.running().Rest(time.Duration(rnd.Int64N(int64(maxLife))))
			s.running().Kill()
		}
	}
	r.ledger.Header.finish.Store(1)
	for _, s := range r.slots {
		for p := s.running(); ; {
			select {
			case <-p.Ended:
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Millisecond):
				if err := r.nudge(); err != nil {
					return err
				}
				continue
			}
			if err := r.bury(s, p); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// nudge does for those who wait without an end what would let them go, where nobody
// has yet: what is there already must be enough.
func (r *round) nudge() error {
	mine := &r.ledger.Entries[0]
	for _, s := range r.slots {
		p := s.running()
		switch op(p.entry.now.Load()) {
		case opTakeForever:
			st, err := r.arena.signal.Status()
			if err != nil {
				return failed("look at the signal", err)
			}
			if st.Permits > 0 {
				continue
			}
			mine.posts.begin(1)
			if err := r.arena.signal.Post(1); err != nil {
				return failed("post", err)
			}
			mine.posts.acknowledge()
		case opAnswerForever:
			st, err := r.arena.auto.Status()
			if err != nil {
				return failed("look at the automatic event", err)
			}
			if st.Set {
				continue
			}
			mine.rings.begin(1)
			if err := r.arena.auto.Set(); err != nil {
				return failed("ring", err)
			}
			mine.rings.acknowledge()
		case opAwaitForever, opChangeForever:
			st, err := r.arena.manual.Status()
			if err != nil {
				return failed("look at the manual event", err)
			}
			// Who waits for a change has looked before it said so: one set is
			// enough, whatever comes after.
			change := op(p.entry.now.Load()) == opChangeForever
			step := p.entry.steps.Load() + 1
			if p.nudged == step || (!change && st.Set) {
				continue
			}
			if change {
				p.nudged = step
			}
			mine.sets.begin(1)
			if err := r.arena.manual.Set(); err != nil {
				return failed("set", err)
			}
			mine.sets.acknowledge()
		}
	}
	return nil
}

// judge looks at what is left when all workers have ended.
func (r *round) judge() error {
	survivors := []*arena{r.arena}
	for len(survivors) < permits {
		a, err := attachArena(r.Folder)
		if err != nil {
			return failed("attach at the end", err)
		}
		defer a.Close()
		survivors = append(survivors, a)
	}
	l, err := r.arena.take(r.Patience, survivors)
	if err != nil {
		return err
	}
	s := r.ledger.sum()
	r.names, err = judgeNames(r.arena.Segment, s.named)
	return errors.Join(judge(s, l), err)
}
