package shmsync_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

func wantPermits(t *testing.T, sem *shmsync.Semaphore, free int, held ...int) {
	t.Helper()
	st, err := sem.Status()
	noError(t, err)
	var holders []int
	for _, h := range st.Holders {
		holders = append(holders, h.Permits)
	}
	if st.Permits != free || fmt.Sprint(holders) != fmt.Sprint(held) {
		t.Errorf("%d permits are free, and %v held; want %d and %v", st.Permits, holders, free, held)
	}
}

func TestSemaphore(t *testing.T) {
	s := newSegment(t)
	sem := semaphoreAt(t, s, 4096, 2)
	p := serve(t, nil, s)
	p.do("acquire", "ok")
	noError(t, sem.Acquire(background))
	wantError(t, sem.TryAcquire(), []error{shmsync.ErrBusy}, "acquire semaphore at offset 4096")
	wantError(t, sem.TryWait(), []error{shmsync.ErrBusy})
	p.do("acquire 10", "late")
	wantPermits(t, sem, 0, 1, 1)
	noError(t, sem.Release())
	wantError(t, sem.Release(), []error{shmsync.ErrNotHeld}, "release", "acquire it first")
	p.do("release", "ok")
	p.do("release", "not-held")
	wantPermits(t, sem, 2)
	// As a signal: nobody holds anything.
	p.Send("wait")
	p.want("ok")
	p.do("wait", "ok")
	p.Send("wait")
	noError(t, sem.Post(1))
	p.want("ok")
	wantPermits(t, sem, 0)
	p.do("release", "not-held")
	wantError(t, sem.Post(shmsync.MaxPermits+1), []error{shmsync.ErrTooMany}, "it can have 1048575")
	wantError(t, sem.Post(-1), []error{fs.ErrInvalid}, "-1 permits are fewer than none")
	noError(t, sem.Post(shmsync.MaxPermits))
	wantError(t, sem.Post(1), []error{shmsync.ErrTooMany})
	noError(t, sem.Acquire(background))
	noError(t, sem.Post(1))
	wantError(t, sem.Release(), []error{shmsync.ErrTooMany})
	noError(t, sem.Wait(background))
	noError(t, sem.Release())
}

// A process holds so many and no more.
func TestPermitsOfAProcess(t *testing.T) {
	s := newSegment(t)
	sem := semaphoreAt(t, s, 4096, 70_000)
	for range 65_535 {
		noError(t, sem.TryAcquire())
	}
	wantError(t, sem.TryAcquire(), []error{shmsync.ErrTooMany}, "release some")
	wantError(t, sem.Acquire(background), []error{shmsync.ErrTooMany})
	wantPermits(t, sem, 70_000-65_535, 65_535)
	for range 65_535 {
		noError(t, sem.Release())
	}
	wantPermits(t, sem, 70_000)
}

// Permits of a process that ends, however, are free again, and not those it has
// taken for good.
func TestPermitsOfTheDead(t *testing.T) {
	for name, end := range map[string]func(p *servant){
		"SIGKILL":            func(p *servant) { p.Kill() },
		"exit":               func(p *servant) { p.Send("exit") },
		"exec":               func(p *servant) { p.Send("exec") },
		"close":              func(p *servant) { p.Send("close") },
		"forked child lives": func(p *servant) { p.fork(); p.Signal(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSegment(t)
			sem := semaphoreAt(t, s, 4096, 4)
			p := serve(t, nil, s)
			for range 3 {
				p.do("acquire", "ok")
			}
			p.do("wait", "ok")
			waiting := make(chan error)
			for range 3 {
				go func() { waiting <- sem.Acquire(background) }()
			}
			q := serve(t, &proctest.Config{AsNobody: true}, s)
			eventually(t, "waiters", func() bool { st, err := sem.Status(); return err == nil && st.Waiters })
			end(p)
			for range 3 {
				noError(t, <-waiting)
			}
			wantPermits(t, sem, 0, 3)
			q.do("tryacquire", "busy")
			for range 3 {
				noError(t, sem.Release())
			}
			wantPermits(t, sem, 3)
		})
	}
}

