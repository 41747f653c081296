package meet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/sys"
)

// stranger is a connection whose other end is a participant in another process. What
// it sends is made here as spec/protocol.md has it, not by the code under test.
type stranger struct {
	*net.UnixConn
	t testing.TB
}

// address returns a participant's.
func address(t testing.TB, dir, id string) *net.UnixAddr {
	t.Helper()
	return socketIn(t, dir, meet.BootID()+"."+id)
}

// socketIn returns the address of a name, through a descriptor because the path may be
// long.
func socketIn(t testing.TB, dir, name string) *net.UnixAddr {
	t.Helper()
	folder, err := os.Open(filepath.Join(dir, "sockets"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), name)}
}

func connect(t testing.TB, dir, id string) *stranger {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, address(t, dir, id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &stranger{conn, t}
}

// claim connects to a participant, says it is another, and prints what it is told.
func claim(args []string) error {
	folder, err := os.Open(filepath.Join(args[0], "sockets"))
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/%s.%s", folder.Fd(), meet.BootID(), args[1])})
	if err != nil {
		return err
	}
	id, err := strconv.ParseUint(args[2], 16, 64)
	if err != nil {
		return err
	}
	b := make([]byte, 5000)
	if _, err := conn.Write(helloOf(id)); err != nil {
		return err
	}
	if _, err := conn.Read(b); err != nil {
		return err
	}
	if b[0] != refused {
		return fmt.Errorf("told %x", b[:80])
	}
	fmt.Println(b[16])
	return nil
}

const (
	hello, refused, port, gone = hostile.KindHello, hostile.KindReject, hostile.KindPort, hostile.KindGone
	ask, seen, message         = hostile.KindAsk, hostile.KindSeen, hostile.KindMessage
)

var packet, helloOf, portOf = hostile.Packet, hostile.Hello, hostile.Port

func (s *stranger) send(packets ...[]byte) {
	for _, b := range packets {
		if _, err := s.Write(b); err != nil {
			return // it has had enough already
		}
	}
}

// next returns the next packet; nil at the end.
func (s *stranger) next() []byte {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(30 * time.Second))
	b := make([]byte, 5000)
	for {
		n, err := s.Read(b)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE):
			return nil
		case errors.Is(err, syscall.ECONNRESET):
			continue // it had not read all; what it said comes now
		case err != nil:
			s.t.Fatal(err)
		}
		return b[:n]
	}
}

// meets says HELLO and waits for the answer.
func (s *stranger) meets(id uint64) *stranger {
	s.t.Helper()
	s.send(helloOf(id))
	got := s.next()
	if len(got) != 80 || got[0] != hello || string(got[16:24]) != "memlane\x01" {
		s.t.Fatalf("HELLO is answered by %x", got)
	}
	return s
}

// rejected waits for REJECT and the end, and returns the code.
func (s *stranger) rejected() (code uint32) {
	s.t.Helper()
	for b := s.next(); b != nil; b = s.next() {
		if len(b) >= 20 && b[0] == refused {
			code = binary.LittleEndian.Uint32(b[16:])
		}
	}
	return code
}

func repeat(n int, b []byte) (list [][]byte) {
	for range n {
		list = append(list, b)
	}
	return list
}

func with(b []byte, at int, value byte) []byte {
	b = bytes.Clone(b)
	b[at] = value
	return b
}

