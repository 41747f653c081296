package meet_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/sys"
)

// deaf is a handler of a port that wants to hear nothing.
type deaf struct{}

func (deaf) Found(*meet.Remote)                  {}
func (deaf) Message(*meet.Remote, *meet.Message) {}
func (deaf) Lost(*meet.Remote)                   {}

func clean(t *testing.T, dir string, want bool) {
	t.Helper()
	if removed, err := meet.Clean(dir, nil); err != nil || removed != want {
		t.Errorf("removed %v, %v; want %v", removed, err, want)
	}
}

func TestCleanRemovesOnlyWhatNobodyUses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if _, err := meet.Clean(dir, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	n, err := meet.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A participant without ports, and one that begins to have some afterwards.
	clean(t, dir, false)
	port := &meet.Port{Kind: meet.Topic, Name: "x", Role: meet.Publisher, Handler: deaf{}}
	if err := n.Add(port); err != nil {
		t.Fatal(err)
	}
	clean(t, dir, false)
	if list, err := meet.List(dir); err != nil || len(list) != 1 || list[0].State != meet.Alive {
		t.Errorf("%+v, %v", list, err)
	}
	// What a remover of ports has left that was killed; what is of another boot; what
	// is nobody's.
	if err := os.Mkdir(filepath.Join(dir, "ports", "1-left"), 0o700); err != nil {
		t.Fatal(err)
	}
	n.Close()
	foreign := filepath.Join(dir, "sockets", "0123456789abcdef0123456789abcdef.0123456789abcdef")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	clean(t, dir, false)
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	clean(t, dir, false)
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	// One that was made for several users.
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	clean(t, dir, false)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	clean(t, dir, true)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Whoever opens a domain while others remove its folder has one that is there, and in
// which others find him.
func TestOpenWhileFolderIsRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	stop := make(chan struct{})
	var cleaners, openers sync.WaitGroup
	removed := 0
	cleaners.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			was, err := meet.Clean(dir, nil)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			if was {
				removed++
			}
		}
	})
	for range 3 {
		openers.Go(func() {
			for range 200 {
				if err := beThere(dir); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	openers.Wait()
	close(stop)
	cleaners.Wait()
	if removed == 0 {
		t.Error("nothing was removed meanwhile")
	}
}

// beThere opens the domain, adds a port and looks whether others can see it.
func beThere(dir string) error {
	n, err := meet.Open(dir, nil)
	if err != nil {
		return err
	}
	defer n.Close()
	port := &meet.Port{Kind: meet.Topic, Name: "x", Role: meet.Publisher, Handler: deaf{}}
	if err := n.Add(port); err != nil {
		return err
	}
	list, err := meet.List(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Instance == n.ID() && e.State == meet.Alive {
			return nil
		}
	}
	return errors.New("nobody sees that it is there")
}

// cleanUp cleans up a domain, for a kill at any time.
func cleanUp(args []string) error {
	if len(args) > 1 && args[1] == "old-kernel" {
		meet.WithoutPeerPidfd()
	}
	fmt.Println("ready")
	var line string
	fmt.Scanln(&line)
	_, err := meet.Clean(args[0], nil)
	return err
}

// Who was killed is dead, and cleaned up after, though a child that it has forked has its
// socket, whatever the kernel says; its child and those who are there stay.
func TestCleanWhereAForkedChildLives(t *testing.T) {
	for _, kernel := range []string{"this kernel", "old-kernel"} {
		for _, reaped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reaped %v", kernel, reaped), func(t *testing.T) {
				dir := domain(t)
				alive, dead := start(t, nil, dir), start(t, nil, dir)
				alive.must("add p publisher one")
				dead.must("add s subscriber other")
				child, _, _ := strings.Cut(dead.do("fork"), " ")
				pid, err := strconv.Atoi(child)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
				dead.Signal(syscall.SIGKILL)
				if reaped {
					if _, err := syscall.Wait4(dead.PID(), nil, 0, nil); err != nil {
						t.Fatal(err)
					}
					dead.Reaped()
				} else {
					pidfd, err := sys.PidfdOpen(dead.PID())
					if err != nil {
						t.Fatal(err)
					}
					defer sys.Close(pidfd)
					eventually(t, "it has ended", func() bool { is, err := sys.Readable(pidfd); return is && err == nil })
				}
				p := proctest.Start(t, nil, "clean", dir, kernel)
				p.Line()
				p.Send("go")
				if err := p.Wait(); err != nil {
					t.Fatal(err)
				}
				left := files(t, dir)
				if len(left) != 2 || !strings.Contains(left[0], alive.id) || !strings.Contains(left[1], alive.id) {
					t.Errorf("there is %q; want what %s has", left, alive.id)
				}
			})
		}
	}
}

