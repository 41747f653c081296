package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

const (
	counterAt = 64 // a plain number that the mutex at 0 guards
	rounds    = 20_000
)

// countUp adds to a plain number under the mutex, args[1] times.
func countUp(args []string) error {
	s, err := attach(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if err := count(s, n); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

func count(s *segment.Segment, n int) error {
	m, err := shmsync.MutexAt(s, 0)
	if err != nil {
		return err
	}
	counter, err := mmap.At[uint64](s.Mapping, counterAt)
	if err != nil {
		return err
	}
	for range n {
		if err := m.Lock(background); err != nil {
			return err
		}
		*counter++
		if err := m.Unlock(); err != nil {
			return err
		}
	}
	return nil
}

// Processes without a common parent, PID namespace or user count to the right sum.
func TestMutualExclusion(t *testing.T) {
	other := map[string]*proctest.Config{
		"same":                nil,
		"namespaces":          {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC},
		"nobody":              {AsNobody: true},
		"one processor":       {Env: []string{"GOMAXPROCS=1"}},
		"namespaces of their": {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET},
		"clocks ahead":        clocks(proctest.Clocks{Monotonic: 24 * time.Hour, Boot: 36 * time.Hour}),
		"clocks behind":       clocks(proctest.ClocksAtZero(t)),
	}
	for name, c := range other {
		t.Run(name, func(t *testing.T) {
			if c != nil && c.Namespaces != 0 {
				proctest.RequireNamespaces(t, c.Namespaces)
			}
			s := newSegment(t)
			a := proctest.Start(t, c, "count", s.Path(), fmt.Sprint(rounds))
			b := proctest.Start(t, nil, "count", s.Path(), fmt.Sprint(rounds))
			a.Line()
			b.Line()
			noError(t, count(s, rounds))
			for _, p := range []*proctest.Process{a, b} {
				if line := p.Line(); line != "done" {
					t.Fatal(line)
				}
				noError(t, p.Wait())
			}
			counter, err := mmap.At[uint64](s.Mapping, counterAt)
			noError(t, err)
			if *counter != 3*rounds {
				t.Errorf("counted to %d; want %d", *counter, 3*rounds)
			}
		})
	}
}

func TestMutexMisuse(t *testing.T) {
	s := newSegment(t)
	m, other := mutexAt(t, s, 0), mutexAt(t, reattach(t, s), 0)
	wantError(t, m.Unlock(), []error{shmsync.ErrNotOwner}, "unlock mutex at offset 0 of ", s.Path(), "nobody does", "lock it first")
	noError(t, m.Lock(background))
	wantError(t, other.Unlock(), []error{shmsync.ErrNotOwner}, fmt.Sprintf("process %d does", os.Getpid()))
	wantError(t, other.Consistent(), []error{shmsync.ErrNotOwner})
	wantError(t, other.TryLock(), []error{shmsync.ErrBusy}, "lock", "taken")
	wantError(t, m.TryLock(), []error{shmsync.ErrBusy})
	wantError(t, m.Recover(), []error{fs.ErrInvalid}, "not unrecoverable")
	noError(t, m.Consistent())
	noError(t, m.Unlock())
	wantError(t, m.Unlock(), []error{shmsync.ErrNotOwner})
	noError(t, other.TryLock())
	noError(t, other.Unlock())
}

// However the owner ends, the next one gets the mutex, is told, and what follows
// is up to him.
func TestOwnerDied(t *testing.T) {
	ways := map[string]func(p *servant){
		"SIGKILL":            func(p *servant) { p.Kill() },
		"exit":               func(p *servant) { p.Send("exit") },
		"exec":               func(p *servant) { p.Send("exec") },
		"close":              func(p *servant) { p.Send("close") },
		"forked child lives": func(p *servant) { p.fork(); p.Signal(syscall.SIGKILL) },
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSegment(t)
			m := mutexAt(t, s, 0)
			p := serve(t, nil, s)
			p.do("lock", "ok")
			if st, err := m.Status(); err != nil || !st.Locked || st.Holder.PID != p.PID() || !st.Holder.Here || st.Holder.Gone {
				t.Errorf("status %+v, %v", st, err)
			}
			done := make(chan error)
			go func() { done <- m.Lock(background) }()
			end(p)
			wantError(t, <-done, []error{shmsync.ErrOwnerDied}, "lock mutex at offset 0", "repair", "Consistent")
			if st, err := m.Status(); err != nil || !st.Locked || !st.Inconsistent || st.Holder.PID != os.Getpid() {
				t.Errorf("status %+v, %v", st, err)
			}
			noError(t, m.Consistent())
			noError(t, m.Unlock())
			noError(t, m.Lock(background))
			noError(t, m.Unlock())
		})
	}
}