// Whatever a peer sends that is not of the protocol: it is told so with the right
// code, its connection ends, the reason is kept, and everybody else goes on.
func TestHostilePeer(t *testing.T) {
	dir := domain(t)
	victim, honest := start(t, nil, dir), start(t, nil, dir)
	victim.must("add p publisher topic")
	honest.must("add s subscriber topic")
	victim.want("p found")
	honest.want("s found")
	before := victim.do("fds")
	h := helloOf(1)
	fds := func(n int) []int {
		list := make([]int, n)
		for i := range list {
			list[i] = 0
		}
		return list
	}
	pidfd, err := sys.PidfdOpen(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(pidfd)
	mem, err := memory("content")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const version, protocol, quota = 1, 2, 5
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	noise := make([]byte, 500)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	many := func(n int, fn func(i uint32) []byte) (list [][]byte) {
		for i := range n {
			list = append(list, fn(uint32(i+1)))
		}
		return list
	}
	for i, tc := range []struct {
		name    string
		met     bool // after a proper HELLO
		packets [][]byte
		files   []int // with the last packet
		code    uint32
	}{
		{"noise", false, [][]byte{noise}, nil, protocol},
		{"one byte", false, [][]byte{{1}}, nil, protocol},
		{"half a header", false, [][]byte{h[:8]}, nil, protocol},
		{"half a HELLO", false, [][]byte{h[:60]}, nil, protocol},
		{"another magic", false, [][]byte{with(h, 16, 'M')}, nil, protocol},
		{"a later version", false, [][]byte{with(with(h, 24, 2), 26, 9)}, nil, version},
		{"an earlier version", false, [][]byte{with(with(h, 24, 0), 26, 0)}, nil, version},
		{"another boot", false, [][]byte{with(h, 40, h[40]+1)}, nil, protocol},
		{"PORT before HELLO", false, [][]byte{portOf(1, 2, "topic", "")}, nil, protocol},
		{"a HELLO with something else than a pidfd", false, [][]byte{h}, fds(1), protocol},
		{"a HELLO with two pidfds", false, [][]byte{h}, []int{pidfd, pidfd}, protocol},
		{"another HELLO with a pidfd", true, [][]byte{h}, []int{pidfd}, protocol},
		{"a message with something else than a memfd", true, [][]byte{portOf(1, 2, "topic", ""), packet(message, 0, 1, 1)}, []int{int(mem.Fd()), 0}, protocol},
		{"4097 bytes", true, [][]byte{packet(message, 1, 1, 1, make([]byte, 4097-16)...)}, nil, protocol},
		{"64 KiB", true, [][]byte{packet(message, 1, 1, 1, make([]byte, 1<<16)...)}, nil, protocol},
		{"another HELLO", true, [][]byte{h}, nil, protocol},
		{"unknown kind", true, [][]byte{packet(8, 0, 1, 0)}, nil, protocol},
		{"last word of the header", true, [][]byte{with(packet(ask, 0, 1, 0), 15, 1)}, nil, protocol},
		{"type of an ASK", true, [][]byte{packet(ask, 1, 1, 0)}, nil, protocol},
		{"body of an ASK", true, [][]byte{packet(ask, 0, 1, 0, 1)}, nil, protocol},
		{"PORT 0", true, [][]byte{portOf(0, 2, "topic", "")}, nil, protocol},
		{"role 0", true, [][]byte{portOf(1, 0, "topic", "")}, nil, protocol},
		{"kind 0", true, [][]byte{with(portOf(1, 2, "topic", ""), 16, 0)}, nil, protocol},
		{"the same PORT twice", true, repeat(2, portOf(1, 2, "topic", "")), nil, protocol},
		{"a name of no bytes", true, [][]byte{portOf(1, 2, "", "")}, nil, protocol},
		{"a name of 201 bytes", true, [][]byte{portOf(1, 2, strings.Repeat("n", 201), "")}, nil, protocol},
		{"a name with a line feed", true, [][]byte{portOf(1, 2, "a\nb", "")}, nil, protocol},
		{"a name that is not UTF-8", true, [][]byte{portOf(1, 2, "a\xff", "")}, nil, protocol},
		{"long settings", true, [][]byte{portOf(1, 2, "topic", strings.Repeat("s", 1025))}, nil, protocol},
		{"a length beyond the packet", true, [][]byte{with(portOf(1, 2, "topic", ""), 18, 200)}, nil, protocol},
		{"a length short of the packet", true, [][]byte{with(portOf(1, 2, "topic", "s"), 20, 0)}, nil, protocol},
		{"PORTGONE of none", true, [][]byte{packet(gone, 0, 1, 0)}, nil, protocol},
		{"PORTGONE twice", true, [][]byte{portOf(1, 2, "topic", ""), packet(gone, 0, 1, 0), packet(gone, 0, 1, 0)}, nil, protocol},
		{"a message from 0", true, [][]byte{packet(message, 0, 0, 1)}, nil, protocol},
		{"a message to 0", true, [][]byte{packet(message, 0, 1, 0)}, nil, protocol},
		{"a descriptor with a PORT", true, [][]byte{portOf(1, 2, "topic", "")}, fds(1), protocol},
		{"5 descriptors", true, [][]byte{portOf(1, 2, "topic", ""), packet(message, 0, 1, 1)}, fds(5), protocol},
		{"253 descriptors", true, [][]byte{portOf(1, 2, "topic", ""), packet(message, 0, 1, 1)}, fds(253), protocol},
		{"too many ports", true, many(4097, func(i uint32) []byte { return portOf(i, 2, "none", "") }), nil, quota},
		{"a REJECT that is none", true, [][]byte{packet(refused, 0, 0, 0, 1)}, nil, protocol},
		{"a REJECT with a terminal's controls", true, [][]byte{packet(refused, 0, 0, 0, []byte("\x09\x00\x00\x00\x1b[2J")...)}, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := connect(t, dir, victim.id)
			if tc.met {
				s.meets(uint64(1000 + i))
			}
			last := len(tc.packets) - 1
			s.send(tc.packets[:last]...)
			if tc.files != nil {
				s.WriteMsgUnix(tc.packets[last], syscall.UnixRights(tc.files...), nil)
			} else {
				s.send(tc.packets[last])
			}
			if code := s.rejected(); code != tc.code {
				t.Errorf("REJECT %d; want %d (seed %#x)", code, tc.code, seed)
			}
			s.Close()
			if tc.code == protocol && tc.met {
				again := connect(t, dir, victim.id)
				again.send(helloOf(uint64(1000 + i)))
				if code := again.rejected(); code != protocol {
					t.Errorf("it is met again: REJECT %d", code)
				}
				again.Close()
			}
			if troubles := victim.do("troubles"); tc.code != 0 && !strings.Contains(troubles, "[") {
				t.Errorf("no reason was kept: %s", troubles)
			}
		})
	}
	eventually(t, "all descriptors are closed", func() bool { return victim.do("fds") == before })
	victim.read = nil // ports of strangers were found and lost
	honest.must("send s " + victim.id + "/1 5 still")
	victim.want("p heard " + honest.id + "/1 5")
	honest.nothing()
}

