package pubsub_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// flight is a process of whose descriptors so many are in a socket that nobody reads, until
// it is told to go on. Args: how many.
func flight(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	pair, err := sys.SeqpacketPair()
	if err != nil {
		return err
	}
	for range n {
		if err := sys.Send(pair[0], []byte("x"), 0); err != nil {
			return err
		}
	}
	fmt.Println("sent")
	var line string
	fmt.Scanln(&line)
	for _, fd := range pair {
		if err := sys.Close(fd); err != nil {
			return err
		}
	}
	fmt.Println("received")
	fmt.Scanln(&line)
	return nil
}

// fewReceiver is a process that may have few descriptors, and subscribes. Args: the folder.
// It says how many publishers it has met, and once more when there is one.
func fewReceiver(args []string) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 100, Max: 100}); err != nil {
		return err
	}
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		return err
	}
	fmt.Println(s.Publishers())
	for s.Publishers() == 0 {
		select {
		case <-s.Changes():
		case <-time.After(20 * time.Second):
			return errors.New("never met")
		}
	}
	fmt.Println("met")
	var line string
	fmt.Scanln(&line)
	return nil
}

// The kernel counts descriptors that are in sockets by user, and refuses to send more than
// the sender may have open: who sends is not who is behind. As soon as there is room it is
// sent, although nothing happens on that connection.
func TestDescriptorsInFlight(t *testing.T) {
	folder := t.TempDir()
	for _, f := range []string{folder, filepath.Dir(folder)} {
		if err := os.Chmod(f, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// Root, and who has its capabilities, may send any number.
	nobody := &proctest.Config{AsNobody: true}
	p := proctest.Start(t, nobody, "publish", folder, "1", strconv.Itoa(int(pubsub.Block)))
	p.Line()
	f := proctest.Start(t, nobody, "flight", "150")
	if got := f.Line(); got != "sent" {
		t.Fatal(got)
	}
	s := proctest.Start(t, nobody, "few receiver", folder)
	if got := s.Line(); got != "0" {
		t.Errorf("%s publishers were met though no descriptor could be sent", got)
	}
	// Meanwhile it rests: to try again and again would take it as much of a processor as this
	// takes us.
	before := processorTime(t, s.PID())
	const busy = 600 * time.Millisecond
	for ours := processorTime(t, os.Getpid()); processorTime(t, os.Getpid())-ours < busy; {
	}
	if used := processorTime(t, s.PID()) - before; used > busy/3 {
		t.Errorf("it has used %v of processor time while we used %v", used, busy)
	}
	f.Send("go")
	if got := f.Line(); got != "received" {
		t.Fatal(got)
	}
	if got := s.Line(); got != "met" {
		t.Errorf("%q", got)
	}
}

// processorTime returns what a process has used.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
	var ticks time.Duration
	for _, field := range fields[12:14] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// limited is a process that opens a domain, publishes and subscribes, with 0, 1, … of
// something left: descriptors, or files in a file system of its own. Args: a folder, which of
// the two. It says which errors there were.
func limited(args []string) error {
	failed := map[string]bool{}
	for left := 0; ; left++ {
		folder, relieve := args[0], func() {}
		var err error
		switch args[1] {
		case "descriptors":
			relieve, err = proctest.Starve(left)
		case "files":
			relieve = func() { syscall.Unmount(folder, syscall.MNT_DETACH) }
			err = syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("nr_inodes=%d", left+1))
		}
		if err != nil {
			return err
		}
		what, err := "open", error(nil)
		d, err := memlane.Open("test", &memlane.Config{Folder: folder})
		if err == nil {
			what = "publish"
			_, err = pubsub.Publish(d, "numbers", nil)
			if err == nil {
				what = "subscribe"
				_, err = pubsub.Subscribe(d, "others", nil)
			}
			if closeErr := d.Close(); closeErr != nil {
				return closeErr
			}
		}
		relieve()
		if err == nil {
			break
		}
		if left > 100 {
			return fmt.Errorf("%d are not enough: %w", left, err)
		}
		setting := map[string]string{"descriptors": "RLIMIT_NOFILE", "files": "nr_inodes"}[args[1]]
		if !errors.Is(err, memlane.ErrLimit) || !strings.Contains(err.Error(), setting) {
			return fmt.Errorf("%d left, %s: %w does not match memlane.ErrLimit, or names no setting", left, what, err)
		}
		failed[what] = true
	}
	fmt.Println(failed["open"], failed["publish"], failed["subscribe"])
	return nil
}

// Whatever a process runs out of, Open, Publish and Subscribe say that it is a limit, and
// which setting it is.
func TestLimitsAreTold(t *testing.T) {
	if got := proctest.Run(t, nil, "limited", t.TempDir(), "descriptors"); got != "true true false" {
		t.Errorf("descriptors: %s", got)
	}
	const namespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	proctest.RequireNamespaces(t, namespaces)
	if got := proctest.Run(t, &proctest.Config{Namespaces: namespaces}, "limited", t.TempDir(), "files"); got != "true true true" {
		t.Errorf("files: %s", got)
	}
}