// acquireAndDie takes a permit of the semaphore at 4096 and ends in the middle of
// taking another and giving it back, for ever.
func acquireAndDie(args []string) error {
	s, err := attach(args[0])
	if err != nil {
		return err
	}
	sem, err := shmsync.SemaphoreAt(s, 4096)
	if err != nil {
		return err
	}
	if err := sem.Acquire(background); err != nil {
		return err
	}
	fmt.Println("acquired")
	for {
		if err := sem.Acquire(background); err != nil {
			return err
		}
		if err := sem.Release(); err != nil {
			return err
		}
	}
}

// So many processes die that each place of the members has had several: none takes
// permits with it, and none gets those of another.
func TestManyDeaths(t *testing.T) {
	s := newSegment(t)
	sem := semaphoreAt(t, s, 4096, 12)
	deaths := 600
	if testing.Short() {
		deaths = 100
	}
	for range deaths / 4 {
		var all []*proctest.Process
		for range 4 {
			p := proctest.Start(t, nil, "acquire", s.Path())
			all = append(all, p)
		}
		for _, p := range all {
			p.Line()
			p.Kill()
		}
	}
	// Whoever wants all of them gets all of them.
	for range 12 {
		noError(t, sem.Acquire(background))
	}
	wantPermits(t, sem, 0, 12)
	wantError(t, sem.TryAcquire(), []error{shmsync.ErrBusy})
}

// passOn waits for a permit of its own semaphore, counts, and posts the next one's.
func passOn(args []string) error {
	s, err := attach(args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return pass(s, args[1] == "1", 5000)
}

func pass(s *segment.Segment, other bool, n int) error {
	mine, its := 4096, 8192
	if other {
		mine, its = its, mine
	}
	a, err := shmsync.SemaphoreAt(s, mine)
	if err != nil {
		return err
	}
	b, err := shmsync.SemaphoreAt(s, its)
	if err != nil {
		return err
	}
	counter, err := mmap.At[uint64](s.Mapping, 0)
	if err != nil {
		return err
	}
	for range n {
		if err := a.Wait(background); err != nil {
			return err
		}
		*counter++
		if err := b.Post(1); err != nil {
			return err
		}
	}
	return nil
}

// Two processes pass a permit to and fro; what is written before Post is seen
// after Wait.
func TestPassOn(t *testing.T) {
	for name, c := range map[string]*proctest.Config{"two processors": nil, "one": {Env: []string{"GOMAXPROCS=1"}}} {
		t.Run(name, func(t *testing.T) {
			s := newSegment(t)
			p := proctest.Start(t, c, "pass", s.Path(), "1")
			p.Line()
			semaphoreAt(t, s, 4096, 1)
			noError(t, pass(s, false, 5000))
			noError(t, p.Wait())
			counter, err := mmap.At[uint64](s.Mapping, 0)
			noError(t, err)
			if *counter != 10_000 {
				t.Errorf("counted to %d", *counter)
			}
		})
	}
}

// No more than there are permits are inside at once, of goroutines of several
// memberships.
func TestPermitsBound(t *testing.T) {
	s := newSegment(t)
	semaphoreAt(t, s, 4096, 3)
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		sem := semaphoreAt(t, reattach(t, s), 4096, 0)
		for range 3 {
			wg.Go(func() {
				for range 500 {
					noError(t, sem.Acquire(background))
					n := inside.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					inside.Add(-1)
					noError(t, sem.Release())
				}
			})
		}
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d were inside at once", most.Load())
	}
	wantPermits(t, semaphoreAt(t, s, 4096, 0), 3)
}

