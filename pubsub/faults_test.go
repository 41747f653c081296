package pubsub_test

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
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
