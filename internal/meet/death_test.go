package meet_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
)

// However a peer goes, its ports are lost once, after everything that it sent; and
// nothing of it stays in the folder when the next has opened the domain.
func TestEveryWayToGo(t *testing.T) {
	kill := func(p *participant) { p.Kill() }
	fork := func(p *participant) {
		child, _, _ := strings.Cut(p.do("fork"), " ")
		pid, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		p.t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
		p.Signal(syscall.SIGKILL)
	}
	reap := func(p *participant) {
		fork(p)
		if _, err := syscall.Wait4(p.PID(), nil, 0, nil); err != nil {
			p.t.Fatal(err)
		}
		p.Reaped()
	}
	for name, way := range map[string]struct {
		settings []string
		how      func(p *participant)
	}{
		"close":                         {nil, func(p *participant) { p.must("close") }},
		"end":                           {nil, func(p *participant) { p.CloseInput() }},
		"exec":                          {nil, func(p *participant) { p.Send("exec") }},
		"SIGKILL":                       {nil, kill},
		"SIGKILL, forked child":         {nil, fork},
		"SIGKILL, forked child, reaped": {nil, reap},
		"SIGKILL, forked child, reaped, before Linux 6.16": {[]string{"no-pidfd-of-the-dead"}, reap},
		"SIGKILL, old kernel":                              {[]string{"old-kernel"}, kill},
		"SIGKILL, forked child, zombie, old kernel":        {[]string{"old-kernel"}, fork},
		"SIGKILL, forked child, its pidfd":                 {[]string{"old-kernel"}, reap},
	} {
		t.Run(name, func(t *testing.T) {
			dir := domain(t)
			a, b := start(t, nil, dir, way.settings...), start(t, nil, dir, way.settings...)
			a.must("add p publisher topic", "add s subscriber topic")
			b.must("add s subscriber topic 2")
			sub := b.id + "/1"
			a.want("p found subscriber " + sub)
			for i := range 2 { // b has found a too, which on a slow machine can take longer than to add a port
				a.want(fmt.Sprintf("p heard %s %d ", sub, i))
			}
			for i := range 50 {
				b.must(fmt.Sprintf("send s %s/1 %d text", a.id, 100+i))
			}
			way.how(b)
			a.want("p lost " + sub)
			for i := range 50 {
				if want := fmt.Sprintf("p heard %s %d ", sub, 100+i); len(a.read) < 50 || !strings.HasPrefix(a.read[len(a.read)-50+i], want) {
					t.Fatalf("before the loss it had heard %q; want 50 messages", a.read)
				}
			}
			a.read = a.read[:len(a.read)-50]
			a.want("p found subscriber " + a.id + "/2")
			a.want("s found publisher " + a.id + "/1")
			a.nothing()
			c := start(t, nil, dir, way.settings...)
			c.must("add o observer topic")
			c.want("o found publisher " + a.id + "/1")
			c.want("o found subscriber " + a.id + "/2")
			c.nothing()
			eventually(t, "the dead's files are gone", func() bool {
				sockets, _ := filepath.Glob(filepath.Join(dir, "sockets/*"))
				ports, _ := filepath.Glob(filepath.Join(dir, "ports/*/*"))
				return len(sockets) == 2 && len(ports) == 3
			})
		})
	}
}

// live opens, adds, meets, removes and closes, for a kill at any time. Args: the folder,
// users that are accepted.
func live(args []string) error {
	fmt.Println("ready")
	var line string
	fmt.Scanln(&line)
	c := &meet.Config{}
	for _, arg := range args[1:] {
		uid, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		c.Owners = append(c.Owners, uid)
	}
	n, err := meet.Open(args[0], c)
	if err != nil {
		return err
	}
	for _, name := range []string{"one", "two"} {
		p := &meet.Port{Kind: meet.Topic, Name: name, Role: meet.Subscriber, Handler: newRecorder()}
		if err := n.Add(p); err != nil {
			return err
		}
		if name == "two" {
			if err := n.Remove(p); err != nil {
				return err
			}
		}
	}
	return n.Close()
}