// Before Linux 6.5 a peer sends its own pidfd. What it sends in its place tells of nobody
// else: it is refused, or the peer alone is gone.
func TestHostilePidfd(t *testing.T) {
	dir := domain(t)
	victim, honest := start(t, nil, dir, "old-kernel"), start(t, nil, dir, "old-kernel")
	victim.must("add p publisher topic")
	honest.must("add s subscriber topic")
	victim.want("p found subscriber " + honest.id)
	honest.want("s found publisher " + victim.id)
	before := victim.do("fds")
	pidfd := func(pid int) int {
		fd, err := sys.PidfdOpen(pid)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sys.Close(fd) })
		return fd
	}
	own, others := pidfd(os.Getpid()), pidfd(honest.PID())
	short := proctest.Start(t, nil, "sleep")
	ended := pidfd(short.PID())
	short.Kill()
	zombie := proctest.Start(t, nil, "sleep")
	unreaped := pidfd(zombie.PID())
	zombie.Signal(syscall.SIGKILL)
	eventually(t, "it has ended", func() bool { is, err := sys.Readable(unreaped); return is && err == nil })
	const protocol = 2
	for i, tc := range []struct {
		name  string
		files []int
		code  uint32 // of REJECT
		gone  bool   // its HELLO is answered, and it is gone
	}{
		{"its own", []int{own}, 0, false},
		{"none", nil, 0, false},
		{"another process's", []int{others}, protocol, false},
		{"the victim's", []int{pidfd(victim.PID())}, protocol, false},
		{"its own and another's", []int{own, others}, protocol, false},
		{"five", []int{own, own, own, own, own}, protocol, false},
		{"200", slices.Repeat([]int{own}, 200), protocol, false},
		{"a pipe's or a file's", []int{0}, protocol, false},
		{"of a process that has ended", []int{unreaped}, protocol, false},
		{"of nobody any more", []int{ended}, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := uint64(2000 + i)
			s := connect(t, dir, victim.id)
			s.WriteMsgUnix(helloOf(id), syscall.UnixRights(tc.files...), nil)
			if tc.code != 0 {
				if code := s.rejected(); code != tc.code {
					t.Errorf("REJECT %d; want %d", code, tc.code)
				}
				if got := victim.do("troubles"); !strings.Contains(got, meet.ErrProtocol.Error()) {
					t.Errorf("troubles: %s", got)
				}
				return
			}
			if got := s.next(); got == nil || got[0] != hello {
				t.Fatalf("HELLO is answered by %x", got)
			}
			if tc.gone {
				if got := s.next(); got != nil {
					t.Errorf("who has ended is told %x", got)
				}
				return
			}
			s.send(portOf(1, 2, "topic", ""))
			victim.want(fmt.Sprintf("p found subscriber %016x/1", id))
			s.Close()
			victim.want(fmt.Sprintf("p lost %016x/1", id))
		})
	}
	eventually(t, "all descriptors are closed", func() bool { return victim.do("fds") == before })
	honest.must("send s " + victim.id + "/1 5 still")
	victim.want("p heard " + honest.id + "/1 5")
	honest.nothing()
	victim.nothing()
}