// clocks is of a process in a time namespace.
func clocks(c proctest.Clocks) *proctest.Config {
	return &proctest.Config{Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWTIME, Clocks: c}
}

// Processes whose clocks have nothing in common wait for each other until the times that
// their contexts say, and hear of each other's deaths.
func TestOtherClocks(t *testing.T) {
	ahead, behind := clocks(proctest.Clocks{Monotonic: 24 * time.Hour, Boot: 36 * time.Hour}), clocks(proctest.ClocksAtZero(t))
	proctest.RequireNamespaces(t, ahead.Namespaces)
	for name, c := range map[string]struct{ owner, waiter *proctest.Config }{
		"owner ahead":                 {ahead, nil},
		"owner behind":                {behind, nil},
		"waiter ahead":                {nil, ahead},
		"waiter behind":               {nil, behind},
		"owner ahead, waiter behind":  {ahead, behind},
		"owner behind, waiter ahead":  {behind, ahead},
		"both ahead, each in his own": {ahead, ahead},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSegment(t)
			semaphoreAt(t, s, 4096, 1)
			owner, waiter := serve(t, c.owner, s), serve(t, c.waiter, s)
			owner.do("lock", "ok")
			owner.do("acquire", "ok")
			waiter.do("lock 20", "late")
			waiter.do("acquire 20", "late")
			waiter.do("await 20", "late")
			waiter.Send("await")
			owner.do("set", "ok")
			waiter.want("ok")

			// It waits, and is waked by the death; then what only the dead had is its own.
			m := mutexAt(t, s, 0)
			waiter.Send("lock")
			eventually(t, "it waits", func() bool { st, err := m.Status(); return err == nil && st.Waiters })
			owner.Kill()
			waiter.want("died")
			waiter.do("consistent", "ok")
			waiter.do("acquire", "ok")

			// Who lives is not taken for dead.
			next := serve(t, c.owner, s)
			next.do("trylock", "busy")
			next.do("tryacquire", "busy")
			waiter.do("release", "ok")
			waiter.do("unlock", "ok")
			next.do("lock", "ok")
			next.do("acquire", "ok")
		})
	}
}

// Several wait in several processes, in other namespaces too; one is told, and all
// go on.
func TestOwnerDiedWithManyWaiting(t *testing.T) {
	s := newSegment(t)
	owner := serve(t, nil, s)
	owner.do("lock", "ok")
	config := []*proctest.Config{nil, {AsNobody: true}, nil, {Env: []string{"GOMAXPROCS=1"}}}
	var waiters []*servant
	for _, c := range config {
		w := serve(t, c, s)
		w.Send("lock")
		waiters = append(waiters, w)
	}
	m := mutexAt(t, s, 0)
	eventually(t, "waiters", func() bool { st, err := m.Status(); return err == nil && st.Waiters })
	owner.Kill()
	answers := make(chan string, len(waiters))
	for _, w := range waiters {
		go func() {
			answer := w.Line()
			if answer == "died" {
				w.Send("consistent")
				w.Line()
			}
			w.Send("unlock")
			answers <- answer + " " + w.Line()
		}()
	}
	told := 0
	for range waiters {
		switch a := <-answers; a {
		case "died ok":
			told++
		case "ok ok":
		default:
			t.Errorf("a waiter says %q", a)
		}
	}
	if told != 1 {
		t.Errorf("%d waiters were told that the owner died; want 1", told)
	}
}