// A participant is killed at the first, second, … system call with which it opens,
// adds, removes and closes, before and after each. Those who are there lose what they
// have found, and after the next has come the folder has no trace of it.
func TestKilledAtEverySystemCall(t *testing.T) {
	dir := domain(t)
	survivor := node(t, dir, nil)
	_, one, _ := add(t, survivor, meet.Publisher, "one")
	_, two, _ := add(t, survivor, meet.Publisher, "two")
	found, traces := 0, 0
	for n, ended := 0, false; !ended; n++ {
		if n > 3000 {
			t.Fatal("it never ends")
		}
		p := proctest.Start(t, nil, "live", dir)
		p.Line()
		ended = p.KillAtStop(n, func() { p.Send("go"); p.CloseInput() })
		if left := files(t, dir); len(left) > 3 {
			traces++
		}
		newcomer, err := meet.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, took := add(t, newcomer, meet.Observer, "one")
		if took > 10*time.Second {
			t.Errorf("stop %d: the newcomer's Add took %v", n, took)
		}
		if err := newcomer.Close(); err != nil {
			t.Fatal(err)
		}
		if left := files(t, dir); len(left) != 3 {
			t.Fatalf("stop %d: left behind %q", n, left)
		}
		for _, h := range []*recorder{one, two} {
			for range len(h.found) {
				next(t, "loss", h.lost)
				<-h.found
				found++
			}
		}
		if ended {
			t.Logf("killed at %d stops; %d left something, %d ports were found and lost", n, traces, found)
		}
	}
	eventually(t, "connections to the dead are forgotten", func() bool { return survivor.Connections() == 0 })
	if traces < 20 || found < 20 {
		t.Errorf("only %d kills left something, only %d ports were found", traces, found)
	}
}

// Whatever has the name of a participant can be connected to, at every moment of its
// life: who is refused takes it for dead, and removes its name for good.
func TestNameNeverRefuses(t *testing.T) {
	dir := domain(t)
	node(t, dir, nil).Close() // makes the folder
	p := proctest.Start(t, nil, "live", dir)
	p.Line()
	looks, there := 0, 0
	p.LookAtStops(func() { p.Send("go"); p.CloseInput() }, func() {
		looks++
		for _, path := range files(t, dir) {
			name := filepath.Base(path)
			if filepath.Base(filepath.Dir(path)) != "sockets" || name[0] == '.' {
				continue
			}
			there++
			conn, err := net.DialUnix("unixpacket", nil, socketIn(t, dir, name))
			if err != nil {
				t.Errorf("at stop %d of a participant that lives: %v", looks, err)
				continue
			}
			conn.Close()
		}
	})
	if there < 20 || there == looks {
		t.Errorf("it had its name at %d of %d stops", there, looks)
	}
}

// files lists all files of a domain.
func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	for _, pattern := range []string{"sockets/*", "sockets/.*", "ports/*/*"} {
		more, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, more...)
	}
	return list
}

