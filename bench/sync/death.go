package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/memlane/memlane/shmsync"
)

// endOfProcess is no lock: it is when the kernel says that a Go process has ended,
// as soon as it knows. A mutex that is handed on when its owner can not write any
// more, which is not so when one thread of it has ended, has to wait for that.
const endOfProcess = "end of the same Go process, by pidfd"

var deathContenders = []contender{
	{name: "shmsync.Mutex", kind: "mutex"},
	{name: robustMutex, kind: "robust", inC: true},
	{name: endOfProcess, kind: "end", inC: true},
}

// ownerFor returns what the contender waits for the death of.
func ownerFor(c contender) contender {
	if c.kind == "end" {
		return contender{name: c.name, kind: "mutex"}
	}
	return c
}

// asleep is how long the waiter is given to fall asleep before the owner is killed.
const asleep = 10 * time.Millisecond

// death measures how long it takes from the SIGKILL of a lock's owner until the
// one who waits for it has it, and knows.
func (b *bench) death() error {
	list := b.chosen("death", "free", deathContenders, robustMutex, endOfProcess)
	type waiter struct {
		*process
		*arena
		took []uint32
	}
	waiters := map[string]*waiter{}
	// Kills are too short to be rounds: the ratios are of the medians.
	for _, c := range list {
		a, err := b.prepare(ownerFor(c))
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
			owner, err := b.start(task{part: "hold", path: w.Path(), contends: ownerFor(c)})
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
			var base latencies
			base.add(other.took)
			r.against(robustMutex, ratios(l.medians, base.medians))
		}
		if end := waiters[endOfProcess]; end != nil {
			var base latencies
			base.add(end.took)
			r.beside(endOfProcess, ratios(l.medians, base.medians))
		}
		results = append(results, r)
		if err := b.discard(w.arena); err != nil {
			return err
		}
	}
	if len(results) > 0 {
		b.report.table("Death: from SIGKILL of the owner until another process has the lock", []column{
			peerColumn, p50Column, p99Column, maxColumn, nColumn,
			{head: "p50 to the " + robustMutex, cell: func(r result) string { return figure(r.Ratio) }},
			{head: "to the end of the process", cell: func(r result) string { return figure(r.Ratios[endOfProcess]) }},
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
	err = m.Lock(background)
	if errors.Is(err, shmsync.ErrOwnerDied) { // of the one before, whom nobody waited for
		err = m.Consistent()
	}
	if err != nil {
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
