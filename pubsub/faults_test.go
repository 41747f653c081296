package pubsub_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/pubsub"
)

// exchange has a process publish, and three receive all of it, each started as it says;
// then another publisher, of this process, is received from when the first is killed.
func exchange(t *testing.T, n int, publisher, subscriber *proctest.Config) {
	t.Helper()
	folder := t.TempDir()
	p := proctest.Start(t, publisher, "publish", folder, strconv.Itoa(n), strconv.Itoa(int(pubsub.Block)))
	p.Line()
	var subscribers []*proctest.Process
	for _, way := range []string{"receive", "borrow", "receive"} {
		s := proctest.Start(t, subscriber, "subscribe", folder, way, "may not")
		if got := s.Line(); got != "ready" {
			t.Fatal(got)
		}
		subscribers = append(subscribers, s)
	}
	p.Send("go")
	if got := p.Line(); got != "published 3" {
		t.Errorf("the publisher: %q", got)
	}
	for _, s := range subscribers {
		if got, want := s.Line(), fmt.Sprintf("all %d lost 0", n); got != want {
			t.Errorf("a subscriber: %q; want %q", got, want)
		}
	}
	// Who is killed is noticed by this process, whatever namespace he is in.
	s, err := pubsub.Subscribe(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the publisher is there", func() bool { return s.Publishers() == 1 })
	p.Kill()
	eventually(t, "the publisher is gone", func() bool {
		_, err := s.TryReceive()
		return err == pubsub.ErrEmpty && s.Publishers() == 0
	})
}

// All messages come, and deaths are noticed, with one processor, and when garbage is
// collected all the time.
func TestUnderPressure(t *testing.T) {
	for name, env := range map[string][]string{
		"one processor":       {"GOMAXPROCS=1"},
		"garbage collections": {"GOGC=1"},
		"both":                {"GOMAXPROCS=1", "GOGC=1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &proctest.Config{Env: env}
			exchange(t, 3000, c, c)
		})
	}
}

// They share nothing but the folder: neither processes' numbers nor mounts, IPC, users
// or clocks.
func TestAcrossNamespaces(t *testing.T) {
	ahead := proctest.Clocks{Monotonic: 24 * time.Hour, Boot: 36 * time.Hour}
	for name, c := range map[string]*proctest.Config{
		"pid":           {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID},
		"mount":         {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS},
		"ipc":           {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWIPC},
		"clocks ahead":  {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWTIME, Clocks: ahead},
		"clocks behind": {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWTIME, Clocks: proctest.ClocksAtZero(t)},
		"all": {Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | syscall.CLONE_NEWTIME,
			Clocks: ahead},
	} {
		t.Run(name, func(t *testing.T) {
			proctest.RequireNamespaces(t, c.Namespaces)
			exchange(t, 3000, c, nil)
			exchange(t, 3000, nil, c)
			exchange(t, 3000, c, c) // each in its own
		})
	}
}

// A process of which the kernel is old, or whose sandbox is that of an old one, exchanges
// messages with one like it, and with others.
func TestOldKernel(t *testing.T) {
	old := &proctest.Config{Env: []string{proctest.OldKernel}}
	if got := proctest.Run(t, old, "probe"); got != "true true true" {
		t.Fatalf("the kernel is not old: %s", got)
	}
	exchange(t, 3000, old, old)
	exchange(t, 3000, old, nil)
	exchange(t, 3000, nil, old)
	exchange(t, 3000, &proctest.Config{Env: old.Env, Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID}, old)
}

// probe says what the kernel refuses that an old one does not know.
func probe([]string) error {
	pair, err := sys.SeqpacketPair()
	if err != nil {
		return err
	}
	_, err = sys.PeerPidfd(pair[0])
	fd, memfdErr := sys.Memfd("probe", 0)
	if memfdErr != nil {
		return memfdErr
	}
	st, statErr := sys.Fstat(fd)
	if statErr != nil {
		return statErr
	}
	_, cacheErr := sys.Cachestat(fd)
	// Without MFD_NOEXEC_SEAL a memfd can be executed.
	fmt.Println(err == syscall.ENOPROTOOPT, st.Mode&0o111 != 0, cacheErr == syscall.ENOSYS)
	return nil
}

// withoutProc opens a domain where /proc is not mounted. Args: its folder.
func withoutProc(args []string) error {
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("none", "/proc", "tmpfs", 0, "")
	}
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	_, err = memlane.Open("test", &memlane.Config{Folder: args[0]})
	fmt.Println(err)
	return nil
}

