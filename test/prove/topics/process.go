package main

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/memlane/memlane/test/prove/rounds"
)

// said is how much of the end of what a place's workers write to standard error is
// told: the stacks of all goroutines.
const said = 1 << 20

// A place is where one worker at a time is, of one role.
type place struct {
	*rounds.Place
	index   int
	role    string
	veteran bool // it is not killed before the end
	current atomic.Pointer[process]
}

// A process is a worker as the conductor sees it.
type process struct {
	*rounds.Process
	role  string
	entry *entry
}

// start runs a worker in the place.
func (s *place) start(r *round) (*process, error) {
	incarnation := r.last.Add(1)
	text := func(n uint64) string { return strconv.FormatUint(n, 10) }
	p, err := s.Start(rounds.Start{
		What: s.role, Incarnation: incarnation,
		Args: []string{"topics", s.role, r.Folder, text(incarnation), text(r.Seed),
			text(uint64(r.policy)), text(uint64(r.Patience)), r.Mutant},
	})
	if err != nil {
		return nil, err
	}
	w := &process{p, s.role, &r.ledger.Entries[incarnation]}
	s.current.Store(w)
	return w, nil
}

// running returns the place's worker; nil if there was none yet.
func (s *place) running() *process { return s.current.Load() }

// verdict returns what was wrong with how the worker ended.
func (p *process) verdict() error {
	told := p.entry.Broken()
	if told != nil {
		told.Text = fmt.Sprintf("%s %d: %s", p.role, p.Incarnation, told.Text)
	}
	return p.Verdict(told)
}
