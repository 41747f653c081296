package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// guardedText is what server --sync and client --sync use in a file, for programs
// that take part: the same names and the same order.
type guardedText struct {
	*segment.Segment
	guard *shmsync.Semaphore
	whole *shmsync.Event
}

func attachText(path string) (*guardedText, error) {
	s, err := segment.Attach(filepath.Base(path), &segment.Config{Folder: filepath.Dir(path)})
	if err != nil {
		return nil, err
	}
	g := &guardedText{Segment: s}
	if g.guard, err = shmsync.NamedSemaphore(context.Background(), s, "text", 1); err != nil {
		return nil, err
	}
	g.whole, err = shmsync.NamedEvent(context.Background(), s, "text.whole", shmsync.Manual)
	return g, err
}

// writeHalf begins to write a text into the file args[0], and is killed before it
// has.
func writeHalf(args []string) error {
	g, err := attachText(args[0])
	if err != nil {
		return err
	}
	if err := g.guard.Acquire(context.Background()); err != nil {
		return err
	}
	if err := g.whole.Reset(); err != nil {
		return err
	}
	copy(g.Bytes(), "half of a te")
	fmt.Println("half")
	return proctest.Hang(g)
}

// floodBytes is the length of a text of floodTexts: a number, again and again.
const floodBytes = 4000

// floodTexts writes texts into the file args[0], as fast as it can, until its input
// ends.
func floodTexts(args []string) error {
	g, err := attachText(args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	ended := make(chan struct{})
	go func() {
		os.Stdin.Read(make([]byte, 1))
		close(ended)
	}()
	for n := 0; ; n++ {
		select {
		case <-ended:
			return g.Close()
		default:
		}
		text := strings.Repeat(fmt.Sprintf("%07d ", n), floodBytes/8)
		if err := g.guard.Acquire(context.Background()); err != nil {
			return err
		}
		if err := g.whole.Reset(); err != nil {
			return err
		}
		copy(g.Bytes(), text)
		if err := g.whole.Set(); err != nil {
			return err
		}
		if err := g.guard.Release(); err != nil {
			return err
		}
	}
}

// Whatever is written meanwhile, by one process as fast as it can and by servers
// that come and go, the client shows whole texts alone.
func TestSyncedClientShowsWholeTexts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	from := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(from, []byte(strings.Repeat("server. ", floodBytes/8)), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func() { command(t, memlane, "server", "--sync", "--file", file, "--size", "4096", "--from", from) }
	serve()
	writer := proctest.Start(t, nil, "flood", file)
	writer.Line()
	client := start(t, "client", "--sync", "--follow", "--file", file)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 10 {
			serve()
		}
	})
	different, last := 0, -1
	for range 3000 {
		text, ok := strings.CutPrefix(client.line(t), "ipc client get: ")
		if !ok || len(text) != floodBytes || strings.Count(text, text[:8]) != floodBytes/8 {
			t.Fatalf("torn: %q", text)
		}
		if n, err := strconv.Atoi(text[:7]); err == nil {
			if n < last {
				t.Fatalf("text %d after text %d", n, last)
			}
			last = n
			different++
		}
	}
	wg.Wait()
	if different < 100 {
		t.Errorf("the writer's texts were shown %d times: it hardly wrote at the same time", different)
	}
	if err := writer.Wait(); err != nil {
		t.Error(err)
	}
	client.Process.Signal(os.Interrupt)
	if code := client.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, client.stderr.String())
	}
}

// A server that is killed while it writes gives its permit back, and nobody shows
// what it has left; a later one writes a whole text again.
func TestSyncedServerIsKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	command(t, memlane, "server", "--sync", "--file", file, "--message", "one")
	follower := start(t, "client", "--sync", "--follow", "--file", file)
	if line := follower.line(t); line != "ipc client get: one" {
		t.Fatalf("the follower says %q", line)
	}
	server := proctest.Start(t, nil, "half", file)
	server.Line()
	g, err := attachText(file)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	// One that comes while it writes waits for the permit.
	early := start(t, "client", "--sync", "--file", file)
	eventually(t, "a client waits", func() bool { return lookup(t, g.Segment, "text").Semaphore.Waiters })
	late := start(t, "client", "--sync", "--wait", "--file", file)
	server.Kill()
	if code := early.exit(t); code != 3 || !strings.Contains(early.stderr.String(), "no whole text") {
		t.Errorf("a client after the server's death: code %d, %s", code, early.stderr.String())
	}
	want(t, 3, "no whole text", "client", "--sync", "--file", file)
	eventually(t, "the other client waits", func() bool { return lookup(t, g.Segment, "text.whole").Event.Waiters })
	command(t, memlane, "server", "--sync", "--file", file, "--message", "two")
	for name, client := range map[string]*process{"who follows": follower, "who waits": late} {
		if line := client.line(t); line != "ipc client get: two" {
			t.Errorf("%s says %q", name, line)
		}
	}
	if code := late.exit(t); code != 0 {
		t.Errorf("who waits: code %d: %s", code, late.stderr.String())
	}
	want(t, 0, "ipc client get: two\n", "client", "--sync", "--file", file)
	want(t, 0, "1 free", "sync", "ls", file)
}