// What has died is shown as stale and removed by the next; of another boot nothing is
// touched, though its socket refuses.
func TestStaleAndForeign(t *testing.T) {
	dir := domain(t)
	alive, dead := start(t, nil, dir), start(t, nil, dir)
	alive.must("add p publisher topic/with%percent")
	dead.must("add s subscriber topic/with%percent", "add x subscriber other")
	dead.Kill()
	foreign := strings.Repeat("0", 31) + "1.00000000000000ff"
	ghost := fmt.Sprintf("%s.%016x.2", meet.BootID(), 255) // a registration without a socket
	for _, path := range []string{"sockets/" + foreign, "ports/1-other/" + foreign + ".2", "ports/1-other/" + ghost, "ports/1-other/nonsense", "ports/nonsense"} {
		if err := os.WriteFile(filepath.Join(dir, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(entries ...meet.Entry) {
		t.Helper()
		got, err := meet.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(entries, func(a, b meet.Entry) int {
			return strings.Compare(a.Name+a.Boot+fmt.Sprint(a.Role)+fmt.Sprintf("%016x", a.Instance), b.Name+b.Boot+fmt.Sprint(b.Role)+fmt.Sprintf("%016x", b.Instance))
		})
		slices.SortFunc(got, func(a, b meet.Entry) int {
			return strings.Compare(a.Name+a.Boot+fmt.Sprint(a.Role)+fmt.Sprintf("%016x", a.Instance), b.Name+b.Boot+fmt.Sprint(b.Role)+fmt.Sprintf("%016x", b.Instance))
		})
		if !slices.Equal(got, entries) {
			t.Errorf("listed\n%v; want\n%v", got, entries)
		}
	}
	id := func(p *participant) uint64 {
		n, err := strconv.ParseUint(p.id, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	boot := meet.BootID()
	here := meet.Entry{Kind: meet.Topic, Name: "topic/with%percent", Role: meet.Publisher, Boot: boot, Instance: id(alive), State: meet.Alive}
	there := meet.Entry{Kind: meet.Topic, Name: "other", Role: meet.Subscriber, Boot: foreign[:32], Instance: 255, State: meet.Foreign}
	want(here, there,
		meet.Entry{Kind: meet.Topic, Name: "topic/with%percent", Role: meet.Subscriber, Boot: boot, Instance: id(dead), State: meet.Stale},
		meet.Entry{Kind: meet.Topic, Name: "other", Role: meet.Subscriber, Boot: boot, Instance: id(dead), State: meet.Stale},
		meet.Entry{Kind: meet.Topic, Name: "other", Role: meet.Subscriber, Boot: boot, Instance: 255, State: meet.Stale})
	n := node(t, dir, patient)
	p, _, _ := add(t, n, meet.Publisher, "other") // waits for nobody, because nobody is there
	if err := n.Remove(p); err != nil {
		t.Fatal(err)
	}
	want(here, there)
	alive.must("add s subscriber topic/with%percent")
	alive.want("s found publisher " + alive.id + "/1")
}

// A socket of another boot refuses, as a dead one's does. It is that of another kernel,
// on which its participant may be alive, so that nobody who comes upon it removes it: not
// by opening the domain, by looking for ports, by cleaning up, or by being refused.
func TestForeignSocketStays(t *testing.T) {
	dir := domain(t)
	other, dead := strings.Repeat("e", 32), strings.Repeat("0", 15)+"1"
	node(t, dir, nil).Close() // makes the folder
	if err := os.Mkdir(filepath.Join(dir, "ports/1-topic"), 0o700); err != nil {
		t.Fatal(err)
	}
	refuses := func(name string) {
		l, err := net.ListenUnix("unixpacket", socketIn(t, dir, name))
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	// One that is whole, one that is being made, and for comparison those of this boot.
	var want []string
	for _, boot := range []string{other, meet.BootID()} {
		name := boot + "." + dead
		refuses(name)
		refuses("." + name)
		registration := filepath.Join("ports/1-topic", name+".2")
		if err := os.WriteFile(filepath.Join(dir, registration), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if boot == other {
			want = append(want, filepath.Join("sockets", "."+name), filepath.Join("sockets", name), registration)
		}
	}
	for range 2 {
		n := node(t, dir, patient)
		add(t, n, meet.Publisher, "topic")
		n.Close()
		clean(t, dir, false)
	}
	var got []string
	for _, path := range files(t, dir) {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("there are\n%q; want\n%q", got, want)
	}
}

// A peer that is stopped holds nobody up for longer than 100 ms, is shown as pending,
// and is met when it goes on.
func TestStoppedPeer(t *testing.T) {
	for name, settings := range map[string][]string{"": nil, "no room to wait": {"backlog=0"}} {
		t.Run(name, func(t *testing.T) {
			dir := domain(t)
			stopped := start(t, nil, dir, settings...)
			stopped.must("add s subscriber topic", "add other subscriber other")
			stop(t, stopped)
			var crowd []int
			if settings != nil {
				crowd = fillBacklog(t, filepath.Join(dir, "sockets", meet.BootID()+"."+stopped.id))
			}
			n := node(t, dir, nil)
			p, h, took := add(t, n, meet.Publisher, "topic")
			if took < 100*time.Millisecond || took > 10*time.Second {
				t.Errorf("Add took %v; want little more than 100 ms", took)
			}
			if list := n.Pending(); len(list) != 1 || fmt.Sprintf("%016x", list[0].Instance) != stopped.id || (settings == nil && list[0].PID != stopped.PID()) {
				t.Errorf("pending: %v", list)
			}
			// A port that is removed before the peer goes on is never told.
			brief, _, _ := add(t, n, meet.Publisher, "other")
			if err := n.Remove(brief); err != nil {
				t.Fatal(err)
			}
			if len(h.found) != 0 {
				t.Error("found before it went on")
			}
			stopped.Signal(syscall.SIGCONT)
			for _, fd := range crowd {
				syscall.Close(fd)
			}
			r := next(t, "found after it went on", h.found)
			stopped.want(fmt.Sprintf("s found publisher %016x/1", n.ID()))
			if len(n.Pending()) != 0 {
				t.Errorf("pending: %v", n.Pending())
			}
			// Stopped again, now that there is a connection.
			stop(t, stopped)
			sent := 0
			for ; ; sent++ {
				if err := r.Send(uint16(sent), make([]byte, 1000)); err != nil {
					if !errors.Is(err, meet.ErrBusy) {
						t.Fatalf("send %d: %v", sent, err)
					}
					break
				}
			}
			_, later, took := add(t, n, meet.Publisher, "other")
			if took < 100*time.Millisecond || took > 10*time.Second {
				t.Errorf("Add took %v; want little more than 100 ms", took)
			}
			// Nor is one told that is removed while it is queued: we would be dropped for
			// that, as PORTGONE would come alone.
			brief, _, _ = add(t, n, meet.Publisher, "other")
			if err := n.Remove(brief); err != nil {
				t.Fatal(err)
			}
			if err := r.Send(0, nil); !errors.Is(err, meet.ErrBusy) {
				t.Errorf("a message would overtake the port: %v", err)
			}
			stopped.Signal(syscall.SIGCONT)
			for i := range sent {
				if got := stopped.want(fmt.Sprintf("s heard %016x/1 ", n.ID())); !strings.HasPrefix(got, strconv.Itoa(i)+" ") {
					t.Fatalf("message %d is %.20s…", i, got)
				}
			}
			next(t, "found what was queued", later.found)
			eventually(t, "room again", func() bool { return r.Send(1, nil) == nil })
			if got := len(later.found) + len(h.lost); got > 0 {
				t.Errorf("%d ports too many were found or lost", got)
			}
			// Remove and Close do not wait for it either.
			stop(t, stopped)
			before := time.Now()
			if err := n.Remove(p); err != nil {
				t.Fatal(err)
			}
			next(t, "own port's loss", h.lost)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(before); took > 10*time.Second {
				t.Errorf("Remove and Close took %v", took)
			}
		})
	}
}

// stop stops a process, and waits until it is.
func stop(t *testing.T, p *participant) {
	t.Helper()
	p.Signal(syscall.SIGSTOP)
	eventually(t, "it stops", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), ") T ")
	})
}

// fillBacklog connects until there is no room.
func fillBacklog(t *testing.T, path string) (fds []int) {
	t.Helper()
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	address := &syscall.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))}
	for {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Connect(fd, address); err != nil {
			syscall.Close(fd)
			if errors.Is(err, syscall.EAGAIN) {
				return fds
			}
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
}

func TestForkedChild(t *testing.T) {
	p := start(t, nil, domain(t))
	if got := p.do("in-child"); got != "f <nil>" {
		t.Errorf("in a forked child Close said %q; want ErrForked", got)
	}
	p.must("add p publisher topic", "close")
}
