package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	robustMutex = "pthread robust mutex"
	semT        = "sem_t"

	uncontendedLimit = 1.3
)

var uncontendedContenders = []contender{
	{name: "shmsync.Mutex", kind: "mutex"},
	{name: "shmsync.Semaphore Acquire+Release", kind: "acquire"},
	{name: "shmsync.Semaphore Wait+Post", kind: "wait"},
	{name: robustMutex, kind: "robust", inC: true},
	{name: "pthread shared mutex", kind: "plain", inC: true},
	{name: semT, kind: "sem", inC: true},
	{name: "flock", kind: "flock"},
	{name: "sync.Mutex", kind: "sync"},
}

// uncontended measures a pair of lock and unlock that nobody else is interested
// in.
func (b *bench) uncontended() error {
	list := b.chosen("uncontended", "free", uncontendedContenders, robustMutex, semT)
	rounds := map[string][]float64{}
	for range b.pace.shortRounds {
		for _, c := range list {
			ns, err := b.pair(c)
			if err != nil {
				return err
			}
			rounds[c.name] = append(rounds[c.name], ns)
		}
	}
	if len(list) == 0 {
		return nil
	}
	var results []result
	for _, c := range list {
		s := spreadOf(rounds[c.name])
		r := result{Name: "uncontended", Peer: c.name, N: b.pace.shortRounds, P50: s.median, Low: s.low, High: s.high}
		if by := rounds[robustMutex]; by != nil {
			r.against(robustMutex, ratios(rounds[c.name], by))
			r.beside(semT, ratios(rounds[c.name], rounds[semT]))
			switch c.kind {
			case "mutex", "acquire": // what is given back if the process dies
				b.report.judge("uncontended ≤ 1.3 × "+robustMutex, c.name, "", r.Ratio, uncontendedLimit)
			case "wait":
				b.report.judge("uncontended ≤ 1.3 × "+semT, c.name, "", r.Ratios[semT], uncontendedLimit)
			}
		}
		results = append(results, r)
	}
	b.report.table("Uncontended: a pair of lock and unlock, ns; ratio to the "+robustMutex, []column{
		peerColumn,
		{head: "median", cell: func(r result) string { return figure(r.P50) }},
		{head: "rounds", cell: func(r result) string { return fmt.Sprintf("%s–%s", figure(r.Low), figure(r.High)) }},
		ratioColumn, besideColumn(semT),
	}, results)
	return nil
}

// pair measures one contender in one process, once.
func (b *bench) pair(c contender) (ns float64, err error) {
	a, err := b.prepare(c)
	if err != nil {
		return 0, err
	}
	p, err := b.start(task{part: "uncontended", path: a.Path(), length: b.pace.uncontended, contends: c})
	if err != nil {
		return 0, err
	}
	defer p.kill()
	if ns, err = p.number(); err != nil {
		return 0, err
	}
	return ns, b.discard(a)
}

// uncontended prints how long a pair takes, in ns: the median of many batches.
func (j job) uncontended() error {
	a, err := attachArena(j.path)
	if err != nil {
		return err
	}
	pairs := 1000
	if j.kind == "flock" {
		pairs = 50
	}
	run, err := j.pairs(a)
	if err == nil {
		err = run(pairs)
	}
	if err != nil {
		return err
	}
	var took []float64
	begun := time.Now()
	for at := time.Duration(0); at < j.length; {
		if err := run(pairs); err != nil {
			return err
		}
		after := time.Since(begun)
		took = append(took, float64(after-at)/float64(pairs))
		at = after
	}
	slices.Sort(took)
	fmt.Println(quantile(took, 0.5))
	return nil
}

// pairs returns a function that does n pairs. Each has a loop of its own, without
// a call through a pointer in it.
func (j job) pairs(a *arena) (func(n int) error, error) {
	switch j.kind {
	case "mutex":
		m, err := a.mutex(0)
		return func(n int) error {
			for range n {
				if err := m.Lock(background); err != nil {
					return err
				}
				if err := m.Unlock(); err != nil {
					return err
				}
			}
			return nil
		}, err
	case "acquire", "wait":
		s, err := a.semaphore(0)
		if err == nil {
			err = s.Post(1)
		}
		if j.kind == "wait" {
			return func(n int) error {
				for range n {
					if err := s.Wait(background); err != nil {
						return err
					}
					if err := s.Post(1); err != nil {
						return err
					}
				}
				return nil
			}, err
		}
		return func(n int) error {
			for range n {
				if err := s.Acquire(background); err != nil {
					return err
				}
				if err := s.Release(); err != nil {
					return err
				}
			}
			return nil
		}, err
	case "sync":
		var m sync.Mutex
		return func(n int) error {
			for range n {
				m.Lock()
				//lint:ignore SA2001 an empty section is what is measured
				m.Unlock()
			}
			return nil
		}, nil
	case "flock":
		lock, unlock, err := flock(j.path)
		return func(n int) error {
			for range n {
				if err := lock(); err != nil {
					return err
				}
				if err := unlock(); err != nil {
					return err
				}
			}
			return nil
		}, err
	}
	return nil, fmt.Errorf("there is no kind %q", j.kind)
}

// flock locks the file itself. Of a file with POSIX locks too, as memlane has
// them, these know nothing of each other.
func flock(path string) (lock, unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(f.Fd())
	do := func(how int) error {
		for {
			if err := syscall.Flock(fd, how); err != syscall.EINTR {
				return err
			}
		}
	}
	return func() error { return do(syscall.LOCK_EX) }, func() error { return do(syscall.LOCK_UN) }, nil
}
