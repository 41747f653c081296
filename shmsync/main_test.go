package shmsync_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // helpers run as other users, from files made here
	proctest.Main(m, map[string]proctest.Helper{
		"obey":     obey,
		"count":    countUp,
		"scribble": scribble,
		"names":    addNames,
		"acquire":  acquireAndDie,
		"pass":     passOn,
		"idle":     idle,
		"sleep":    sleep,
	})
}

var background = context.Background()

// size is that of the segments here: something before the area.
const size = 1 << 20

// folder returns a folder on a tmpfs if there is one, which others may use too.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newSegment makes a segment that helpers can attach to as any user.
func newSegment(t testing.TB) *segment.Segment {
	t.Helper()
	s, err := segment.Create("s", size, &segment.Config{Folder: folder(t), Mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func attach(path string) (*segment.Segment, error) {
	return segment.Attach(filepath.Base(path), &segment.Config{Folder: filepath.Dir(path), Owners: []int{0, proctest.Nobody}})
}

// reattach is another membership of this very process.
func reattach(t testing.TB, s *segment.Segment) *segment.Segment {
	t.Helper()
	other, err := attach(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return other
}

func mutexAt(t testing.TB, s *segment.Segment, offset int) *shmsync.Mutex {
	t.Helper()
	m, err := shmsync.MutexAt(s, offset)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func semaphoreAt(t testing.TB, s *segment.Segment, offset, permits int) *shmsync.Semaphore {
	t.Helper()
	sem, err := shmsync.SemaphoreAt(s, offset)
	if err == nil {
		err = sem.Post(permits)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sem
}

func eventAt(t testing.TB, s *segment.Segment, offset int, kind shmsync.EventKind) *shmsync.Event {
	t.Helper()
	e, err := shmsync.EventAt(s, offset, kind)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// words are the results of operations as helpers say them.
var words = []struct {
	word string
	err  error
}{
	{"ok", nil}, {"died", shmsync.ErrOwnerDied}, {"unrecoverable", shmsync.ErrUnrecoverable}, {"busy", shmsync.ErrBusy},
	{"not-owner", shmsync.ErrNotOwner}, {"not-held", shmsync.ErrNotHeld}, {"closed", shmsync.ErrClosed}, {"forked", shmsync.ErrForked},
	{"kind", shmsync.ErrKind}, {"corrupt", shmsync.ErrCorrupt}, {"canceled", context.Canceled}, {"late", context.DeadlineExceeded},
	{"gone", mmap.ErrFault}, {"too-many", shmsync.ErrTooMany}, {"full", shmsync.ErrFull},
}

func wordFor(err error) string {
	for _, w := range words {
		if errors.Is(err, w.err) {
			return w.word
		}
	}
	return "error: " + err.Error()
}

// obey does with the primitives of segment args[0] what its input says, a line an
// operation: the mutex is at 0, the semaphore at 4096, a manual event at 8192, an
// automatic one at 12288. It answers each with a word.
func obey(args []string) error {
	s, err := attach(args[0])
	if err != nil {
		return err
	}
	m, err := shmsync.MutexAt(s, 0)
	if err != nil {
		return err
	}
	sem, err := shmsync.SemaphoreAt(s, 4096)
	if err != nil {
		return err
	}
	manual, err := shmsync.EventAt(s, 8192, shmsync.Manual)
	if err != nil {
		return err
	}
	auto, err := shmsync.EventAt(s, 12288, shmsync.Automatic)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		op, rest, _ := strings.Cut(in.Text(), " ")
		n, _ := strconv.Atoi(rest)
		ctx := deadline(n)
		switch op {
		case "lock":
			err = m.Lock(ctx)
		case "trylock":
			err = m.TryLock()
		case "unlock":
			err = m.Unlock()
		case "consistent":
			err = m.Consistent()
		case "recover":
			err = m.Recover()
		case "acquire":
			err = sem.Acquire(ctx)
		case "tryacquire":
			err = sem.TryAcquire()
		case "release":
			err = sem.Release()
		case "post":
			err = sem.Post(max(n, 1))
		case "wait":
			err = sem.Wait(ctx)
		case "set":
			err = manual.Set()
		case "reset":
			err = manual.Reset()
		case "await":
			err = manual.Wait(ctx)
		case "signal":
			err = auto.Set()
		case "take":
			err = auto.Wait(ctx)
		case "close":
			err = s.Close()
		case "truncate":
			err = os.Truncate(args[0], int64(n))
		case "exec":
			return proctest.Exec("sleep")
		case "exit":
			os.Exit(0)
		case "fork":
			pid, err := proctest.Fork()
			if err != nil {
				return err
			}
			fmt.Println(pid)
			continue
		case "late": // waits that only the backstop ended
			fmt.Println(wait.Late.Load())
			continue
		case "in-child":
			err = inChild(m)
		default:
			return fmt.Errorf("no operation is called %q", op)
		}
		fmt.Println(wordFor(err))
	}
	return nil
}

// deadline returns a context that ends after so many milliseconds; 0: never.
func deadline(milliseconds int) context.Context {
	if milliseconds == 0 {
		return background
	}
	ctx, cancel := context.WithCancelCause(background)
	time.AfterFunc(time.Duration(milliseconds)*time.Millisecond, func() { cancel(context.DeadlineExceeded) })
	return ctx
}

func sleep([]string) error {
	fmt.Println("another program")
	return proctest.Hang()
}

// inChild returns what TryLock returns in a forked child.
func inChild(m *shmsync.Mutex) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	pid, err := proctest.ForkAndTell(int(w.Fd()), func() byte {
		if errors.Is(m.TryLock(), shmsync.ErrForked) {
			return 'f'
		}
		return '-'
	})
	if err != nil {
		return err
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	b := make([]byte, 1)
	if _, err := r.Read(b); err != nil {
		return err
	}
	if b[0] == 'f' {
		return shmsync.ErrForked
	}
	return nil
}

// servant is a helper that obeys.
type servant struct {
	*proctest.Process
	t testing.TB
}

func serve(t testing.TB, c *proctest.Config, s *segment.Segment) *servant {
	t.Helper()
	p := &servant{proctest.Start(t, c, "obey", s.Path()), t}
	p.want("ready")
	return p
}

// do has the servant do something and wants the answer.
func (p *servant) do(op, want string) {
	p.t.Helper()
	p.Send(op)
	p.want(want)
}

// fork has the servant fork a child that does not end with it.
func (p *servant) fork() {
	p.t.Helper()
	p.Send("fork")
	pid, err := strconv.Atoi(p.Line())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
}

func (p *servant) want(want string) {
	p.t.Helper()
	if got := p.Line(); got != want {
		p.t.Fatalf("answer %q; want %q", got, want)
	}
}

// wantError checks that err matches every target and says every word.
func wantError(t testing.TB, err error, targets []error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v", targets)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %q is not %q", err, target)
		}
	}
	var e *shmsync.Error
	if !errors.As(err, &e) {
		t.Errorf("error %q is a %T; want *shmsync.Error", err, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, which is looked at again and again.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
