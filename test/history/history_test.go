package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

const (
	// histories of each kind of primitive; in two of three a process is killed.
	histories = 36
	stride    = 4096 // between the primitives of two histories
)

func TestMutexHistories(t *testing.T) {
	check(t, "mutex", mutexModel.checker(), "Lock → ok", "Lock → owner died", "Lock → late", "TryLock → ok", "TryLock → busy",
		"Unlock → ok", "Unlock → unrecoverable", "Unlock → not owner", "Recover → ok", "Recover → invalid", "Consistent → ok", "Consistent → not owner", "die")
}

func TestSemaphoreHistories(t *testing.T) {
	check(t, "semaphore", semaphoreModel.checker(), "Acquire → ok", "Acquire → late", "TryAcquire → ok", "TryAcquire → busy", "Release → ok", "Release → not held",
		"Post → ok", "Wait → ok", "Wait → late", "TryWait → ok", "TryWait → busy", "die")
}

func TestManualEventHistories(t *testing.T) {
	check(t, "manual", eventModel(false).checker(), "Set → ok", "Reset → ok", "Wait → ok", "Wait → late", "TryWait → ok", "TryWait → no", "Count → ok", "WaitAfter → ok", "WaitAfter → late", "die")
}

func TestAutomaticEventHistories(t *testing.T) {
	check(t, "automatic", eventModel(true).checker(), "Set → ok", "Reset → ok", "Wait → ok", "Wait → late", "TryWait → ok", "TryWait → no", "Count → ok", "die")
}

// check checks histories of processes that have all in common, and of processes of
// which two have namespaces of their own. All of these answers must have come up:
// what never happens is not checked.
func check(t *testing.T, what string, model porcupine.Model, answers ...string) {
	t.Run("same namespaces", func(t *testing.T) {
		wantSeen(t, checkIn(t, 0, what, model), answers...)
	})
	t.Run("other namespaces", func(t *testing.T) {
		const namespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID
		proctest.RequireNamespaces(t, namespaces)
		wantSeen(t, checkIn(t, namespaces, what, model), answers...)
	})
}

func wantSeen(t *testing.T, seen map[string]int, answers ...string) {
	t.Helper()
	for _, a := range answers {
		if seen[a] == 0 {
			t.Errorf("no operation ended as %q: %v", a, seen)
		}
	}
}

// checkIn has processes make histories of one kind of primitive, and checks each.
// Two of them are started in the namespaces. It returns how many operations ended in
// which way.
func checkIn(t *testing.T, namespaces uintptr, what string, model porcupine.Model) (seen map[string]int) {
	t.Helper()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := newConductor(t, namespaces, what)
	seen = map[string]int{}
	operations := 0
	for n := range uint32(histories) {
		victim, after := -1, 0
		if n%3 > 0 {
			victim, after = rnd.IntN(processes), 1+rnd.IntN(recordsMax/2)
		}
		history := c.play(n, rnd.Uint64(), victim, after)
		operations += len(history)
		for _, o := range history {
			c, r := o.Input.(call), o.Output.(reply)
			if c.op == die {
				seen["die"]++
			} else {
				seen[fmt.Sprintf("%v → %v", c.op, r.answer)]++
			}
		}
		if result := verdict(model, history); result != porcupine.Ok {
			t.Fatalf("history %d of seed %d is %v:\n%s", n, seed, result, text(history))
		}
	}
	t.Logf("%d histories of %d operations: %v", histories, operations, seen)
	return seen
}

// verdict checks a history. They are so short that the checker always decides; if
// it does not, that is a failure too.
func verdict(model porcupine.Model, history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, history, 20*time.Second)
}

// text is a history as a person reads it, in the order in which its operations
// began.
func text(history []porcupine.Operation) string {
	history = slices.Clone(history)
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range history {
		end := fmt.Sprint((o.Return - history[0].Call) / 1000)
		if o.Return == math.MaxInt64 {
			end = "…"
		}
		fmt.Fprintf(&b, "%8d to %8s µs: %s\n", (o.Call-history[0].Call)/1000, end, describe(o.Input.(call), o.Output.(reply)))
	}
	return b.String()
}