// What is allowed does no harm: a message for a port that is not there, a REJECT, a
// flood, silence.
func TestUnpleasantPeer(t *testing.T) {
	dir := domain(t)
	victim := start(t, nil, dir)
	victim.must("add p publisher topic")
	before := victim.do("fds")

	t.Run("messages for nobody", func(t *testing.T) {
		mem, err := memory("content")
		if err != nil {
			t.Fatal(err)
		}
		defer mem.Close()
		fd := int(mem.Fd())
		s := connect(t, dir, victim.id).meets(1)
		for range 300 { // more than it may have open
			s.WriteMsgUnix(packet(message, 1, 1, 1), syscall.UnixRights(fd, fd, fd, fd), nil)
		}
		s.send(portOf(1, 2, "topic", "from a stranger"))
		victim.want(fmt.Sprintf("p found subscriber %016x/1 %q", 1, "from a stranger"))
		s.WriteMsgUnix(packet(message, 1, 1, 99), syscall.UnixRights(fd, fd, fd, fd), nil)
		s.send(packet(ask, 0, 77, 0))
		if got := s.next(); got[0] != port {
			t.Errorf("PORT is answered by %x", got)
		}
		if got := s.next(); !bytes.Equal(got, packet(seen, 0, 77, 0)) {
			t.Errorf("ASK is answered by %x", got)
		}
		s.Close()
		victim.want(fmt.Sprintf("p lost %016x/1", 1))
	})
	t.Run("goes without having read", func(t *testing.T) {
		// The kernel tells its peer of that before it gives out what has come.
		s := connect(t, dir, victim.id).meets(4)
		s.send(portOf(1, 2, "topic", ""))
		victim.want(fmt.Sprintf("p found subscriber %016x/1", 4))
		stop(t, victim)
		for i := range uint16(5) {
			s.send(packet(message, i, 1, 1))
		}
		s.Close()
		victim.Signal(syscall.SIGCONT)
		for i := range 5 {
			victim.want(fmt.Sprintf("p heard %016x/1 %d", 4, i))
		}
		victim.want(fmt.Sprintf("p lost %016x/1", 4))
	})
	t.Run("asks and does not read", func(t *testing.T) {
		s := connect(t, dir, victim.id).meets(2)
		for s.SetWriteDeadline(time.Now().Add(30 * time.Second)); ; {
			if _, err := s.Write(packet(ask, 0, 1, 0)); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("it is never dropped")
				}
				break
			}
		}
		if got := victim.do("troubles"); !strings.Contains(got, "too much waits for it: 4096 packets") {
			t.Errorf("troubles: %s", got)
		}
	})
	t.Run("silence of many", func(t *testing.T) {
		var all []*stranger
		for range 300 {
			all = append(all, connect(t, dir, victim.id))
		}
		n := node(t, dir, &meet.Config{Answer: time.Minute})
		_, h, _ := add(t, n, meet.Subscriber, "topic")
		if len(h.found) != 1 {
			t.Errorf("found %d", len(h.found))
		}
		n.Close()
		if got := all[0].next(); len(got) > 0 && got[0] != refused {
			t.Errorf("the oldest gets %x", got)
		}
		for _, s := range all {
			s.Close()
		}
	})
	t.Run("flood", func(t *testing.T) {
		s := connect(t, dir, victim.id).meets(3)
		s.send(portOf(1, 3, "nobody's", ""))
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					s.send(packet(message, 1, 1, 1, make([]byte, 3000)...))
				}
			}
		}()
		n := node(t, dir, nil)
		_, h, _ := add(t, n, meet.Subscriber, "topic")
		next(t, "found", h.found)
		close(stop)
		<-done
		s.Close()
	})
	eventually(t, "all descriptors are closed", func() bool { return victim.do("fds") == before })
}