// Who cleans up is killed at the first, second, … system call, before and after each. Who
// is alive is found as before, and the next one finishes what was begun.
func TestCleanerKilledAtEverySystemCall(t *testing.T) {
	for name, alive := range map[string]int{"somebody is there": 1, "nobody is there": 0} {
		t.Run(name, func(t *testing.T) {
			dir := domain(t)
			if alive > 0 {
				add(t, node(t, dir, nil), meet.Publisher, "one")
			}
			finished, begun := 0, 0
			for n, ended := 0, false; !ended; n++ {
				dead := start(t, nil, dir)
				dead.must("add s subscriber other", "add x observer other")
				dead.Kill()
				before := len(files(t, dir))
				p := proctest.Start(t, nil, "clean", dir)
				p.Line()
				ended = p.KillAtStop(n, func() { p.Send("go"); p.CloseInput() })
				switch left := len(files(t, dir)); {
				case left == 2*alive:
					finished++
				case left < before:
					begun++
				}
				if alive > 0 {
					newcomer, err := meet.Open(dir, nil)
					if err != nil {
						t.Fatal(err)
					}
					_, h, took := add(t, newcomer, meet.Observer, "one")
					next(t, "who is there", h.found)
					if took > 10*time.Second {
						t.Errorf("stop %d: it took %v to find him", n, took)
					}
					if err := newcomer.Close(); err != nil {
						t.Fatal(err)
					}
				}
				removed, err := meet.Clean(dir, nil)
				if errors.Is(err, fs.ErrNotExist) && alive == 0 {
					removed, err = true, nil // it was killed just after that
				}
				if err != nil || removed != (alive == 0) || len(files(t, dir)) != 2*alive {
					t.Fatalf("stop %d: the next one removed %v, %v, and leaves %q", n, removed, err, files(t, dir))
				}
			}
			t.Logf("%d cleaners had begun when they were killed, %d had finished", begun, finished)
			if begun == 0 || finished == 0 {
				t.Error("none was killed in the middle, or none after it")
			}
		})
	}
}

// Who cleans up is stopped at every system call, before it and after it, while others come
// and go. They find each other as before, and wait for nothing.
func TestCleanerStoppedAtEverySystemCall(t *testing.T) {
	for name, port := range map[string]bool{"who is there has a port": true, "he has only opened the domain": false} {
		t.Run(name, func(t *testing.T) { cleanerStopped(t, port) })
	}
}

func cleanerStopped(t *testing.T, port bool) {
	dir := domain(t)
	there := node(t, dir, nil)
	want := 1 // files that are left: his socket, and what he has registered
	if port {
		want++
		// It is found once at each stop, of which there are thousands where a look takes long: the
		// runtime has calls of its own around each call then.
		if err := there.Add(&meet.Port{Kind: meet.Topic, Name: "one", Role: meet.Publisher, Handler: deaf{}}); err != nil {
			t.Fatal(err)
		}
	}
	dead := start(t, nil, dir)
	dead.must("add s subscriber other", "add x observer other")
	dead.Kill()
	p := proctest.Start(t, nil, "clean", dir)
	p.Line()
	looks := 0
	p.LookAtStops(func() { p.Send("go"); p.CloseInput() }, func() {
		looks++
		newcomer, err := meet.Open(dir, nil)
		if err != nil {
			t.Errorf("stop %d: %v", looks, err)
			return
		}
		if port {
			_, h, took := add(t, newcomer, meet.Observer, "one")
			next(t, "who is there", h.found)
			if took > 10*time.Second {
				t.Errorf("stop %d: it took %v to find him", looks, took)
			}
		}
		if err := newcomer.Close(); err != nil {
			t.Error(err)
		}
	})
	if looks < 20 {
		t.Errorf("it was stopped %d times", looks)
	}
	if left := files(t, dir); len(left) != want {
		t.Errorf("it leaves %q", left)
	}
}