// Without /proc nobody takes part, and is told why.
func TestWithoutProc(t *testing.T) {
	c := &proctest.Config{Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	proctest.RequireNamespaces(t, c.Namespaces)
	if got := proctest.Run(t, c, "without proc", t.TempDir()); !strings.HasSuffix(got, "boot_id: no such file or directory (mount /proc)") {
		t.Errorf("got %s", got)
	}
}

// ofGroup are the users that share domains in tests.
var ofGroup = []int{0, 1001, 1002, proctest.Nobody}

// parking has a process sleep whenever it waits: with one processor nobody spins.
var parking = []string{"GOMAXPROCS=1"}

// converse is one of two processes of which each publishes a message when it has that of
// the other, after having slept for it, if it has only one processor. The one that calls says so when all have come, and
// when the other is gone. Args: the folder, the topic that it publishes, the one that it
// subscribes to, how many messages; 0: it answers. With a fifth, users are accepted.
func converse(args []string) error {
	c := memlane.Config{Folder: args[0]}
	if len(args) > 4 {
		c.Owners = ofGroup
	}
	d, err := memlane.Open("test", &c)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	p, err := pubsub.Publish(d, args[1], &pubsub.PublisherConfig{Policy: pubsub.Block})
	if err != nil {
		return err
	}
	s, err := pubsub.Subscribe(d, args[2], nil)
	if err != nil {
		return err
	}
	if err := p.WaitSubscribers(background, 1); err != nil {
		return err
	}
	fmt.Println("ready")
	for i := 0; n == 0 || i < n; i++ {
		want := message(uint64(i), 1000*(i%3))
		if n > 0 {
			if err := p.Publish(background, want); err != nil {
				return err
			}
		}
		m, err := s.Receive(background)
		if err != nil {
			return err
		}
		if !bytes.Equal(m.Data, want) {
			return fmt.Errorf("message %d has %d bytes, others than %d that were published", i, len(m.Data), len(want))
		}
		if n == 0 {
			if err := p.Publish(background, m.Data); err != nil {
				return err
			}
		}
	}
	fmt.Println("all", n)
	for end := time.Now().Add(30 * time.Second); s.Publishers() > 0 || p.Subscribers() > 0; runtime.Gosched() {
		if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
			return fmt.Errorf("there is another message: %v", err)
		}
		if time.Now().After(end) {
			return errors.New("the other is not gone within 30 s")
		}
	}
	fmt.Println("gone")
	return nil
}

// contained does what a helper does as in a container: with a /proc of its own PID
// namespace, a /dev/shm of its own, and the shared folder under another path. Args: the
// folder, where it is to be, what it does with that.
func contained(args []string) error {
	const recursively, private, bind = syscall.MS_REC, syscall.MS_PRIVATE, syscall.MS_BIND
	err := syscall.Mount("", "/", "", recursively|private, "")
	if err == nil {
		err = syscall.Mount(args[0], args[1], "", bind, "")
	}
	if err == nil {
		err = syscall.Mount("proc", "/proc", "proc", 0, "")
	}
	if err == nil {
		err = syscall.Mount("none", "/dev/shm", "tmpfs", 0, "size=64k")
	}
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if len(args) == 2 {
		return nil
	}
	if pid, err := os.Readlink("/proc/self"); err != nil || pid != "1" || os.Getpid() != 1 {
		return fmt.Errorf("it is process %q, %d; want 1: %v", pid, os.Getpid(), err)
	}
	return converse(append([]string{args[1]}, args[2:]...))
}

// conversed wants two processes to have exchanged 300 messages each way, and the one that calls
// to notice that the other is killed.
func conversed(t *testing.T, answering, calling *proctest.Process) {
	t.Helper()
	for _, p := range []*proctest.Process{answering, calling} {
		if got := p.Line(); got != "ready" {
			t.Fatal(got)
		}
	}
	if got := calling.Line(); got != "all 300" {
		t.Error(got)
	}
	answering.Kill()
	if got := calling.Line(); got != "gone" {
		t.Error(got)
	}
}

// Containers that share nothing but the folder exchange messages with each other and with
// the machine that they are on, and each notices the other's death.
func TestContainers(t *testing.T) {
	const all = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET
	root := &proctest.Config{Namespaces: all, Env: parking}
	clocks := &proctest.Config{Namespaces: all | syscall.CLONE_NEWTIME, Clocks: proctest.Clocks{Monotonic: time.Hour, Boot: 24 * time.Hour}, Env: parking}
	here := &proctest.Config{Env: parking}
	for name, places := range map[string][2]*proctest.Config{
		"of the machine, in one":        {here, root},
		"in one, of the machine":        {root, here},
		"in two":                        {root, root},
		"in two, with different clocks": {clocks, root},
		"in one with clocks, and here":  {clocks, here},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			begin := func(c *proctest.Config, helper string, args ...string) *proctest.Process {
				if c == here {
					return proctest.Start(t, c, helper, append([]string{folder}, args...)...)
				}
				proctest.RequireNamespaces(t, c.Namespaces)
				inside := t.TempDir()
				if err := proctest.Start(t, c, "contained", folder, inside).Wait(); err != nil {
					t.Skipf("needs mounts that this user cannot make here: %v", err)
				}
				return proctest.Start(t, c, "contained", append([]string{folder, inside}, args...)...)
			}
			answering := begin(places[1], "answer", "back", "there", "0")
			calling := begin(places[0], "call", "there", "back", "300")
			conversed(t, answering, calling)
		})
	}
}

// What one architecture publishes the other receives: the memory has the same layout, and
// they wake each other and notice each other's deaths.
func TestAcrossArchitectures(t *testing.T) {
	c := proctest.OtherArchitecture(t)
	exchange(t, 3000, c, nil)
	exchange(t, 3000, nil, c)
	exchange(t, 3000, c, c)
}

// whose is a process that opens a domain, whoever's that is. Args: its folder.
func whose(args []string) error {
	if _, err := memlane.Open("test", &memlane.Config{Folder: args[0]}); err != nil {
		fmt.Println("refused")
		return nil
	}
	fmt.Println("opened")
	return nil
}

// As another user than root, of whom all are.
func TestAsNobody(t *testing.T) {
	if syscall.Getuid() != 0 {
		exchange(t, 3000, nil, nil) // nobody special
		return
	}
	folder := t.TempDir()
	c := &proctest.Config{AsNobody: true}
	p := proctest.Start(t, c, "whose", folder)
	if got := p.Line(); got != "refused" {
		t.Errorf("user %d opens a domain of root's: %q", proctest.Nobody, got)
	}
}