// The other way round: what is begun here is answered by nonsense.
func TestHostileAnswer(t *testing.T) {
	for name, answer := range map[string]struct {
		packet []byte
		want   error
	}{
		"noise":           {[]byte("noise noise noise noise"), meet.ErrProtocol},
		"another's HELLO": {helloOf(6), meet.ErrProtocol},
		"REJECT":          {packet(refused, 0, 0, 0, []byte("\x01\x00\x00\x00speak 7")...), meet.ErrVersion},
		"version":         {with(with(helloOf(5), 24, 7), 26, 7), meet.ErrVersion},
		"nothing":         {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := domain(t)
			node(t, dir, nil).Close() // makes the folder
			registered := fmt.Sprintf("%s.%016x", meet.BootID(), 5)
			l, err := net.ListenUnix("unixpacket", address(t, dir, fmt.Sprintf("%016x", 5)))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := os.Mkdir(filepath.Join(dir, "ports/1-topic"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "ports/1-topic", registered+".1"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					conn, err := l.AcceptUnix()
					if err != nil {
						return
					}
					conn.Write(answer.packet)
					if answer.packet == nil {
						conn.Close()
					}
				}
			}()
			n := node(t, dir, patient)
			if _, h, _ := add(t, n, meet.Subscriber, "topic"); len(h.found) > 0 {
				t.Errorf("%d found", len(h.found))
			}
			if answer.want != nil {
				if list := n.Troubles(); len(list) != 1 || !errors.Is(list[0].Err, answer.want) || list[0].Instance != 5 || list[0].PID != os.Getpid() {
					t.Errorf("troubles: %v; want %v", list, answer.want)
				}
			}
		})
	}
}

// Who is dropped by the handler's user is told why, and not met again.
func TestDrop(t *testing.T) {
	dir := domain(t)
	n := node(t, dir, patient)
	_, h, _ := add(t, n, meet.Publisher, "topic")
	p := start(t, nil, dir)
	p.must("add s subscriber topic")
	r := next(t, "found", h.found)
	n.Drop(r, errors.New("its cursor runs backwards"))
	next(t, "lost", h.lost)
	p.want("s lost")
	if got := p.do("troubles"); !strings.Contains(got, "its cursor runs backwards") {
		t.Errorf("the dropped one knows of %s", got)
	}
	list := n.Troubles()
	if len(list) != 1 || !errors.Is(list[0].Err, meet.ErrDropped) || list[0].PID != p.PID() {
		t.Errorf("troubles: %v", list)
	}
	p.must("add s2 subscriber topic")
	add(t, n, meet.Publisher, "topic") // does not wait for who was dropped
	if len(h.found) > 0 {
		t.Error("it was met again")
	}
}

// check is a process that looks at its own pidfd, and at something else, with and without
// a descriptor to do so.
func check([]string) error {
	pidfd, err := sys.PidfdOpen(os.Getpid())
	if err != nil {
		return err
	}
	look := func() {
		for _, fd := range []int{pidfd, 0} {
			err := meet.CheckHello(fd)
			fmt.Println(errors.Is(err, meet.ErrProtocol), meet.Starved(err), err == nil)
		}
	}
	relieve, err := proctest.Starve(0)
	if err != nil {
		return err
	}
	look()
	relieve()
	look()
	return nil
}