// crowd is a process with many participants, each with a topic of its own and one that all
// have. Args: the folder, how many.
func crowd(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var all []*meet.Node
	for i := range n {
		node, err := meet.Open(args[0], nil)
		if err != nil {
			return err
		}
		for _, name := range []string{strconv.Itoa(i), "common"} {
			if err := node.Add(&meet.Port{Kind: meet.Topic, Name: name, Role: meet.Subscriber, Handler: newRecorder()}); err != nil {
				return err
			}
		}
		all = append(all, node)
	}
	fmt.Println("ready")
	return proctest.Hang(all)
}

// What many have left who died at once is removed in one walk through the folder, and not
// in one for each of them: system calls are counted.
func TestCleaningUpAfterMany(t *testing.T) {
	calls := map[int]int{}
	for _, n := range []int{10, 40} {
		dir := domain(t)
		c := proctest.Start(t, nil, "crowd", dir, strconv.Itoa(n))
		c.Line()
		c.Kill()
		p := proctest.Start(t, nil, "clean", dir)
		p.Line()
		p.LookAtStops(func() { p.Send("go"); p.CloseInput() }, func() { calls[n]++ })
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d dead leave %q", n, files(t, dir))
		}
	}
	if calls[40] > 5*calls[10] {
		t.Errorf("after 40 it takes %d stops, after 10 %d", calls[40], calls[10])
	}
}

// Somebody who is there looks for ports, and finds that a hundred are dead.
func TestLookForManyDead(t *testing.T) {
	const n = 100
	dir := domain(t)
	here := node(t, dir, nil)
	c := proctest.Start(t, nil, "crowd", dir, strconv.Itoa(n))
	c.Line()
	c.Kill()
	watch, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(watch)
	if _, err := syscall.InotifyAddWatch(watch, filepath.Join(dir, "ports"), syscall.IN_OPEN|syscall.IN_ONLYDIR); err != nil {
		t.Fatal(err)
	}
	add(t, here, meet.Publisher, "common")
	// Sockets go last. To look at the other folder would count as a walk.
	eventually(t, "all is clean", func() bool {
		left, err := os.ReadDir(filepath.Join(dir, "sockets"))
		return err == nil && len(left) == 1
	})
	// An event without a name is of the folder itself: somebody walks through it.
	walks, events := 0, make([]byte, 1<<20)
	size, err := syscall.Read(watch, events)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < size; {
		length := int(binary.NativeEndian.Uint32(events[at+12:]))
		if length == 0 {
			walks++
		}
		at += syscall.SizeofInotifyEvent + length
	}
	t.Logf("%d walks", walks)
	if walks == 0 || walks > n/2 {
		t.Errorf("%d walks through the folder after %d deaths", walks, n)
	}
}

// A stranger has removed somebody's socket. He is taken for dead, and what he has registered is
// removed; but not the folder that he has, and he removes nothing of others.
func TestWhoseSocketWasRemoved(t *testing.T) {
	dir := domain(t)
	a := start(t, nil, dir)
	a.must("add s subscriber orders")
	sockets, err := filepath.Glob(filepath.Join(dir, "sockets", "*"))
	if err != nil || len(sockets) != 1 {
		t.Fatal(sockets, err)
	}
	if err := os.Remove(sockets[0]); err != nil {
		t.Fatal(err)
	}
	if removed, err := meet.Clean(dir, nil); removed || err != nil {
		t.Fatalf("the folder was removed: %v, %v", removed, err)
	}
	b, c := start(t, nil, dir), start(t, nil, dir)
	b.must("add s subscriber orders")
	a.must("add p publisher orders")
	b.want("s found publisher " + a.id + "/2")
	c.must("add p publisher orders")
	b.want("s found publisher " + c.id + "/1")
}

// Of troubles only those last that are somebody's fault.
func TestLastingTroubles(t *testing.T) {
	for err, want := range map[error]bool{
		meet.ErrProtocol: true, meet.ErrQuota: true, meet.ErrDropped: true, meet.ErrVersion: true, meet.ErrForeign: true,
		syscall.EMFILE: false, meet.ErrStarved: false, meet.ErrBusy: false, meet.ErrGone: false,
	} {
		trouble := meet.Trouble{Err: fmt.Errorf("because: %w", err)}
		if got := trouble.Lasting(); got != want {
			t.Errorf("%v lasts: %v", err, got)
		}
	}
}