// A conductor has the processes that make histories.
type conductor struct {
	t          *testing.T
	namespaces uintptr // of two performers
	what       string
	path       string // of the segment
	book       *logbook
	bookPath   string
	performers [processes]*proctest.Process
}

func newConductor(t *testing.T, namespaces uintptr, what string) *conductor {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := segment.Create("s", histories*stride+shmsync.AreaBytes, &segment.Config{Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := &conductor{t: t, namespaces: namespaces, what: what, path: s.Path(), bookPath: filepath.Join(dir, "logbook")}
	if c.book, err = openLogbook(c.bookPath); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.book.Close() })
	c.book.start.Store(victimDead - 1) // no history's number
	for i := range processes {
		c.start(i)
	}
	return c
}

// start starts a performer.
func (c *conductor) start(i int) {
	var config proctest.Config
	if i < 2 {
		config.Namespaces = c.namespaces
	}
	c.performers[i] = proctest.Start(c.t, &config, "perform", c.path, c.bookPath, fmt.Sprint(i))
}

// play makes history number n. A process that is the victim is killed when it has
// begun so many operations, and replaced.
func (c *conductor) play(n uint32, seed uint64, victim, after int) (history []porcupine.Operation) {
	c.t.Helper()
	clear(c.book.Bytes()[recordsAt:])
	for _, p := range c.performers {
		p.Send(fmt.Sprintf("%s %d %d %d %d", c.what, n*stride, n, seed, victim))
	}
	for _, p := range c.performers {
		want(c.t, p, "ready")
	}
	c.book.start.Store(n)
	if victim >= 0 {
		p := c.performers[victim]
		for end := time.Now().Add(30 * time.Second); c.book.of(victim)[after-1].done.Load() == 0; {
			if time.Now().After(end) {
				c.t.Fatalf("performer %d did not begin operation %d within 30 s", victim, after)
			}
		}
		// Every second one soon holds something.
		for end := time.Now().Add(5 * time.Millisecond); n%2 == 0 && !holds(c.book.of(victim)) && time.Now().Before(end); {
		}
		killed := c.book.moment()
		p.Signal(syscall.SIGKILL)
		p.Wait()
		history = append(history, porcupine.Operation{
			ClientId: processes, Input: call{victim, die, 0}, Output: reply{ok, 0}, Call: killed, Return: c.book.moment(),
		})
		c.book.start.Store(n + victimDead)
	}
	for i, p := range c.performers {
		if i != victim {
			want(c.t, p, "done")
		}
	}
	for i := range processes {
		history = append(history, operations(i, c.book.of(i))...)
	}
	if victim >= 0 {
		c.start(victim)
	}
	return history
}

// holds says whether the last that a process did was to take something.
func holds(records []record) bool {
	last := &records[0]
	for i := range records {
		if records[i].done.Load() != 0 {
			last = &records[i]
		}
	}
	return last.done.Load() == ended && (last.answer == ok || last.answer == ownerDied) && slices.Contains([]op{lock, tryLock, acquire, tryAcquire}, last.op)
}

func want(t *testing.T, p *proctest.Process, line string) {
	t.Helper()
	if got := p.Line(); got != line {
		t.Fatalf("a performer says %q; want %q", got, line)
	}
}

// operations returns the records of a process in the checker's terms. One that has
// not ended is open until the end of time.
func operations(process int, records []record) (all []porcupine.Operation) {
	for i := range records {
		r := &records[i]
		o := porcupine.Operation{ClientId: process, Input: call{process, r.op, r.arg}, Call: nanoseconds(r.begin)}
		switch r.done.Load() {
		case 0:
			return all
		case begun:
			o.Output, o.Return = reply{unknown, 0}, math.MaxInt64
		default:
			o.Output, o.Return = reply{r.answer, r.out}, nanoseconds(r.end)
		}
		all = append(all, o)
	}
	return all
}