func TestEvent(t *testing.T) {
	s := newSegment(t)
	manual, auto := eventAt(t, s, 8192, shmsync.Manual), eventAt(t, s, 12288, shmsync.Automatic)
	p, q := serve(t, nil, s), serve(t, &proctest.Config{AsNobody: true}, s)
	p.do("await 10", "late")
	p.Send("await")
	q.Send("await")
	eventually(t, "waiters", func() bool { st, err := manual.Status(); return err == nil && st.Waiters })
	noError(t, manual.Set())
	p.want("ok")
	q.want("ok")
	p.do("await", "ok") // it stays set
	p.do("reset", "ok")
	p.do("await 10", "late")
	if set, err := manual.TryWait(); err != nil || set {
		t.Errorf("set %v, %v", set, err)
	}

	noError(t, auto.Set())
	noError(t, auto.Set()) // twice is once
	p.do("take", "ok")
	p.do("take 10", "late")
	p.Send("take")
	q.Send("take")
	mine := make(chan error)
	go func() { mine <- auto.Wait(background) }()
	for range 3 { // each lets one go
		noError(t, auto.Set())
		eventually(t, "taken", func() bool { st, err := auto.Status(); return err == nil && !st.Set })
	}
	noError(t, <-mine)
	p.want("ok")
	q.want("ok")
}

// A manual event that is set and reset at once lets all go who waited.
func TestPulse(t *testing.T) {
	s := newSegment(t)
	e := eventAt(t, s, 8192, shmsync.Manual)
	for range 300 {
		before, err := e.Count()
		noError(t, err)
		done := make(chan error)
		for range 4 {
			go func() {
				_, err := e.WaitAfter(background, before)
				done <- err
			}()
			go func() { done <- e.Wait(background) }()
		}
		go func() {
			for range 4 { // those who come later need a later one
				e.Set()
				e.Reset()
			}
			e.Set()
		}()
		for range 8 {
			noError(t, <-done)
		}
		noError(t, e.Reset())
	}
}

// Who follows an event misses nothing between a look and a wait.
func TestWaitAfter(t *testing.T) {
	s := newSegment(t)
	e := eventAt(t, s, 8192, shmsync.Manual)
	other := eventAt(t, reattach(t, s), 8192, shmsync.Manual)
	value, err := mmap.At[atomic.Uint32](s.Mapping, 0)
	noError(t, err)
	const last = 20_000
	go func() {
		for i := range uint32(last) {
			value.Store(i + 1)
			other.Set()
		}
	}()
	seen, err := e.Count()
	for ; err == nil && value.Load() != last; seen, err = e.WaitAfter(background, seen) {
	}
	noError(t, err)
}

// idle waits for the mutex at 0, which somebody holds, in many goroutines, and for
// the semaphores behind it.
func idle(args []string) error {
	s, err := attach(args[0])
	if err != nil {
		return err
	}
	m, err := shmsync.MutexAt(s, 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	var wg sync.WaitGroup
	var begun atomic.Int32
	for range 10_000 {
		wg.Go(func() { begun.Add(1); m.Lock(ctx) })
	}
	for i := range 100 {
		sem, err := shmsync.SemaphoreAt(s, 4096+i*shmsync.SemaphoreBytes)
		if err != nil {
			return err
		}
		for range 10 {
			wg.Go(func() { begun.Add(1); sem.Acquire(ctx) })
		}
	}
	for begun.Load() < 11_000 {
	}
	fmt.Println(threadsOf(os.Getpid()))
	cancel()
	wg.Wait()
	fmt.Println("done")
	return nil
}

func threadsOf(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return -1
	}
	return len(entries)
}

// No thread grows with waiters.
func TestThreads(t *testing.T) {
	s := newSegment(t)
	noError(t, mutexAt(t, s, 0).Lock(background))
	p := proctest.Start(t, nil, "idle", s.Path())
	var n int
	if _, err := fmt.Sscan(p.Line(), &n); err != nil {
		t.Fatal(err)
	}
	if n > 200 {
		t.Errorf("%d threads for 11,000 waiters", n)
	}
	if line := p.Line(); line != "done" {
		t.Error(line)
	}
}
