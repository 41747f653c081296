package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/memlane/memlane/shmsync"
)

var deathContenders = []contender{
	{name: "shmsync.Mutex", kind: "mutex"},
	{name: robustMutex, kind: "robust", inC: true},
}

// asleep is how long the waiter is given to fall asleep before the owner is killed.
const asleep = 10 * time.Millisecond

// death measures how long it takes from the SIGKILL of a lock's owner until the
// one who waits for it has it, and knows.
func (b *bench) death() error {
	list := b.chosen("death", "free", deathContenders, robustMutex)
	type waiter struct {
		*process
		*arena
		took []uint32
	}
	waiters := map[string]*waiter{}
	for _, c := range list {
		a, err := b.prepare(c)
		if err != nil {
			return err
		}
		p, err := b.start(task{part: "kill", path: a.Path(), length: asleep, contends: c})
		if err != nil {
			return err
		}
		defer p.kill()
		waiters[c.name] = &waiter{process: p, arena: a}
	}
	for range b.pace.kills {
		for _, c := range list {
			w := waiters[c.name]
			owner, err := b.start(task{part: "hold", path: w.Path(), contends: c})
			if err != nil {
				return err
			}
			defer owner.kill()
			if _, err := owner.line(); err != nil {
				return err
			}
			fmt.Fprintln(w.in, owner.cmd.Process.Pid)
			ns, err := w.number()
			if err != nil {
				return err
			}
			w.took = append(w.took, uint32(ns))
			owner.reap()
		}
	}
	var results []result
	for _, c := range list {
		w := waiters[c.name]
		l := &latencies{}
		l.add(w.took)
		r := result{Name: "death", Peer: c.name}
		l.fill(&r)
		if other := waiters[robustMutex]; other != nil {
			// Kills are rounds of one each; the ratio is that of the medians.
			var base latencies
			base.add(other.took)
			r.against(robustMutex, ratios(l.medians, base.medians))
		}
		results = append(results, r)
		if err := b.discard(w.arena); err != nil {
			return err
		}
	}
	if len(results) > 0 {
		b.report.table("Death: from SIGKILL of the owner until another process has the lock", []column{
			peerColumn, p50Column, p99Column, maxColumn, nColumn,
			{head: "ratio of p50", cell: func(r result) string { return figure(r.Ratio) }},
		}, results)
	}
	return nil
}

// hold is an owner: it takes the mutex and waits for its end.
func (j job) hold() error {
	a, err := attachArena(j.path)
	if err != nil {
		return err
	}
	m, err := a.mutex(0)
	if err != nil {
		return err
	}
	if err := m.Lock(background); err != nil {
		return err
	}
	fmt.Println("held")
	return untilTold()
}

// untilTold waits for the end of the standard input.
func untilTold() error {
	for {
		if n, err := os.Stdin.Read(make([]byte, 1)); n == 0 {
			return ignoreEnd(err)
		}
	}
}

// killOwners kills the processes that it is told of on its standard input, while
// it waits for the mutex that each holds. It does so itself, so that one clock
// measures both ends.
func (j job) killOwners() error {
	a, err := attachArena(j.path)
	if err != nil {
		return err
	}
	m, err := a.mutex(0)
	if err != nil {
		return err
	}
	for {
		var pid int
		if _, err := fmt.Fscan(os.Stdin, &pid); err != nil {
			return ignoreEnd(err)
		}
		type lock struct {
			err error
			at  time.Time
		}
		locked := make(chan lock, 1)
		go func() {
			err := m.Lock(background)
			locked <- lock{err, time.Now()}
		}()
		time.Sleep(j.length)
		killed := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
		l := <-locked
		if !errors.Is(l.err, shmsync.ErrOwnerDied) {
			return fmt.Errorf("lock after the owner was killed: %w", l.err)
		}
		if err := errors.Join(m.Consistent(), m.Unlock()); err != nil {
			return err
		}
		fmt.Println(l.at.Sub(killed).Nanoseconds())
	}
}
