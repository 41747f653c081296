// Package proctest runs the helper processes of tests: every test that claims
// something about two processes has two.
//
// A test binary starts itself again. Its TestMain hands [Main] the helpers by
// name; [Start] runs one in a new process, as another user or in other
// namespaces if asked to, and talks to it in lines over its standard input and
// output. A helper that is still running when its test ends is killed.
package proctest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Nobody is the user that permission tests run as when the tests themselves are
// root: root is allowed everything and would prove nothing.
const Nobody = 65534

const helperVariable = "MEMLANE_TEST_HELPER"

// emulatorVariable names the emulator that runs the tests, in make test-arm64: to the
// kernel it is the program, so that a test binary which starts itself again has to say
// that it wants to be emulated.
const emulatorVariable = "MEMLANE_TEST_EMULATOR"

// A Helper is what a helper process runs. What it returns is its exit: nil is
// status 0, an error is printed to standard error and is status 1.
type Helper func(args []string) error

func init() {
	// A helper runs on the process's first thread, the one that a tracer which
	// knows only the process's id attaches to.
	if os.Getenv(helperVariable) != "" {
		runtime.LockOSThread()
	}
}

// Main runs the helper that the environment names, or the tests. Call it from
// TestMain.
func Main(m *testing.M, helpers map[string]Helper) {
	name := os.Getenv(helperVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	os.Unsetenv(helperVariable)
	helper, ok := helpers[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no helper is called %q\n", name)
		os.Exit(2)
	}
	if err := helper(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "helper %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Hang never returns: the helper has to be killed. What keep points to stays
// reachable. An empty select would not do, in a program of which nothing can ever
// run again Go's runtime sees a deadlock and ends it.
func Hang(keep ...any) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	_, err = r.Read(make([]byte, 1))
	runtime.KeepAlive(w)
	runtime.KeepAlive(keep)
	return err
}

// Config says how a helper is run. A nil *Config is: as the test itself is.
type Config struct {
	AsNobody   bool                // as user and group Nobody, if the test is root; else as the test's user
	User       *syscall.Credential // as this user and group, if the test is root; takes AsNobody's place
	Namespaces uintptr             // syscall.CLONE_NEW… flags; a user namespace maps the test's user alone,
	AsUser     int                 // to this user in it
	Clocks     Clocks              // in a time namespace
	Env        []string            // added to the environment
	Files      []*os.File
	Command    []string // starts another test binary, whose helper it is; nil: this one
}

// Process is a running helper.
type Process struct {
	cmd    *exec.Cmd
	t      testing.TB
	stdin  io.WriteCloser
	lines  chan string
	stderr bytes.Buffer
	waited bool
}

// Start runs the helper in a new process.
func Start(t testing.TB, c *Config, name string, args ...string) *Process {
	t.Helper()
	p, err := start(t, c, name, args)
	if err != nil {
		t.Fatalf("start helper %s: %v", name, err)
	}
	return p
}

// Run runs the helper to its end and returns what it printed.
func Run(t testing.TB, c *Config, name string, args ...string) string {
	t.Helper()
	p := Start(t, c, name, args...)
	var out strings.Builder
	for line := range p.lines {
		fmt.Fprintln(&out, line)
	}
	if err := p.Wait(); err != nil {
		t.Fatalf("helper %s: %v\n%s", name, err, out.String())
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// RequireNamespaces skips the test where the kernel or its settings forbid the
// namespaces to this user; make test lists it then.
func RequireNamespaces(t testing.TB, flags uintptr) {
	t.Helper()
	p, err := start(t, &Config{Namespaces: flags}, "", []string{"-test.run=^$"})
	if err == nil {
		err = p.Wait()
	}
	if err != nil {
		t.Skipf("needs namespaces that this user cannot make here: %v", err)
	}
}

// itself returns the command that runs this test binary.
func itself() ([]string, error) {
	emulator := os.Getenv(emulatorVariable)
	if emulator == "" {
		// Through /proc, because a user who may not search the folder that go test
		// builds in can still run this file.
		return []string{"/proc/self/exe"}, nil
	}
	path, err := exec.LookPath(emulator)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	return []string{path, self}, err
}

// Exec executes this test binary, to run a helper, in place of the program that calls it.
func Exec(name string, args ...string) error {
	command, err := itself()
	if err != nil {
		return err
	}
	return syscall.Exec(command[0], append(command, args...), append(os.Environ(), helperVariable+"="+name))
}

// Command returns the command that runs a helper of this test binary, for helpers that
// have children.
func Command(name string) (*exec.Cmd, error) {
	command, err := itself()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), helperVariable+"="+name)
	return cmd, nil
}

func start(t testing.TB, c *Config, name string, args []string) (*Process, error) {
	if c == nil {
		c = &Config{}
	}
	command := c.Command
	if command == nil {
		var err error
		if command, err = itself(); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(command[0], append(slices.Clone(command[1:]), args...)...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // a second less for each helper under -race
	cmd.Env = append(cmd.Env, c.Env...)
	if name != "" {
		cmd.Env = append(cmd.Env, helperVariable+"="+name)
	}
	cmd.ExtraFiles = c.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: c.Namespaces &^ syscall.CLONE_NEWTIME}
	if c.Namespaces&syscall.CLONE_NEWTIME != 0 {
		cmd.Env = append(cmd.Env, clocksVariable+"="+c.Clocks.offsets())
	}
	if c.AsNobody && os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: Nobody, Gid: Nobody}
	}
	if c.User != nil && os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = c.User
	}
	if c.Namespaces&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: c.AsUser, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: c.AsUser, HostID: os.Getgid(), Size: 1}}
	}
	p := &Process{cmd: cmd, t: t, lines: make(chan string, 64)}
	cmd.Stderr = &p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own, not StdoutPipe: Wait must not close it under the
	// reader of the last lines.
	stdout, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		stdout.Close()
		return nil, err
	}
	go func() {
		defer close(p.lines)
		defer stdout.Close()
		s := bufio.NewScanner(stdout)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		p.Kill()
		for range p.lines { // so that the reader ends
		}
	})
	return p, nil
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Line returns the next line that the helper prints; the test fails if there is
// none within half a minute.
func (p *Process) Line() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("helper ended without the line that was waited for: %v", p.Wait())
		}
		return line
	case <-time.After(30 * time.Second):
		p.t.Fatalf("helper printed nothing for 30 s")
		return ""
	}
}

// Send gives the helper a line of input.
func (p *Process) Send(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("send %q to helper: %v", line, err)
	}
}

// Wait closes the helper's input, waits until it has ended, and returns its
// failure with what it wrote to standard error.
func (p *Process) Wait() error {
	if p.waited {
		return nil
	}
	p.waited = true
	p.stdin.Close()
	err := p.cmd.Wait()
	if text := strings.TrimSpace(p.stderr.String()); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// Kill ends the helper with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	if !p.waited {
		p.cmd.Process.Kill()
		p.Wait()
	}
}

// Signal sends a signal to the helper.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// KilledBy returns the signal that ended the process whose Wait returned err;
// 0 if it was none.
func KilledBy(err error) syscall.Signal {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal()
	}
	return 0
}

// CloseInput ends the helper's input.
func (p *Process) CloseInput() { p.stdin.Close() }

// Reaped says that the test has waited for the process itself, as a tracer must.
func (p *Process) Reaped() {
	p.waited = true
	p.stdin.Close()
	p.cmd.Process.Release()
}
