package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/bench/internal/machine"
)

const threadsLimit = 200

// manyWaiters is how many goroutines of one process wait.
const manyWaiters = 10_000

// A crowd at rest: so many goroutines of one process that wait, for one mutex that
// another process holds, or each for a semaphore of its own.
type resting struct {
	contender
	waiters int
}

const timerC = "C, a timer once a second"

var restContenders = []resting{
	{contender{name: "1 on a Mutex", kind: "mutex"}, 1},
	{contender{name: "10 000 on a Mutex", kind: "mutex"}, manyWaiters},
	{contender{name: "1 on a Semaphore", kind: "semaphore"}, 1},
	{contender{name: "10 000 on 10 000 Semaphores", kind: "semaphore"}, manyWaiters},
	{contender{name: "Go, a timer once a second", kind: "timer"}, 0},
	{contender{name: timerC, kind: "timer", inC: true}, 0},
}

// rest measures what processes cost that do nothing but wait: their threads and
// their processor time. All are watched at the same time.
func (b *bench) rest() error {
	var contenders []contender
	waiters := map[string]int{}
	for _, r := range restContenders {
		contenders = append(contenders, r.contender)
		waiters[r.name] = r.waiters
	}
	list := b.chosen("rest", "free", contenders, timerC)
	var all []*process
	for _, c := range list {
		a, err := b.arena(restBytes(c.kind, waiters[c.name]))
		if err != nil {
			return err
		}
		defer b.discard(a)
		if c.kind == "mutex" {
			owner, err := b.start(task{part: "hold", path: a.Path(), contends: c})
			if err != nil {
				return err
			}
			defer owner.kill()
			if _, err := owner.line(); err != nil {
				return err
			}
		}
		part := "wait"
		if c.kind == "timer" {
			part = "timer"
		}
		p, err := b.start(task{part: part, side: waiters[c.name], path: a.Path(), contends: c})
		if err != nil {
			return err
		}
		defer p.kill()
		if _, err := p.line(); err != nil {
			return err
		}
		all = append(all, p)
	}
	if len(list) == 0 {
		return nil
	}
	if err := b.sleep(b.pace.settle); err != nil {
		return err
	}
	before, begun := make([]usage, len(all)), time.Now()
	for i, p := range all {
		before[i] = usageOf(p.cmd.Process.Pid)
	}
	if err := b.sleep(b.pace.watch); err != nil {
		return err
	}
	var results []result
	parts := make([]float64, len(all))
	for i, p := range all {
		now := usageOf(p.cmd.Process.Pid)
		if len(now) == 0 {
			return p.failed(errors.New("it is gone, or /proc does not say what its threads use"))
		}
		parts[i] = float64(now.since(before[i])) / float64(time.Since(begun)) * 1e6
		r := result{Name: "rest", Peer: list[i].name, N: waiters[list[i].name], Threads: len(now), CPU: parts[i]}
		results = append(results, r)
		if r.N == manyWaiters {
			b.report.judge(fmt.Sprintf("threads ≤ %d", threadsLimit), r.Peer, "", float64(r.Threads), threadsLimit)
		}
	}
	for i := range results {
		if list[len(list)-1].name == timerC {
			base := parts[len(parts)-1:]
			results[i].against(timerC, ratios(parts[i:i+1], base))
		}
	}
	b.report.table(fmt.Sprintf("Rest: processes that wait, over %v after %v; ppm of one processor", b.pace.watch, b.pace.settle), []column{
		peerColumn,
		{head: "threads", cell: func(r result) string { return fmt.Sprint(r.Threads) }},
		{head: "ppm", cell: func(r result) string { return figure(r.CPU) }},
		{head: "to the timer in C", cell: func(r result) string { return figure(r.Ratio) }},
	}, results)
	return nil
}

// sleep waits, unless the run is ended.
func (b *bench) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

func restBytes(kind string, waiters int) int {
	if kind == "semaphore" {
		return arenaBytes + waiters*semaphoreBytes
	}
	return arenaBytes
}

// usage is the processor time of each thread of a process.
type usage map[string]time.Duration

// usageOf reads it from outside, so that the process need not do anything for it.
func usageOf(pid int) usage {
	u := usage{}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range files {
		ran, _, _ := strings.Cut(machine.Contents(file), " ")
		if ns, err := strconv.ParseInt(ran, 10, 64); err == nil {
			u[file] = time.Duration(ns)
		}
	}
	return u
}

// since returns what was used since before; what threads used that have ended in
// between is missing.
func (u usage) since(before usage) (sum time.Duration) {
	for thread, ran := range u {
		sum += ran - before[thread]
	}
	return sum
}

// wait is a process whose goroutines wait; side says how many.
func (j job) wait() error {
	a, err := attachArena(j.path)
	if err != nil {
		return err
	}
	var begun atomic.Int32
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	for i := range j.side {
		wait, err := j.waiter(a, i)
		if err != nil {
			return err
		}
		go func() {
			begun.Add(1)
			fail(wait())
		}()
	}
	for int(begun.Load()) < j.side {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("waiting")
	go func() { fail(untilTold()) }()
	return <-failed
}

// waiter returns what the i-th goroutine waits for: it returns with an error only,
// because nobody gives any of them what they wait for.
func (j job) waiter(a *arena, i int) (func() error, error) {
	tooEarly := func(err error) error {
		if err == nil {
			err = errors.New("nobody gave it")
		}
		return fmt.Errorf("waiter %d of %s: %w", i, j.kind, err)
	}
	if j.kind == "mutex" {
		m, err := a.mutex(0)
		return func() error { return tooEarly(m.Lock(background)) }, err
	}
	s, err := a.semaphore(i)
	return func() error { return tooEarly(s.Wait(background)) }, err
}

// timer is the floor of a Go program that looks after something once a second.
func (j job) timer() error {
	fmt.Println("waiting")
	for {
		time.Sleep(time.Second)
	}
}

// ignoreEnd returns nil for the end of the input, which is how processes are told
// to leave.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