// look is a process that lists the participants of a domain with few descriptors left, and
// with one more each time, until it knows all of one's. Args: the folder, who it is.
func look(args []string) error {
	for left := 0; ; left++ {
		relieve, err := proctest.Starve(left)
		if err != nil {
			return err
		}
		list, err := meet.Participants(args[0])
		relieve()
		if err != nil && !meet.Starved(err) {
			return err
		}
		for _, p := range list {
			if fmt.Sprintf("%016x", p.Instance) == args[1] {
				fmt.Println(p.State)
				if p.PID != 0 {
					return nil
				}
			}
		}
	}
}

// Who looks at participants and has too few descriptors takes nobody for dead.
func TestStarvedLook(t *testing.T) {
	dir := domain(t)
	p := start(t, nil, dir)
	lines := strings.Fields(proctest.Run(t, nil, "look", dir, p.id))
	if len(lines) < 2 {
		t.Errorf("it was not starved: %q", lines)
	}
	for _, line := range lines {
		if line != string(meet.Alive) && line != string(meet.Unknown) {
			t.Errorf("who is there is %s: %q", line, lines)
		}
	}
}

// A participant without descriptors cannot know what has come with a HELLO of an old
// kernel's. Nobody is banned for that.
func TestStarvedCheck(t *testing.T) {
	const starved, fine, wrong = "false true false", "false false true", "true false false"
	want := strings.Join([]string{starved, starved, fine, wrong}, "\n")
	if got := proctest.Run(t, nil, "check"); got != want {
		t.Errorf("got\n%s; want\n%s", got, want)
	}
}

// Who is dropped for a want of ours, or because it is gone or does not read, is met
// again.
func TestDropWithoutBlame(t *testing.T) {
	for name, why := range map[string]error{
		"no descriptors": &os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE},
		"none at all":    syscall.ENFILE,
		"no memory":      fmt.Errorf("map it: %w", syscall.ENOMEM),
		"full":           meet.ErrBusy,
		"gone":           meet.ErrGone,
	} {
		t.Run(name, func(t *testing.T) {
			dir := domain(t)
			n := node(t, dir, patient)
			_, h, _ := add(t, n, meet.Publisher, "topic")
			p := start(t, nil, dir)
			p.must("add s subscriber topic")
			r := next(t, "found", h.found)
			if err := r.Err(); err != nil {
				t.Errorf("it ends: %v", err)
			}
			n.Drop(r, why)
			next(t, "lost", h.lost)
			if err := r.Err(); !errors.Is(err, why) {
				t.Errorf("it has ended because of %v; want %v", err, why)
			}
			p.want("s lost")
			p.must("add s2 subscriber topic")
			for range 2 { // those of p
				next(t, "found again", h.found)
			}
		})
	}
}

// Who has not enough descriptors to connect to all whom a port is to meet is told so, and
// meets them when it adds the port once more.
func TestStarvedAdd(t *testing.T) {
	for name, settings := range map[string][]string{"": {"patient"}, "old kernel": {"patient", "old-kernel"}} {
		t.Run(name, func(t *testing.T) { starvedAdd(t, settings) })
	}
}

func starvedAdd(t *testing.T, settings []string) {
	dir := domain(t)
	p := start(t, nil, dir, settings...)
	p.must("add first subscriber topic") // so that it is registered already
	alone := p.do("fds")
	n := node(t, dir, patient)
	_, h, _ := add(t, n, meet.Publisher, "topic")
	r := next(t, "found", h.found)
	failed := 0
	for left := range 6 {
		n.Drop(r, meet.ErrBusy)
		p.want("first lost")
		eventually(t, "closed", func() bool { return p.do("fds") == alone })
		p.must(fmt.Sprintf("starve %d", left))
		switch got := p.do(fmt.Sprintf("add s%d subscriber topic", left)); {
		case strings.Contains(got, syscall.EMFILE.Error()) && strings.Contains(got, "ulimit -n"):
			failed++
			p.must("relieve", fmt.Sprintf("add s%d subscriber topic", left))
		case got != "<nil>":
			t.Errorf("%d left: %s", left, got)
		default:
			p.must("relieve")
		}
		p.want(fmt.Sprintf("s%d found", left))
		p.must(fmt.Sprintf("remove s%d", left))
		r = next(t, "found again", h.found)
		next(t, "found", h.found)
	}
	if failed == 0 {
		t.Error("it always had enough")
	}
}