func TestUnrecoverable(t *testing.T) {
	s := newSegment(t)
	m := mutexAt(t, s, 0)
	other := serve(t, nil, s)
	// It says that it waits just before it sleeps, and may not sleep yet when it need not
	// any more.
	for round := range 20 {
		if round > 0 {
			other.do("recover", "ok")
			other.do("consistent", "ok")
			other.do("unlock", "ok")
		}
		p := serve(t, nil, s)
		p.do("lock", "ok")
		p.Kill()
		wantError(t, m.Lock(background), []error{shmsync.ErrOwnerDied})
		other.Send("lock")
		eventually(t, "a waiter", func() bool { st, err := m.Status(); return err == nil && st.Waiters })
		wantError(t, m.Unlock(), []error{shmsync.ErrUnrecoverable}, "Recover")
		other.want("unrecoverable")
	}
	other.do("late", "0") // it was waked
	other.do("trylock", "unrecoverable")
	wantError(t, m.Lock(background), []error{shmsync.ErrUnrecoverable}, "Recover")
	if st, err := m.Status(); err != nil || !st.Unrecoverable || st.Locked {
		t.Errorf("status %+v, %v", st, err)
	}
	other.do("recover", "ok")
	wantError(t, m.Recover(), []error{fs.ErrInvalid})
	wantError(t, m.TryLock(), []error{shmsync.ErrBusy})
	other.do("consistent", "ok")
	other.do("unlock", "ok")
	noError(t, m.Lock(background))
	noError(t, m.Unlock())
	// The one who recovers dies too.
	p := serve(t, nil, s)
	p.do("lock", "ok")
	p.Kill()
	other.do("lock", "died")
	other.do("unlock", "unrecoverable")
	other.do("recover", "ok")
	other.Kill()
	wantError(t, m.Lock(background), []error{shmsync.ErrOwnerDied})
	noError(t, m.Consistent())
	noError(t, m.Unlock())
}

func TestLockEndsWithItsContext(t *testing.T) {
	s := newSegment(t)
	m, holder := mutexAt(t, s, 0), mutexAt(t, reattach(t, s), 0)
	noError(t, holder.Lock(background))
	reason := errors.New("changed my mind")
	for range 100 {
		ctx, cancel := context.WithCancelCause(background)
		done := make(chan error)
		go func() { done <- m.Lock(ctx) }()
		go cancel(reason)
		wantError(t, <-done, []error{reason}, "lock")
	}
	p := serve(t, nil, s)
	p.do("lock 10", "late")
	noError(t, holder.Unlock())
	p.do("lock 10000", "ok")
	// One that has ended before takes what is free nevertheless, as package sync's
	// TryLock would.
	p.do("unlock", "ok")
	ctx, cancel := context.WithCancel(background)
	cancel()
	noError(t, m.Lock(ctx))
	wantError(t, holder.Lock(ctx), []error{context.Canceled})
	noError(t, m.Unlock())
}

// Close ends what is under way, and what comes later, with ErrClosed; what the
// process held goes to others.
func TestClose(t *testing.T) {
	for range 50 {
		s := newSegment(t)
		held := reattach(t, s)
		noError(t, mutexAt(t, held, 0).Lock(background))
		m, sem, e := mutexAt(t, s, 0), semaphoreAt(t, s, 4096, 0), eventAt(t, s, 8192, shmsync.Manual)
		var wg sync.WaitGroup
		for _, wait := range []func(context.Context) error{m.Lock, sem.Acquire, sem.Wait, e.Wait} {
			for range 3 {
				wg.Go(func() { wantError(t, wait(background), []error{shmsync.ErrClosed, os.ErrClosed}) })
			}
		}
		eventually(t, "waiters", func() bool {
			a, _ := m.Status()
			b, _ := sem.Status()
			c, _ := e.Status()
			return a.Waiters && b.Waiters && c.Waiters
		})
		noError(t, s.Close())
		wg.Wait()
		_, errAt := shmsync.MutexAt(s, 0)
		_, statusErr := m.Status()
		_, countErr := e.Count()
		for _, err := range []error{m.Lock(background), m.TryLock(), m.Unlock(), m.Consistent(), m.Recover(), sem.Post(1), sem.Release(), sem.TryWait(), e.Set(), e.Reset(), errAt, statusErr, countErr} {
			wantError(t, err, []error{shmsync.ErrClosed})
		}
		other := mutexAt(t, reattachPath(t, held), 0)
		go held.Close()
		wantError(t, other.Lock(background), []error{shmsync.ErrOwnerDied})
	}
}

