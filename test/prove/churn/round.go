package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

// The stages of a round.
const (
	storm  = iota // all do what comes by lot
	hush          // all receive only
	gather        // all publishers wait for all subscribers, and publish a last message
	drain         // everything there is is received
	leave         // all close what they have
	over          // the processes end
)

const (
	maxLife = 100 * time.Millisecond // of a process, for each that there is: they share the processors
	maxStop = 300 * time.Millisecond // of a stop; tenfold of every sixteenth
	// said is how much of the end of what a place's processes write to standard error is told.
	said = 1 << 20
)

// A round is one domain's life.
type round struct {
	rounds.Order
	size    size
	ledgers *ledgers
	places  []*place
	todo    atomic.Int64  // kills
	last    atomic.Uint64 // incarnation

	// What came of it.
	killed, stops atomic.Int64
	judged        *judge
}

// A place is where one process at a time is.
type place struct {
	*rounds.Place
	index   int
	veteran bool // it is not killed before the end
	current atomic.Pointer[conducted]
}

// conducted is a process as the conductor sees it.
type conducted struct {
	*rounds.Process
	entry *process
}

// newRound makes what the processes need.
func newRound(o rounds.Order, of size) (r *round, err error) {
	r = &round{Order: o, size: of, judged: &judge{}}
	r.todo.Store(int64(o.Kills))
	if err := os.Mkdir(r.Folder, 0o700); err != nil {
		return nil, err
	}
	if r.ledgers, err = createLedgers(r.Folder, 2+o.Kills+of.processes, of); err != nil {
		return nil, errors.Join(err, r.Discard())
	}
	for i := range of.processes {
		p, err := rounds.NewPlace(r.Folder, i, said)
		if err != nil {
			return nil, errors.Join(err, r.Discard())
		}
		r.places = append(r.places, &place{Place: p, index: i, veteran: i%5 == 0})
	}
	return r, nil
}

// Discard ends all processes and removes everything.
func (r *round) Discard() error {
	for _, p := range r.places {
		if c := p.current.Load(); c != nil {
			c.Kill()
			<-c.Ended
		}
		p.Close()
	}
	return errors.Join(r.ledgers.close(), os.RemoveAll(r.Folder))
}

func (r *round) String() string { return fmt.Sprintf("round of seed %d, %v", r.Seed, r.size) }

// start runs a process in the place.
func (p *place) start(r *round) (*conducted, error) {
	incarnation := r.last.Add(1)
	args := []string{"churn", "worker", r.Folder}
	for _, n := range []uint64{incarnation, r.Seed, uint64(r.Patience), uint64(r.size.processes), uint64(r.size.participants), uint64(r.size.topics)} {
		args = append(args, strconv.FormatUint(n, 10))
	}
	started, err := p.Start(rounds.Start{What: "worker", Incarnation: incarnation, Args: append(args, r.Mutant)})
	if err != nil {
		return nil, err
	}
	c := &conducted{started, &r.ledgers.processes.Entries[incarnation]}
	p.current.Store(c)
	return c, nil
}

// verdict returns what was wrong with how the process ended.
func (c *conducted) verdict() error { return c.Verdict(c.entry.Broken()) }

// Run runs the round. The error is a *rounds.Broken, or what else went wrong.
func (r *round) Run(ctx context.Context) error {
	return rounds.Storm(ctx, r.places, r.storm, r.finish, r.watch())
}

// storm starts processes in the place and kills them, until the round has had its kills. It
// leaves one that lives; a veteran from the beginning.
func (r *round) storm(ctx context.Context, p *place) error {
	rnd := rand.New(rand.NewPCG(r.Seed, 1<<63+uint64(p.index)))
	upTo := func(d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
	life := time.Duration(r.size.processes) * maxLife
	for ctx.Err() == nil {
		c, err := p.start(r)
		if err != nil {
			return err
		}
		if p.veteran || r.todo.Add(-1) < 0 {
			c.Await(ctx)
			for r.todo.Load() > 0 && ctx.Err() == nil && !ended(c) {
				c.Rest(upTo(life))
				if rnd.IntN(2) == 0 {
					r.stop(c, rnd)
				}
			}
			return nil
		}
		if rnd.IntN(8) == 0 {
			c.Rest(upTo(maxStop)) // it may not have begun yet
		} else {
			c.Await(ctx)
			c.Rest(upTo(life))
		}
		switch rnd.IntN(4) {
		case 0: // it is stopped for a while
			r.stop(c, rnd)
			c.Rest(upTo(maxStop))
		case 1: // it is killed while it is stopped
			if c.Signal(syscall.SIGSTOP) == nil {
				c.entry.stopped.Add(1)
				r.stops.Add(1)
			}
			c.Rest(upTo(maxStop))
		}
		c.Kill()
		<-c.Ended
		if c.Killed() {
			r.killed.Add(1)
		}
		if err := c.verdict(); err != nil {
			return err
		}
		c.entry.dead.Store(1)
	}
	return nil
}

func ended(c *conducted) bool {
	select {
	case <-c.Ended:
		return true
	default:
		return false
	}
}

// stop stops a process for a while.
func (r *round) stop(c *conducted, rnd *rand.Rand) {
	d := time.Duration(rnd.Int64N(int64(maxStop)))
	if rnd.IntN(16) == 0 {
		d = 10 * maxStop
	}
	c.entry.stopped.Add(1)
	if c.Stop(d) {
		r.stops.Add(1)
	}
	c.entry.stopped.Add(1)
}

// finish has everybody do what is left, stage after stage, and judges.
func (r *round) finish(ctx context.Context) (err error) {
	for stage := uint64(hush); stage <= over; stage++ {
		if err := r.enter(ctx, stage); err != nil {
			return err
		}
		switch stage {
		case drain:
			if r.judged, err = r.ledgers.judge(); err != nil {
				return err
			}
		case leave:
			for _, p := range r.places {
				if err := p.current.Load().given(); err != nil {
					return err
				}
			}
		}
	}
	return r.empty()
}

// enter begins a stage, and waits until all participants have done what is theirs in it, which
// in the last is to end.
func (r *round) enter(ctx context.Context, stage uint64) error {
	r.ledgers.processes.Header.stage.Store(stage)
	for ; ; time.Sleep(time.Millisecond) {
		waiting := false
		for _, p := range r.places {
			c := p.current.Load()
			select {
			case <-c.Ended:
				if err := c.verdict(); err != nil {
					return err
				}
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			default:
			}
			for i := range r.size.participants {
				waiting = waiting || c.entry.participants[i].done.Load() < stage
			}
		}
		if !waiting {
			return nil
		}
	}
}

// watch returns what looks at all participants until the round is over: each must go on,
// which is to end calls. A process that ends without an order has something to say.
func (r *round) watch() func() error {
	last := make([][participantsMost]rounds.Progress, len(r.places))
	return func() error {
		for at, p := range r.places {
			c := p.current.Load()
			if c == nil {
				continue
			}
			if ended(c) {
				if err := c.verdict(); err != nil && !c.Ordered() {
					return err
				}
				continue
			}
			for i := range r.size.participants {
				if stands := last[at][i].Stands(c, c.entry.participants[i].steps.Load()); stands > r.Patience {
					return rounds.Breaks(rounds.Stuck, "participant %d of worker %d does nothing for %v\n%s", i, c.Incarnation, stands, c.Stacks())
				}
			}
		}
		return nil
	}
}
