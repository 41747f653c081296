package wait

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/word"
	"github.com/memlane/memlane/mmap"
)

var background = context.Background()

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{
		"budget": budget,
		"pong":   pong,
		"sleep":  sleep,
		"thieve": thieve,

		"sandboxed": sandboxed,
	})
}

// words maps the file's first n words.
func words(path string, n int, prot mmap.Prot) ([]word.Uint32, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := mmap.Map(f, 4096, prot, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	return mmap.SliceOf[word.Uint32](m, 0, n)
}

func sharedWords(t testing.TB, n int) (path string, list []word.Uint32) {
	t.Helper()
	path = t.TempDir() + "/words"
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := words(path, n, mmap.Read|mmap.Write)
	if err != nil {
		t.Fatal(err)
	}
	return path, list
}

// until parks until the word is want.
func until(ctx context.Context, w *word.Uint32, want uint32) error {
	for seen := w.Load(); seen != want; seen = w.Load() {
		if err := Park(ctx, w, seen, nil, 0); err != nil {
			return err
		}
	}
	return nil
}

const rounds = 3000

// pong answers each number in word 0 with the same in word 1.
func pong(args []string) error {
	w, err := words(args[0], 2, mmap.Read|mmap.Write)
	if err != nil {
		return err
	}
	for i := range uint32(rounds) {
		if err := until(background, &w[0], i+1); err != nil {
			return err
		}
		w[1].Store(i + 1)
		Wake(&w[1], All)
	}
	fmt.Println(Late.Load())
	return nil
}

// Two processes hand a number to and fro, both asleep in between, and none of
// the wakes is lost: a lost one would show as a sleep that Recheck ended.
func TestTwoProcessesWakeEachOther(t *testing.T) { wakeEachOther(t, nil) }

func TestTwoArchitecturesWakeEachOther(t *testing.T) {
	wakeEachOther(t, proctest.OtherArchitecture(t))
}

func wakeEachOther(t *testing.T, c *proctest.Config) {
	t.Helper()
	for name, ctx := range contexts(t) {
		t.Run(name, func(t *testing.T) {
			path, w := sharedWords(t, 2)
			p := proctest.Start(t, c, "pong", path)
			before := Late.Load()
			for i := range uint32(rounds) {
				w[0].Store(i + 1)
				Wake(&w[0], All)
				if err := until(ctx, &w[1], i+1); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					before = Late.Load() // the other had to start first
				}
			}
			theirs, err := strconv.Atoi(p.Line())
			if err != nil {
				t.Fatal(err)
			}
			// A machine that stops for a second can cause one too; a wake that
			// is lost now and then in so many rounds causes many.
			if lost := int(Late.Load()-before) + theirs; lost > 2 {
				t.Errorf("%d sleeps were ended by the clock and not by a wake", lost)
			}
		})
	}
}

// contexts are one that never ends, and one that could.
func contexts(t testing.TB) map[string]context.Context {
	ctx, cancel := context.WithCancel(background)
	t.Cleanup(cancel)
	return map[string]context.Context{"background": background, "cancellable": ctx}
}

// withoutSeats has all waiters share threads while a test runs.
func withoutSeats(t testing.TB) {
	for taken.Load() != 0 {
		runtime.Gosched()
	}
	taken.Store(^uint64(0))
	t.Cleanup(func() { taken.Store(0) })
}

func TestSharedThreadsWakeToo(t *testing.T) {
	withoutSeats(t)
	path, w := sharedWords(t, 2)
	p := proctest.Start(t, nil, "pong", path)
	for i := range uint32(rounds) {
		w[0].Store(i + 1)
		Wake(&w[0], All)
		if err := until(background, &w[1], i+1); err != nil {
			t.Fatal(err)
		}
	}
	p.Line()
}