func reattachPath(t testing.TB, s *segment.Segment) *segment.Segment { return reattach(t, s) }

// Lock and Unlock race with Close.
func TestCloseAmongCalls(t *testing.T) {
	for range 100 {
		s := newSegment(t)
		m, sem := mutexAt(t, s, 0), semaphoreAt(t, s, 4096, 1)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					if err := m.Lock(background); err != nil {
						wantError(t, err, []error{shmsync.ErrClosed})
						return
					}
					if err := m.Unlock(); err != nil {
						wantError(t, err, []error{shmsync.ErrClosed})
						return
					}
				}
			})
			wg.Go(func() {
				for {
					if err := sem.Acquire(background); err != nil {
						wantError(t, err, []error{shmsync.ErrClosed})
						return
					}
					if err := sem.Release(); err != nil {
						wantError(t, err, []error{shmsync.ErrClosed})
						return
					}
				}
			})
		}
		s.Close()
		wg.Wait()
	}
}

// A stopped owner keeps what it holds; nobody takes it, everybody can look, and
// waits end with their contexts.
func TestStoppedOwner(t *testing.T) {
	s := newSegment(t)
	m := mutexAt(t, s, 0)
	p := serve(t, nil, s)
	p.do("lock", "ok")
	noError(t, p.Signal(syscall.SIGSTOP))
	eventually(t, "stopped", func() bool { st, err := m.Status(); return err == nil && st.Holder.Stopped })
	st, err := m.Status()
	noError(t, err)
	if text := st.Holder.String(); !strings.Contains(text, "stopped") || st.Holder.Gone {
		t.Errorf("%+v is %q", st, text)
	}
	q := serve(t, nil, s)
	q.do("lock 50", "late")
	q.Send("lock")
	noError(t, p.Signal(syscall.SIGCONT))
	p.do("unlock", "ok")
	q.want("ok")
}

func TestForkedChild(t *testing.T) {
	s := newSegment(t)
	p := serve(t, nil, s)
	p.do("in-child", "forked")
	p.do("lock", "ok")
	p.do("unlock", "ok")
}

func TestNothingIsAllocated(t *testing.T) {
	s := newSegment(t)
	m, sem, e := mutexAt(t, s, 0), semaphoreAt(t, s, 4096, 2), eventAt(t, s, 8192, shmsync.Automatic)
	busy := mutexAt(t, s, 128)
	noError(t, busy.Lock(background))
	for name, f := range map[string]func() error{
		"lock":    func() error { return errors.Join(m.Lock(background), m.Unlock()) },
		"try":     func() error { return errors.Join(m.TryLock(), m.Unlock()) },
		"acquire": func() error { return errors.Join(sem.Acquire(background), sem.Release()) },
		"wait":    func() error { return errors.Join(sem.Wait(background), sem.Post(1)) },
		"event":   func() error { return errors.Join(e.Set(), e.Wait(background)) },
		"busy": func() error {
			if errors.Is(busy.TryLock(), shmsync.ErrBusy) {
				return nil
			}
			return errors.New("not busy")
		},
	} {
		noError(t, f())
		if n := testing.AllocsPerRun(1000, func() { f() }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
