package main

import (
	"fmt"
	"syscall"
	"time"
)

// watchEvery is how often it is looked whether everybody goes on.
const watchEvery = 50 * time.Millisecond

// progress is a number that must grow.
type progress struct {
	of    any
	was   uint64
	since time.Time
}

// stands returns for how long the number of this has not grown.
func (p *progress) stands(of any, is uint64) time.Duration {
	if p.of != of || p.was != is {
		*p = progress{of, is, time.Now()}
	}
	return time.Since(p.since)
}

// watch looks at all workers until the round is over: no operation may take longer
// than the patience, which is far longer than anybody is stopped, and as long as
// anybody lives, sections must be made and permits of the guard be had. A worker
// that ends without an order has something to say.
func (r *round) watch(over <-chan struct{}) error {
	workers := make([]progress, len(r.slots))
	var sections, guarded progress
	for {
		select {
		case <-over:
			return nil
		case <-time.After(watchEvery):
		}
		living := 0
		for i, s := range r.slots {
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
			living++
			if stands := workers[i].stands(p, p.entry.steps.Load()); stands > r.patience {
				return r.stuck(s, p, stands)
			}
		}
		sum := r.ledger.sum()
		for what, stands := range map[string]time.Duration{
			"section of the mutex": sections.stands(r, sum.sections.least),
			"permit of the guard":  guarded.stands(r, sum.guarded),
		} {
			if living > 0 && stands > r.patience {
				return breaks(stuck, "no %s for %v; %s", what, stands, r.state())
			}
		}
	}
}

// stuck describes a worker that does not go on, with the stacks of its goroutines.
func (r *round) stuck(s *slot, p *process, stands time.Duration) error {
	what := fmt.Sprintf("worker %d is %v for %v; %s", p.incarnation, op(p.entry.now.Load()), stands, r.state())
	p.doom()
	if p.Signal(syscall.SIGQUIT) == nil {
		rest(p, 2*time.Second)
	}
	return breaks(stuck, "%s\n%s", what, s.said())
}

// state describes everything in the segment.
func (r *round) state() string {
	mutex, _ := r.arena.mutex.Status()
	guard, _ := r.arena.guard.Status()
	signal, _ := r.arena.signal.Status()
	manual, _ := r.arena.manual.Status()
	auto, _ := r.arena.auto.Status()
	return fmt.Sprintf("mutex %+v, guard %+v, signal %+v, manual %+v, automatic %+v, inside %d", mutex, guard, signal, manual, auto, r.arena.guarded.inside.Load())
}
