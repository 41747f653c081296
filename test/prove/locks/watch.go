package main

import (
	"fmt"
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

// watch returns what looks at all workers until the round is over: no operation may
// take longer than the patience, which is far longer than anybody is stopped, and as
// long as anybody lives, sections must be made and permits of the guard be had. A
// worker that ends without an order has something to say.
func (r *round) watch() func() error {
	workers := make([]rounds.Progress, len(r.slots))
	var sections, guarded rounds.Progress
	return func() error {
		living := 0
		for i, s := range r.slots {
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
			living++
			if stands := workers[i].Stands(p, p.entry.steps.Load()); stands > r.Patience {
				return r.stuck(p, stands)
			}
		}
		sum := r.ledger.sum()
		for what, stands := range map[string]time.Duration{
			"section of the mutex": sections.Stands(r, sum.sections.least),
			"permit of the guard":  guarded.Stands(r, sum.guarded),
		} {
			if living > 0 && stands > r.Patience {
				return rounds.Breaks(rounds.Stuck, "no %s for %v; %s", what, stands, r.state())
			}
		}
		return nil
	}
}

// stuck describes a worker that does not go on, with the stacks of its goroutines.
func (r *round) stuck(p *process, stands time.Duration) error {
	what := fmt.Sprintf("worker %d is %v for %v; %s", p.Incarnation, op(p.entry.now.Load()), stands, r.state())
	p.doom()
	return rounds.Breaks(rounds.Stuck, "%s\n%s", what, p.Stacks())
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