// The connection to a peer that does not read ends when too much waits for it; when it
// reads again it is met again.
func TestQueueIsBounded(t *testing.T) {
	dir := domain(t)
	p := start(t, nil, dir)
	p.must("add s subscriber topic")
	n := node(t, dir, &meet.Config{Queue: 3, Answer: time.Millisecond})
	_, h, _ := add(t, n, meet.Publisher, "topic")
	r := next(t, "found", h.found)
	stop(t, p)
	for r.Send(1, make([]byte, 3000)) == nil {
	}
	for r.Send(1, nil) == nil {
	}
	for range 4 {
		add(t, n, meet.Publisher, "topic")
	}
	next(t, "lost", h.lost)
	if list := n.Troubles(); len(list) != 1 || !errors.Is(list[0].Err, meet.ErrBusy) {
		t.Errorf("troubles: %v", list)
	}
	p.Signal(syscall.SIGCONT)
	next(t, "found again", h.found)
}

// What a port that is gone has sent does not wait for a peer that does not read, if it is
// of no use any more: descriptors neither.
func TestBriefPortsLeaveNothing(t *testing.T) {
	dir := domain(t)
	p := start(t, nil, dir)
	p.must("add s subscriber topic")
	n := node(t, dir, &meet.Config{Queue: 100, Answer: time.Millisecond})
	_, h, _ := add(t, n, meet.Publisher, "topic")
	r := next(t, "found", h.found)
	stop(t, p)
	for r.Send(1, make([]byte, 3000)) == nil {
	}
	for r.Send(1, nil) == nil {
	}
	memory, err := os.CreateTemp(t.TempDir(), "memory")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	before := openFiles(t)
	for range 300 {
		port := &meet.Port{Kind: meet.Topic, Name: "topic", Role: meet.Publisher, Brief: true, Handler: newRecorder()}
		if err := n.Add(port); err != nil {
			t.Fatal(err)
		}
		r := next(t, "found", port.Handler.(*recorder).found)
		if err := r.Post(1, nil, memory); err != nil {
			t.Fatal(err)
		}
		if err := n.Remove(port); err != nil {
			t.Fatal(err)
		}
	}
	if after := openFiles(t); after > before+10 {
		t.Errorf("%d descriptors are left", after-before)
	}
	if err := r.Err(); err != nil {
		t.Errorf("the connection ends: %v", err)
	}
}

// A participant has no more ports than its peers let it have: it is told so, and nobody
// drops it.
func TestPortsAreBounded(t *testing.T) {
	dir := domain(t)
	n := node(t, dir, &meet.Config{Ports: 3})
	add(t, n, meet.Publisher, "topic")
	add(t, n, meet.Subscriber, "topic")
	last, _, _ := add(t, n, meet.Subscriber, "topic")
	more := &meet.Port{Kind: meet.Topic, Name: "topic", Role: meet.Subscriber, Handler: newRecorder()}
	err := n.Add(more)
	if !errors.Is(err, meet.ErrQuota) || !errors.Is(err, meet.ErrLimit) || !strings.Contains(err.Error(), "open the domain once more") {
		t.Errorf("%v; want %v, and what to do", err, meet.ErrQuota)
	}
	if err := n.Remove(last); err != nil {
		t.Fatal(err)
	}
	if err := n.Add(more); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

// Ports come and go while a participant whose connection was lost is looked for.
func TestLookForThePeerWhilePortsGo(t *testing.T) {
	dir := domain(t)
	n, other := node(t, dir, nil), node(t, dir, nil)
	add(t, other, meet.Publisher, "topic")
	var ports []*meet.Port
	for range 50 {
		p, _, _ := add(t, n, meet.Subscriber, "topic")
		ports = append(ports, p)
	}
	looked := make(chan int)
	go func() {
		looked <- n.Meeting(other.ID())
		most := 0
		for range 300 {
			most = max(most, n.Meeting(other.ID()))
		}
		looked <- most
	}()
	if got := <-looked; got != len(ports) {
		t.Errorf("%d of %d ports meet the other's", got, len(ports))
	}
	for len(ports) > 0 {
		if err := n.Remove(ports[0]); err != nil {
			t.Fatal(err)
		}
		ports = ports[1:]
	}
	<-looked
}
