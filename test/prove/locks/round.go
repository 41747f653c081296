package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
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
	folder   string
	seed     uint64
	mutant   string        // what the workers do wrong, "" for nothing
	patience time.Duration // within which everything must go on

	ledger *ledger
	arena  *arena // the conductor's
	slots  []*slot
	kills  int
	todo   atomic.Int64  // kills
	last   atomic.Uint64 // incarnation

	// What came of it.
	killed, foreign, stops, returned atomic.Int64
	names                            int
	sums                             sums
}

// newRound makes what the workers need, in a folder of its own below dir.
func newRound(dir string, seed uint64, kills, workers int, mutant string, namespaces bool, patience time.Duration) (r *round, err error) {
	r = &round{folder: filepath.Join(dir, fmt.Sprintf("round-%d", seed)), seed: seed, mutant: mutant, patience: patience, kills: kills}
	r.todo.Store(int64(kills))
	if err := os.Mkdir(r.folder, 0o700); err != nil {
		return nil, err
	}
	if r.ledger, err = createLedger(r.folder, 1+kills+workers); err != nil {
		return nil, errors.Join(err, r.discard())
	}
	r.ledger.header.patience.Store(uint64(min(patience/4, 2*time.Second)))
	if r.arena, err = createArena(r.folder); err != nil {
		return nil, errors.Join(err, r.discard())
	}
	for i := range workers {
		s, err := newSlot(r.folder, i)
		if err != nil {
			return nil, errors.Join(err, r.discard())
		}
		s.veteran = i == 0
		s.namespaces = namespaces && (i == 1 || i == 5)
		if i%2 == 0 && i > 0 {
			// Where there is one processor, waits do not spin: they sleep at once.
			s.env = append(s.env, "GOMAXPROCS=1")
		}
		r.slots = append(r.slots, s)
	}
	return r, nil
}

// discard ends all workers and removes everything.
func (r *round) discard() error {
	for _, s := range r.slots {
		if p := s.running(); p != nil {
			p.kill()
			<-p.ended
		}
		s.close()
	}
	var err error
	if r.arena != nil {
		err = r.arena.Close()
	}
	if r.ledger != nil {
		err = errors.Join(err, r.ledger.Close())
	}
	return errors.Join(err, os.RemoveAll(r.folder))
}

// run runs the round. The error is a *broken, or what else went wrong.
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
	r.sums = r.ledger.sum()
	return errors.Join(err, r.discard())
}

// play is the round's course.
func (r *round) play(ctx context.Context, cancel context.CancelCauseFunc) error {
	var storming sync.WaitGroup
	for _, s := range r.slots {
		storming.Go(func() {
			if err := r.storm(ctx, s); err != nil {
				cancel(err) // the first error is the one that counts
			}
		})
	}
	storming.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := r.calm(ctx); err != nil {
		return err
	}
	if err := r.end(ctx); err != nil {
		return err
	}
	return r.judge()
}

// storm starts workers in the slot and kills them, until the round has had its
// kills. It leaves one that lives; a veteran from the beginning.
func (r *round) storm(ctx context.Context, s *slot) error {
	rnd := rand.New(rand.NewPCG(r.seed, 1<<32+uint64(s.index)))
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
			s.begun(ctx, p)
			return nil
		}
		r.ledger.header.epoch.Store(uint64(epochs * (r.kills - int(todo)) / (r.kills + 1)))
		if rnd.IntN(16) == 0 {
			rest(p, upTo(maxStart)) // it may not have begun yet
		} else {
			s.begun(ctx, p)
			rest(p, upTo(maxLife))
		}
		switch n := rnd.IntN(64); {
		case n < 8: // another one dies at the same moment
			q := r.slots[rnd.IntN(len(r.slots))]
			if twin := q.running(); twin != nil && !q.veteran && todo > int64(len(r.slots)) {
				twin.kill()
			}
		case n < 14: // it is stopped for a while
			r.stop(p, upTo(maxStop))
			rest(p, upTo(maxRest))
		case n < 18: // it is killed while it is stopped
			if p.Signal(syscall.SIGSTOP) == nil {
				r.stops.Add(1)
			}
			rest(p, upTo(maxStop))
		case n < 20: // one that will go on is stopped for a while
			r.stop(r.slots[0].running(), upTo(maxStop))
		}
		p.kill()
		<-p.ended
		if err := r.bury(s, p); err != nil {
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

// stop stops the worker for so long. Meanwhile it keeps what it holds.
func (r *round) stop(p *process, d time.Duration) {
	if p == nil || p.Signal(syscall.SIGSTOP) != nil {
		return
	}
	r.stops.Add(1)
	rest(p, d)
	p.Signal(syscall.SIGCONT) // it may have been killed
}

// bury counts a worker that has ended, and returns what was wrong with its end.
func (r *round) bury(s *slot, p *process) error {
	if p.killed() {
		r.killed.Add(1)
		r.returned.Add(int64(p.held))
		if s.namespaces {
			r.foreign.Add(1)
		}
	}
	return s.verdict(p)
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
			case <-p.ended: // by order, or watch says so
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
	rnd := rand.New(rand.NewPCG(r.seed, 2<<32))
	for _, s := range r.slots {
		if rnd.IntN(2) == 0 {
			rest(s.running(), time.Duration(rnd.Int64N(int64(maxLife))))
			s.running().kill()
		}
	}
	r.ledger.header.finish.Store(1)
	for _, s := range r.slots {
		for p := s.running(); ; {
			select {
			case <-p.ended:
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
	mine := &r.ledger.entries[0]
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
		a, err := attachArena(r.folder)
		if err != nil {
			return failed("attach at the end", err)
		}
		defer a.Close()
		survivors = append(survivors, a)
	}
	l, err := r.arena.take(r.patience, survivors)
	if err != nil {
		return err
	}
	s := r.ledger.sum()
	r.names, err = judgeNames(r.arena.Segment, s.named)
	return errors.Join(judge(s, l), err)
}
