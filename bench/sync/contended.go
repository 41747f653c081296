package main

import (
	"fmt"
	"slices"
	"time"
)

var contendedContenders = []contender{
	{name: "shmsync.Mutex", kind: "mutex"},
	{name: robustMutex, kind: "robust", inC: true},
	{name: "flock", kind: "flock"},
}

// crowds are how many processes want one lock.
var crowds = []int{2, 4, 8}

// contended measures how often several processes together get one lock, and how
// differently often each.
func (b *bench) contended() error {
	type group struct {
		processes int
		contender
		rates, gaps, waits []float64
		operations         uint64
	}
	var groups []*group
	for _, n := range crowds {
		for _, c := range b.chosen("contended", fmt.Sprint(n), contendedContenders, robustMutex) {
			groups = append(groups, &group{processes: n, contender: c})
		}
	}
	for range b.pace.rounds {
		for _, g := range groups {
			shares, took, longest, err := b.crowd(g.contender, g.processes)
			if err != nil {
				return err
			}
			var sum uint64
			for _, n := range shares {
				sum += n
			}
			if sum == 0 {
				return fmt.Errorf("contended %s: nobody had it within %v", g.name, took)
			}
			g.operations += sum
			g.waits = append(g.waits, longest)
			g.rates = append(g.rates, float64(sum)/took.Seconds())
			g.gaps = append(g.gaps, float64(slices.Max(shares)-slices.Min(shares))/float64(sum))
		}
	}
	var results []result
	for _, g := range groups {
		r := result{Name: "contended", Peer: g.name, Processes: g.processes, N: int(g.operations), Rate: spreadOf(g.rates).median, Gap: spreadOf(g.gaps).median, Max: spreadOf(g.waits).high}
		for _, other := range groups {
			if other.name == robustMutex && other.processes == g.processes {
				r.against(robustMutex, ratios(g.rates, other.rates))
			}
		}
		results = append(results, r)
	}
	if len(results) > 0 {
		b.report.table("Contended: lock, count, unlock by several processes; ratio of the rates to the "+robustMutex+"'s, more is better", []column{
			{head: "processes", cell: func(r result) string { return fmt.Sprint(r.Processes) }},
			peerColumn,
			{head: "ops/s", cell: func(r result) string { return figure(r.Rate) }},
			{head: "share gap", cell: func(r result) string { return fmt.Sprintf("%.0f %%", 100*r.Gap) }},
			{head: "longest wait ms", cell: func(r result) string { return figure(r.Max / 1e6) }},
			ratioColumn,
		}, results)
	}
	return nil
}

// crowd has n processes lock, count and unlock, once, and returns how often each
// did, and the longest wait of all.
func (b *bench) crowd(c contender, n int) (shares []uint64, took time.Duration, longest float64, err error) {
	a, err := b.prepare(c)
	if err != nil {
		return nil, 0, 0, err
	}
	all := make([]*process, n)
	for i := range all {
		if all[i], err = b.start(task{part: "contended", path: a.Path(), contends: c}); err != nil {
			return nil, 0, 0, err
		}
		defer all[i].kill()
	}
	for _, p := range all {
		if _, err := p.line(); err != nil {
			return nil, 0, 0, err
		}
	}
	begun := time.Now()
	a.begin.Store(1)
	time.Sleep(b.pace.contended)
	a.stop.Store(1)
	took = time.Since(begun)
	var sum uint64
	for _, p := range all {
		n, err := p.number()
		if err != nil {
			return nil, 0, 0, err
		}
		wait, err := p.number()
		if err != nil {
			return nil, 0, 0, err
		}
		longest = max(longest, wait)
		shares = append(shares, uint64(n))
		sum += uint64(n)
	}
	if counted := *a.turns; counted != sum {
		return nil, 0, 0, fmt.Errorf("contended %s: %d processes had it %d times and counted %d: it does not exclude", c.name, n, sum, counted)
	}
	return shares, took, longest, b.discard(a)
}

// lookAfter is how many operations come between two looks at the clock, which
// would else take longer than the lock.
const lookAfter = 64

// contended is one of the crowd. It prints how often it had the lock, and how
// long it took at most to have it lookAfter times: the longest wait, that is.
func (j job) contended() error {
	a, err := attachArena(j.path)
	if err != nil {
		return err
	}
	lock, unlock, err := flock(j.path)
	if err != nil {
		return err
	}
	if j.kind == "mutex" {
		m, err := a.mutex(0)
		if err != nil {
			return err
		}
		lock, unlock = func() error { return m.Lock(background) }, m.Unlock
	}
	fmt.Println("ready")
	for a.begin.Load() == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	n := 0
	var longest, at time.Duration
	for begun := time.Now(); a.stop.Load() == 0; {
		for range lookAfter {
			if err := lock(); err != nil {
				return err
			}
			*a.turns++
			if err := unlock(); err != nil {
				return err
			}
		}
		n += lookAfter
		after := time.Since(begun)
		longest, at = max(longest, after-at), after
	}
	fmt.Printf("%d\n%d\n", n, longest.Nanoseconds())
	return nil
}
