package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// eventually waits until something is so, which is looked at again and again.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// newSegment makes a segment of just the locks, and returns its path.
func newSegment(t *testing.T) (*segment.Segment, string) {
	t.Helper()
	folder := t.TempDir()
	s, err := segment.Create("locks", shmsync.AreaBytes, &segment.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, filepath.Join(folder, "locks")
}

func lookup(t *testing.T, s *segment.Segment, name string) shmsync.Info {
	t.Helper()
	info, err := shmsync.Lookup(s, name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// locked says whether somebody holds the mutex; without one of that name nobody does.
func locked(s *segment.Segment, name string) bool {
	info, err := shmsync.Lookup(s, name)
	return err == nil && info.Mutex != nil && info.Mutex.Locked
}

// run runs memlane to its end.
func run(t *testing.T, args ...string) (out, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(memlane, args...)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	overdue := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer overdue.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// want checks what memlane says and how it ends.
func want(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	out, stderr, got := run(t, args...)
	if got != code || !strings.Contains(out+stderr, says) {
		t.Errorf("memlane %q: code %d, want %d; it says %q %q, want %q", args, got, code, out, stderr, says)
	}
}

// catchInterrupt keeps processes that the test starts from ignoring SIGINT, as they
// do if the tests run in the background of a shell.
func catchInterrupt(t *testing.T) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
}

// The program and the script of the README use one segment, whichever is first.
func TestReadmeLocksOneSegment(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile(`segment\.CreateOrAttach\("(\w+)", 1<<(\d+), nil\)`).FindSubmatch(readme)
	script := regexp.MustCompile(`(?m)^memlane (sync lock (\w+):\w+ --size \S+ -- )`).FindSubmatch(readme)
	if program == nil || script == nil || string(program[1]) != string(script[2]) {
		t.Fatalf("the README has %q and %q", program, script)
	}
	bits, err := strconv.Atoi(string(program[2]))
	if err != nil {
		t.Fatal(err)
	}
	attach := func() {
		s, _, err := segment.CreateOrAttach(string(program[1]), 1<<bits, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	lock := func() { want(t, 0, "", append(strings.Fields(string(script[1])), "true")...) }
	for _, order := range [][]func(){{attach, lock}, {lock, attach}} {
		t.Setenv("MEMLANE_DIR", t.TempDir())
		for _, step := range order {
			step()
		}
	}
}

// A size that is not the expected one is no reason to remove what others use.
func TestSizeErrorAdvisesToAttach(t *testing.T) {
	_, path := newSegment(t)
	_, _, err := segment.CreateOrAttach(filepath.Base(path), 1<<20, &segment.Config{Folder: filepath.Dir(path)})
	if !errors.Is(err, segment.ErrSize) || !strings.Contains(err.Error(), "Attach takes it with the size that it has") || strings.Contains(err.Error(), "remove") {
		t.Error(err)
	}
}

func TestLockLetsOneInAtATime(t *testing.T) {
	_, path := newSegment(t)
	counter := filepath.Join(t.TempDir(), "counter")
	if err := os.WriteFile(counter, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				out, err := exec.Command(memlane, "sync", "lock", path+":count", "--", "sh", "-c", `n=$(cat "$1"); echo $((n+1)) >"$1"`, "sh", counter).CombinedOutput()
				if err != nil {
					t.Errorf("%v: %s", err, out)
				}
			}
		})
	}
	wg.Wait()
	if text, err := os.ReadFile(counter); err != nil || strings.TrimSpace(string(text)) != "100" {
		t.Errorf("counted to %q, %v; want 100", text, err)
	}
}

// The command must not go on without the lock. It would read until the test ends.
func TestCommandDiesWithItsLock(t *testing.T) {
	s, path := newSegment(t)
	holder := start(t, "sync", "lock", path+":m", "--", "sh", "-c", `echo $$; exec cat`)
	pid := holder.line(t)
	if ended(pid) || !locked(s, "m") {
		t.Fatalf("command %s does not run with the lock", pid)
	}
	holder.Process.Kill()
	eventually(t, "the command is dead", func() bool { return ended(pid) })
	want(t, 0, "died=1", "sync", "lock", path+":m", "--", "sh", "-c", "echo died=$MEMLANE_OWNER_DIED")
	want(t, 0, "died=.", "sync", "lock", path+":m", "--", "sh", "-c", "echo died=$MEMLANE_OWNER_DIED.")
}

// ended says whether a process has ended, though perhaps nobody has waited for it.
func ended(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// Who waits for the lock of one that is killed gets it, and is told.
func TestWaiterInheritsLock(t *testing.T) {
	s, path := newSegment(t)
	holder := start(t, "sync", "lock", path+":m", "--", "sh", "-c", "echo in; exec cat")
	holder.line(t)
	waiter := start(t, "sync", "lock", path+":m", "--", "sh", "-c", "echo died=$MEMLANE_OWNER_DIED")
	eventually(t, "somebody waits", func() bool { return lookup(t, s, "m").Mutex.Waiters })
	holder.Process.Kill()
	if line := waiter.line(t); line != "died=1" {
		t.Errorf("the next one says %q", line)
	}
	if code := waiter.exit(t); code != 0 || !strings.Contains(waiter.stderr.String(), "a process died while it held this") {
		t.Errorf("code %d: %s", code, waiter.stderr.String())
	}
}

func TestCommandGetsSignals(t *testing.T) {
	catchInterrupt(t)
	s, path := newSegment(t)
	command := []string{"sync", "lock", path + ":m", "--", "python3", "testdata/peers/signals.py"}
	holder := start(t, command...)
	if line := holder.line(t); line != "ready" {
		t.Fatalf("the command says %q", line)
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGINT, syscall.SIGTERM} {
		holder.Process.Signal(sig)
		if line, want := holder.line(t), map[syscall.Signal]string{1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 15: "SIGTERM"}[sig]; line != want {
			t.Errorf("after %v the command says %q", sig, line)
		}
	}
	if code := holder.exit(t); code != 9 || locked(s, "m") {
		t.Errorf("code %d, locked %v", code, locked(s, "m"))
	}
	// Ended by a signal.
	holder = start(t, "sync", "lock", path+":m", "--", "sh", "-c", "echo ready; exec cat")
	holder.line(t)
	holder.Process.Signal(syscall.SIGTERM)
	if code := holder.exit(t); code != 143 || locked(s, "m") {
		t.Errorf("code %d, locked %v", code, locked(s, "m"))
	}
}

// What nohup, or a shell that runs it in the background, has ignored, stays so.
func TestCommandInheritsIgnoredSignals(t *testing.T) {
	_, path := newSegment(t)
	cmd := exec.Command("sh", "-c", `trap "" HUP INT; exec "$@"`, "sh", memlane, "sync", "lock", path+":m", "--", "python3", "testdata/peers/signals.py")
	p := startCommand(t, cmd)
	if line := p.line(t); line != "ready SIGHUP SIGINT" {
		t.Errorf("the command says %q", line)
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		p.Process.Signal(sig)
	}
	if line := p.line(t); line != "SIGTERM" {
		t.Errorf("the command says %q", line)
	}
	if code := p.exit(t); code != 9 {
		t.Errorf("code %d", code)
	}
}

// A terminal sends Ctrl-C to the command too, which gets it once.
func TestCommandGetsCtrlCOnce(t *testing.T) {
	catchInterrupt(t)
	_, path := newSegment(t)
	out := command(t, "python3", "testdata/peers/terminal.py", memlane, "sync", "lock", path+":m", "--", "python3", "testdata/peers/signals.py")
	if strings.Count(out, "SIGINT") != 1 || strings.Count(out, "SIGTERM") != 1 || !strings.Contains(out, "code 9\n") {
		t.Errorf("on a terminal it says %q", out)
	}
}

func TestHeldLockEnds(t *testing.T) {
	catchInterrupt(t)
	s, path := newSegment(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		holder := start(t, "sync", "lock", path+":m")
		eventually(t, "it is locked", func() bool { return locked(s, "m") })
		holder.Process.Signal(sig)
		if code := holder.exit(t); code != 0 || locked(s, "m") {
			t.Errorf("%v: code %d, locked %v: %s", sig, code, locked(s, "m"), holder.stderr.String())
		}
	}
}

// Who holds a lock by hand that a process died with has repaired nothing by Ctrl-C; by
// sync unlock, he says that he has.
func TestHeldLockKeepsDeath(t *testing.T) {
	catchInterrupt(t)
	s, path := newSegment(t)
	run(t, "sync", "lock", path+":m", "--", "sh", "-c", "kill -9 $PPID")
	held := func() *process {
		holder := start(t, "sync", "lock", path+":m")
		eventually(t, "it waits for the request", func() bool {
			info, err := shmsync.Lookup(s, "m.unlock")
			return err == nil && info.Event.Waiters && !lookup(t, s, "m").Mutex.Holder.Gone
		})
		return holder
	}
	holder := held()
	holder.Process.Signal(os.Interrupt)
	if code := holder.exit(t); code != 0 || !strings.Contains(holder.stderr.String(), "whoever locks it next is told the same") {
		t.Errorf("code %d: %s", code, holder.stderr.String())
	}
	holder = held()
	want(t, 0, "has let go", "sync", "unlock", path+":m", "--timeout", "30s")
	if code := holder.exit(t); code != 0 || !strings.Contains(holder.stderr.String(), "a process died while it held this") {
		t.Errorf("code %d: %s", code, holder.stderr.String())
	}
	want(t, 0, "died=.", "sync", "lock", path+":m", "--", "sh", "-c", "echo died=$MEMLANE_OWNER_DIED.")
}

// Who waits while a command fails behind a dead holder is told too.
func TestWaiterInheritsDeath(t *testing.T) {
	s, path := newSegment(t)
	run(t, "sync", "lock", path+":m", "--", "sh", "-c", "kill -9 $PPID")
	failing := start(t, "sync", "lock", path+":m", "--", "sh", "-c", "echo in; read end; exit 3")
	failing.line(t)
	waiter := start(t, "sync", "lock", path+":m", "--", "sh", "-c", "echo died=$MEMLANE_OWNER_DIED")
	eventually(t, "somebody waits", func() bool { return lookup(t, s, "m").Mutex.Waiters })
	failing.in.Close()
	if code := failing.exit(t); code != 3 {
		t.Errorf("code %d", code)
	}
	if line := waiter.line(t); line != "died=1" {
		t.Errorf("the next one says %q", line)
	}
}

// A permit is free again when who runs a command with it is killed, and the command
// does not go on without it.
func TestCommandDiesWithItsPermit(t *testing.T) {
	s, path := newSegment(t)
	holder := start(t, "sync", "acquire", path+":slots", "--permits", "1", "--", "sh", "-c", "echo $$; exec cat")
	pid := holder.line(t)
	waiter := start(t, "sync", "acquire", path+":slots", "--", "sh", "-c", "echo in; exec cat")
	eventually(t, "the next one waits", func() bool { return lookup(t, s, "slots").Semaphore.Waiters })
	if st := lookup(t, s, "slots").Semaphore; st.Permits != 0 || len(st.Holders) != 1 || st.Holders[0].PID != holder.Process.Pid {
		t.Errorf("%+v; want one permit, held by %d", st, holder.Process.Pid)
	}
	holder.Process.Kill()
	eventually(t, "the command is dead", func() bool { return ended(pid) })
	if line := waiter.line(t); line != "in" {
		t.Errorf("the next one says %q", line)
	}
	waiter.Process.Signal(syscall.SIGTERM)
	if code := waiter.exit(t); code != 143 {
		t.Errorf("code %d: %s", code, waiter.stderr.String())
	}
	if st := lookup(t, s, "slots").Semaphore; st.Permits != 1 || len(st.Holders) != 0 {
		t.Errorf("%+v; want one free permit", st)
	}
}

// With the last name of a segment too, a lock can be held by hand; it cannot be asked
// for, for want of another.
func TestHeldLockInFullSegment(t *testing.T) {
	catchInterrupt(t)
	s, path := newSegment(t)
	for i := range shmsync.MaxNames - 1 {
		if _, err := shmsync.NamedEvent(t.Context(), s, fmt.Sprint("e", i), shmsync.Manual); err != nil {
			t.Fatal(err)
		}
	}
	holder := start(t, "sync", "lock", path+":m")
	eventually(t, "it is locked", func() bool { return locked(s, "m") })
	want(t, 6, "only it can unlock it", "sync", "unlock", path+":m")
	holder.Process.Signal(os.Interrupt)
	if code := holder.exit(t); code != 0 || locked(s, "m") || !strings.Contains(holder.stderr.String(), "no name is free for m.unlock") {
		t.Errorf("code %d, locked %v: %s", code, locked(s, "m"), holder.stderr.String())
	}
	want(t, 1, "full: 62 names", "sync", "lock", path+":another", "--", "true")
	want(t, 1, "names are never removed: use another segment)", "sync", "post", path+":another")
}

func TestInterruptedWaits(t *testing.T) {
	catchInterrupt(t)
	s, path := newSegment(t)
	ctx := context.Background()
	mu, err := shmsync.NamedMutex(ctx, s, "m")
	if err != nil {
		t.Fatal(err)
	}
	if err := mu.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := shmsync.NamedEvent(ctx, s, "m.unlock", shmsync.Automatic); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"s", "a"} {
		if _, err := shmsync.NamedSemaphore(ctx, s, name, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := shmsync.NamedEvent(ctx, s, "e", shmsync.Manual); err != nil {
		t.Fatal(err)
	}
	waits := func(name string) bool {
		info := lookup(t, s, name)
		return info.Mutex != nil && info.Mutex.Waiters || info.Semaphore != nil && info.Semaphore.Waiters || info.Event != nil && info.Event.Waiters
	}
	for name, args := range map[string][]string{
		"m": {"lock", path + ":m", "--", "true"},
		"s": {"wait", path + ":s"},
		"a": {"acquire", path + ":a", "--", "true"},
		"e": {"wait", path + ":e"},
	} {
		p := start(t, append([]string{"sync"}, args...)...)
		eventually(t, "it waits", func() bool { return waits(name) })
		p.Process.Signal(os.Interrupt)
		if code := p.exit(t); code != 130 || p.stderr.Len() > 0 {
			t.Errorf("%q: code %d: %s", args, code, p.stderr.String())
		}
	}
	// One that asks for a lock, too, and takes back that it has asked.
	p := start(t, "sync", "unlock", path+":m", "--timeout", "1h")
	eventually(t, "it asks", func() bool { return lookup(t, s, "m.unlock").Event.Set })
	p.Process.Signal(os.Interrupt)
	if code := p.exit(t); code != 130 || lookup(t, s, "m.unlock").Event.Set {
		t.Errorf("unlock: code %d, event %+v: %s", code, lookup(t, s, "m.unlock").Event, p.stderr.String())
	}
}

// Another program's mutex is its own, whether it could have been asked or not.
func TestUnlockRefuses(t *testing.T) {
	s, path := newSegment(t)
	mu, err := shmsync.NamedMutex(t.Context(), s, "m")
	if err != nil {
		t.Fatal(err)
	}
	if err := mu.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	says := fmt.Sprintf("process %d holds it, and only it can unlock it", os.Getpid())
	want(t, 6, says, "sync", "unlock", path+":m")
	if _, err := shmsync.NamedEvent(t.Context(), s, "m.unlock", shmsync.Automatic); err != nil {
		t.Fatal(err)
	}
	want(t, 6, says, "sync", "unlock", path+":m", "--timeout", "10ms")
	if lookup(t, s, "m.unlock").Event.Set {
		t.Error("the request was not taken back")
	}
	if err := mu.Unlock(); err != nil {
		t.Fatal(err)
	}
	want(t, 0, "is free: nobody holds it", "sync", "unlock", path+":m")
}

// A holder that is stopped cannot answer, and is not asked behind its back.
func TestUnlockOfStoppedHolder(t *testing.T) {
	s, path := newSegment(t)
	holder := start(t, "sync", "lock", path+":m")
	eventually(t, "it waits for the request", func() bool {
		info, err := shmsync.Lookup(s, "m.unlock")
		return err == nil && info.Event.Waiters
	})
	holder.Process.Signal(syscall.SIGSTOP)
	eventually(t, "it is stopped", func() bool { return lookup(t, s, "m").Mutex.Holder.Stopped })
	want(t, 6, fmt.Sprintf("process %d, which is stopped holds it", holder.Process.Pid), "sync", "unlock", path+":m", "--timeout", "10ms")
	want(t, 0, "which is stopped", "sync", "ls", path)
	want(t, 0, `"stopped": true`, "sync", "ls", path, "-o", "json")
	holder.Process.Signal(syscall.SIGCONT)
	eventually(t, "it goes on", func() bool { return !lookup(t, s, "m").Mutex.Holder.Stopped })
	want(t, 0, fmt.Sprintf("is free now: process %d has let go", holder.Process.Pid), "sync", "unlock", path+":m", "--timeout", "30s")
	if code := holder.exit(t); code != 0 {
		t.Errorf("code %d: %s", code, holder.stderr.String())
	}
}

// While others wait, unlock makes the holder let go, and says who has it then.
func TestUnlockPassesLockOn(t *testing.T) {
	s, path := newSegment(t)
	holder := start(t, "sync", "lock", path+":m")
	eventually(t, "it is locked", func() bool { return locked(s, "m") })
	next := start(t, "sync", "lock", path+":m", "--", "sh", "-c", "echo in; echo out")
	eventually(t, "the next one waits", func() bool { return lookup(t, s, "m").Mutex.Waiters })
	out, stderr, code := run(t, "sync", "unlock", path+":m", "--timeout", "30s")
	if code != 0 || !strings.Contains(out, fmt.Sprintf("process %d has let go", holder.Process.Pid)) {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
	if code := holder.exit(t); code != 0 {
		t.Errorf("the holder: code %d: %s", code, holder.stderr.String())
	}
	if a, b := next.line(t), next.line(t); a != "in" || b != "out" {
		t.Errorf("the next one says %q, %q", a, b)
	}
}

func TestUnlockOfUnrecoverable(t *testing.T) {
	s, path := newSegment(t)
	run(t, "sync", "lock", path+":m", "--", "sh", "-c", "kill -9 $PPID")
	mu, err := shmsync.NamedMutex(t.Context(), s, "m")
	if err != nil {
		t.Fatal(err)
	}
	if err := mu.Lock(t.Context()); !errors.Is(err, shmsync.ErrOwnerDied) {
		t.Fatal(err)
	}
	if err := mu.Unlock(); !errors.Is(err, shmsync.ErrUnrecoverable) {
		t.Fatal(err)
	}
	want(t, 0, "unrecoverable", "sync", "ls", path)
	want(t, 0, `"unrecoverable": true`, "sync", "ls", path, "-o", "json")
	want(t, 1, `run "memlane sync unlock `+path+`:m"`, "sync", "lock", path+":m", "--", "true")
	want(t, 1, `run "memlane sync unlock `+path+`:m"`, "sync", "lock", path+":m", "-n", "--", "true")
	want(t, 0, "was unrecoverable; it is taken to be in order, and free now", "sync", "unlock", path+":m")
	want(t, 0, "died=.", "sync", "lock", path+":m", "--", "sh", "-c", "echo died=$MEMLANE_OWNER_DIED.")
}

// Who holds permits is shown, and what becomes of them.
func TestListShowsPermits(t *testing.T) {
	s, path := newSegment(t)
	semaphore, err := shmsync.NamedSemaphore(t.Context(), s, "slots", 5)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := semaphore.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want(t, 0, fmt.Sprintf("3 free  2 by process %d", os.Getpid()), "sync", "ls", path)
	want(t, 0, `"permits": 2`, "sync", "ls", path, "-o", "json")
}

// A file that is cut short under a lock is an error with a code of its own.
func TestLockedFileIsCutShort(t *testing.T) {
	_, path := newSegment(t)
	want(t, 5, "cut short", "sync", "lock", path+":m", "--", "truncate", "-s", "0", path)
}