// A thread that sleeps for one takes another in.
func TestSharedThreadTakesAnotherIn(t *testing.T) {
	withoutSeats(t)
	var first word.Uint32
	firstDone := make(chan error)
	go func() { firstDone <- until(background, &first, 1) }()
	for waiting() < seatsMax+1 {
		runtime.Gosched()
	}
	before := Late.Load()
	for range 50 {
		var w word.Uint32
		done := make(chan error)
		go func() { done <- until(background, &w, 1) }()
		for waiting() < seatsMax+2 {
			runtime.Gosched()
		}
		w.Store(1)
		Wake(&w, 1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if n := Late.Load() - before; n > 1 {
		t.Errorf("%d of 50 were waked by the backstop alone", n)
	}
	first.Store(1)
	Wake(&first, 1)
	<-firstDone
}

func TestParkLooksBeforeItSleeps(t *testing.T) {
	var w word.Uint32
	before := Late.Load()
	for range 1000 {
		if err := Park(background, &w, 1, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := Late.Load() - before; n > 0 {
		t.Errorf("slept %d times on a word that is another", n)
	}
	if n := testing.AllocsPerRun(100, func() { Park(background, &w, 1, nil, 0) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCancel(t *testing.T) {
	for _, way := range []string{"own thread", "shared thread"} {
		t.Run(way, func(t *testing.T) {
			if way == "shared thread" {
				withoutSeats(t)
			}
			var w word.Uint32
			reason := errors.New("changed my mind")
			for range 200 {
				ctx, cancel := context.WithCancelCause(background)
				done := make(chan error)
				go func() { done <- until(ctx, &w, 1) }()
				go cancel(reason)
				if err := <-done; err != reason {
					t.Fatalf("got %v", err)
				}
				if err := Park(ctx, &w, 0, nil, 0); err != reason {
					t.Fatalf("parked with a context that has ended: %v", err)
				}
			}
		})
	}
}

// A waiter that is cancelled when it has just been woken does not keep the wake
// from the other.
func TestCancelPassesTheWakeOn(t *testing.T) {
	for _, way := range []string{"own thread", "shared thread"} {
		t.Run(way, func(t *testing.T) {
			if way == "shared thread" {
				withoutSeats(t)
			}
			before := Late.Load()
			for range 300 {
				var w word.Uint32
				ctx, cancel := context.WithCancel(background)
				var wg sync.WaitGroup
				wg.Go(func() { until(ctx, &w, 1) })
				wg.Go(func() { until(background, &w, 1) })
				runtime.Gosched()
				w.Store(1)
				Wake(&w, 1)
				cancel()
				// One wake for two: who gets it and leaves, in either way, must
				// tell the other.
				wg.Go(func() { Wake(&w, 1) })
				wg.Wait()
			}
			if n := Late.Load() - before; n > 2 {
				t.Errorf("%d sleeps were ended by the clock", n)
			}
		})
	}
}

func threads(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var n int
		if _, err := fmt.Sscanf(line, "Threads: %d", &n); err == nil {
			return n
		}
	}
	t.Fatal("no thread count")
	return 0
}

// 10,000 goroutines that wait on 10,000 words are at most 200 threads; each is
// reached by its own word, and nothing remains of it afterwards.
func TestTenThousandWaiters(t *testing.T) {
	const n = 10_000
	list := make([]word.Uint32, n)
	var woken atomic.Int32
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() {
			if err := until(background, &list[i], 1); err != nil {
				t.Error(err)
			}
			woken.Add(1)
		})
	}
	for waiting() < n {
		runtime.Gosched()
	}
	if got := threads(t); got > 200 {
		t.Errorf("%d threads", got)
	}
	for i := range list {
		list[i].Store(1)
		Wake(&list[i], All)
	}
	wg.Wait()
	if woken.Load() != n {
		t.Errorf("%d of %d were woken", woken.Load(), n)
	}
	for remaining() > 0 {
		runtime.Gosched()
	}
}

// waiting returns how many goroutines are parked or about to be.
func waiting() int {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	sum := bits.OnesCount64(taken.Load())
	for _, t := range shared.threads {
		sum += len(t.waiters)
	}
	return sum
}

// remaining returns how many shared threads there are.
func remaining() int {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	return len(shared.threads)
}

// sleep waits in a process of its own until word 0 is 1.
func sleep(args []string) error {
	w, err := words(args[0], 1, mmap.Read)
	if err != nil {
		return err
	}
	fmt.Println("asleep soon")
	if err := until(background, &w[0], 1); err != nil {
		return err
	}
	fmt.Println("awake", Late.Load() > 0)
	return nil
}

// thieve moves those who sleep on word 0 to a word of its own, until it has got
// one. It may read only.
func thieve(args []string) error {
	w, err := words(args[0], 1, mmap.Read)
	if err != nil {
		return err
	}
	m, err := mmap.MapAnonymous(4096, mmap.Read|mmap.Write, mmap.Private, nil)
	if err != nil {
		return err
	}
	mine, err := mmap.At[word.Uint32](m, 0)
	if err != nil {
		return err
	}
	for proctest.Requeue(word.Raw(&w[0]), word.Raw(mine)) == 0 {
		runtime.Gosched()
	}
	fmt.Println("stolen")
	return nil
}

// A sleeper whose wake a third process has stolen looks again by itself.
func TestStolenWakeIsOnlyLate(t *testing.T) {
	path, w := sharedWords(t, 1)
	victim := proctest.Start(t, nil, "sleep", path)
	victim.Line()
	thief := proctest.Start(t, nil, "thieve", path)
	thief.Line()
	w[0].Store(1)
	if n := Wake(&w[0], All); n != 0 {
		t.Errorf("the wake found %d sleepers; it was to be stolen", n)
	}
	// It wakes through the backstop, and only so.
	if got := victim.Line(); got != "awake true" {
		t.Errorf("the victim says %q", got)
	}
}

func TestParkOnUnmappedMemory(t *testing.T) {
	m, err := mmap.MapAnonymous(4096, mmap.None, mmap.Private, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w, err := mmap.At[word.Uint32](m, 0)
	if err != nil {
		t.Fatal(err)
	}
	var parkErr *ParkError
	if err := Park(background, w, 0, nil, 0); !errors.As(err, &parkErr) || !bytes.Contains([]byte(err.Error()), []byte("must be mapped")) {
		t.Errorf("got %v", err)
	}
}

// A bell ends the waits that were told of it, before they sleep or later, of both
// kinds, and no others.
func TestBell(t *testing.T) {
	for _, way := range []string{"own thread", "shared thread"} {
		t.Run(way, func(t *testing.T) {
			if way == "shared thread" {
				withoutSeats(t)
			}
			var w word.Uint32
			var bell, other Bell
			late := Late.Load()
			for range 300 {
				rung := bell.Rung()
				done := make(chan error, 3)
				for range cap(done) {
					go func() { done <- Park(background, &w, 0, &bell, rung) }()
				}
				runtime.Gosched()
				other.Ring()
				bell.Ring()
				for range cap(done) {
					if err := <-done; err != nil {
						t.Fatal(err)
					}
				}
			}
			if n := Late.Load() - late; n > 0 {
				t.Errorf("%d waits were ended by the backstop", n)
			}
			rung := bell.Rung()
			stays := make(chan error, 1)
			go func() { stays <- Park(background, &w, 0, &bell, rung) }()
			for way == "own thread" && taken.Load() == 0 {
				runtime.Gosched()
			}
			other.Ring()
			select {
			case err := <-stays:
				t.Errorf("another bell ended the wait: %v", err)
			default:
			}
			bell.Ring()
			<-stays
		})
	}
}

// Cancelling a wait leaves the sleepers of other processes asleep: theirs have
// another bit, or look and sleep again.
func TestCancelEndsOneOfMany(t *testing.T) {
	var w word.Uint32
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if err := until(background, &w, 1); err != nil {
				t.Error(err)
			}
		})
	}
	for bits.OnesCount64(taken.Load()) < 40 {
		runtime.Gosched()
	}
	for range 100 {
		ctx, cancel := context.WithCancel(background)
		done := make(chan error)
		go func() { done <- until(ctx, &w, 1) }()
		go cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	w.Store(1)
	Wake(&w, All)
	wg.Wait()
}

// sandboxed forbids itself futex_waitv and waits on more words than there are
// seats.
func sandboxed([]string) error {
	if err := proctest.Forbid(449); err != nil { // futex_waitv
		return err
	}
	if _, _, errno := syscall.RawSyscall6(449, 0, 0, 0, 0, 0, 0); errno != syscall.EPERM {
		return fmt.Errorf("futex_waitv is not forbidden: %v", errno)
	}
	// Again and again, as their thread is not asleep at once.
	for range 30 {
		list := make([]word.Uint32, seatsMax+10)
		var wg sync.WaitGroup
		for i := range list {
			wg.Go(func() { until(background, &list[i], 1) })
		}
		for waiting() < len(list) {
			runtime.Gosched()
		}
		for i := range list {
			list[i].Store(1)
			Wake(&list[i], All)
		}
		wg.Wait()
	}
	fmt.Println("all awake", Late.Load())
	return nil
}

func TestSandboxWithoutFutexWaitv(t *testing.T) {
	if got := proctest.Run(t, nil, "sandboxed"); got != "all awake 0" {
		t.Errorf("got %q", got)
	}
}

func BenchmarkHandOff(b *testing.B) {
	for name, ctx := range contexts(b) {
		b.Run(name, func(b *testing.B) {
			var w [2]word.Uint32
			go func() {
				for i := range uint32(b.N) {
					until(background, &w[0], i+1)
					w[1].Store(i + 1)
					Wake(&w[1], 1)
				}
			}()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range uint32(b.N) {
				w[0].Store(i + 1)
				Wake(&w[0], 1)
				until(ctx, &w[1], i+1)
			}
		})
	}
}