// The server itself is killed in the middle of a long text.
func TestSyncedServerIsKilledAtWork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	from := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(from, bytes.Repeat([]byte("long text "), 64<<20/10), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := []string{"server", "--sync", "--file", file, "--size", "64MiB"}
	command(t, memlane, append(serve, "--message", "short")...)
	g, err := attachText(file)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	state := func() shmsync.EventStatus { return *lookup(t, g.Segment, "text.whole").Event }
	whole := func() bool { return state().Set }
	for range 20 {
		before := state().Count
		server := start(t, append(serve, "--from", from)...)
		eventually(t, "it writes, or has written", func() bool { return !whole() || state().Count != before })
		server.Process.Kill()
		server.exit(t)
		if !whole() {
			break
		}
		// It has been faster. What it wrote is whole; the next one begins anew.
	}
	want(t, 3, "no whole text", "client", "--sync", "--file", file)
	command(t, memlane, append(serve, "--message", "short")...)
	want(t, 0, "ipc client get: short\n", "client", "--sync", "--file", file)
}

func TestSyncedClientWaitsForAServer(t *testing.T) {
	catchInterrupt(t)
	file := filepath.Join(t.TempDir(), "memory")
	client := start(t, "client", "--sync", "--wait", "--file", file)
	if err := os.WriteFile(file, nil, 0o600); err != nil { // not yet sized,
		t.Fatal(err)
	}
	command(t, memlane, "server", "--file", file, "--message", "without locks") // without,
	command(t, memlane, "server", "--sync", "--file", file, "--message", "")    // with no text
	command(t, memlane, "server", "--sync", "--file", file, "--message", "at last")
	if line := client.line(t); line != "ipc client get: at last" {
		t.Errorf("got %q", line)
	}
	if code := client.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// One that waits can be interrupted: it waits for the next text here.
	command(t, memlane, "server", "--sync", "--file", file, "--message", "")
	g, err := attachText(file)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	waiting := start(t, "client", "--sync", "--wait", "--file", file)
	eventually(t, "it waits", func() bool { return lookup(t, g.Segment, "text.whole").Event.Waiters })
	waiting.Process.Signal(os.Interrupt)
	if code := waiting.exit(t); code != 130 {
		t.Errorf("interrupted while waiting: exit code %d: %s", code, waiting.stderr.String())
	}
}

func TestSyncedClientFollows(t *testing.T) {
	catchInterrupt(t)
	file := filepath.Join(t.TempDir(), "memory")
	serve := func(text string) { command(t, memlane, "server", "--sync", "--file", file, "--message", text) }
	serve("one")
	client := start(t, "client", "--sync", "--follow", "--file", file)
	next := func(want string) {
		t.Helper()
		if got := client.line(t); got != "ipc client get: "+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	next("one")
	serve("two")
	next("two")
	// The file goes away, and another one takes its name.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	serve("three")
	next("three")
	// It is cut to nothing under the mapping, and written again, while the client
	// sleeps: all that is in it is another text.
	g, err := attachText(file)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits", func() bool { return lookup(t, g.Segment, "text.whole").Event.Waiters })
	g.Close()
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	serve("four")
	next("four")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	client.Process.Signal(os.Interrupt)
	if code := client.exit(t); code != 0 {
		t.Errorf("exit code %d after Ctrl-C: %s", code, client.stderr.String())
	}
}

// Servers that prepare a file at the same time, for texts of different sizes, agree
// on where its locks are.
func TestSyncedServersAtOnce(t *testing.T) {
	for range 10 {
		file := filepath.Join(t.TempDir(), "memory")
		if err := os.WriteFile(file, []byte("raw"), 0o600); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				size := strconv.Itoa(1000 + 5000*i)
				_, stderr, code := run(t, "server", "--sync", "--file", file, "--size", size, "--message", "from "+size)
				if code != 0 && !strings.Contains(stderr, "has room for") {
					t.Errorf("code %d: %s", code, stderr)
				}
			})
		}
		wg.Wait()
		want(t, 0, "ipc client get: from ", "client", "--sync", "--file", file)
	}
}

func TestSyncedServerHolds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	server := start(t, "server", "--sync", "--hold", "--file", file, "--message", "held")
	client := start(t, "client", "--sync", "--wait", "--file", file)
	if line := client.line(t); line != "ipc client get: held" {
		t.Errorf("got %q", line)
	}
	info, err := segment.Stat("memory", &segment.Config{Folder: filepath.Dir(file)})
	if err != nil || !slices.ContainsFunc(info.Users, func(u segment.User) bool { return u.PID == server.Process.Pid }) {
		t.Errorf("the server does not have %s mapped: %+v, %v", file, info.Users, err)
	}
	server.Process.Signal(syscall.SIGTERM)
	if code := server.exit(t); code != 0 || !strings.Contains(server.stderr.String(), "is mapped at 0x") {
		t.Errorf("held until SIGTERM: code %d, %s", code, server.stderr.String())
	}
}

// A server without --sync leaves the locks alone that a file has.
func TestServerKeepsLocks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	command(t, memlane, "server", "--sync", "--file", file, "--message", "one")
	want(t, 1, "4096 bytes before its locks", "server", "--file", file, "--size", "200000")
	want(t, 0, "", "server", "--file", file, "--message", "two")
	want(t, 0, "ipc client get: two\n", "client", "--sync", "--file", file)
}
