package meet_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{
		"obey":  obey,
		"live":  live,
		"clean": cleanUp,
		"crowd": crowd,
		"claim": claim,
		"check": check,
		"look":  look,
		"sleep": func([]string) error { return proctest.Hang() },
	})
}

// domain returns the folder of a new domain, which is not there yet.
func domain(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Helpers run as other users too.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "domain")
}

var kinds = map[string]meet.Role{"publisher": meet.Publisher, "subscriber": meet.Subscriber, "observer": meet.Observer}

// teller prints what its port is told, and keeps the remote ports.
type teller struct {
	name   string // of the port, in the printed lines
	mu     *sync.Mutex
	out    io.Writer
	remote map[string]*meet.Remote
	greet  int // messages to send to all that are found
}

func where(r *meet.Remote) string { return fmt.Sprintf("%016x/%d", r.Peer().ID(), r.Port()) }

func (h *teller) print(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(h.out, format+"\n", args...)
}

func (h *teller) Found(r *meet.Remote) {
	h.mu.Lock()
	h.remote[where(r)] = r
	h.mu.Unlock()
	h.print("%s found %v %s %q", h.name, r.Role(), where(r), r.Settings())
	for i := range h.greet {
		if err := r.Send(uint16(i), []byte("greeting")); err != nil {
			h.print("%s cannot greet %s: %v", h.name, where(r), err)
		}
	}
}

func (h *teller) Message(r *meet.Remote, m *meet.Message) {
	h.print("%s heard %s %d %q", h.name, where(r), m.Type, m.Body)
	for _, f := range m.Files {
		text, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
		h.print("%s file %q %v", h.name, text, err)
	}
}

func (h *teller) Lost(r *meet.Remote) {
	h.print("%s lost %s", h.name, where(r))
	if err := r.Send(1, nil); !errors.Is(err, meet.ErrGone) {
		h.print("%s sends to %s after it was lost: %v", h.name, where(r), err)
	}
}

// obey is a participant that is told what to do by lines of input: NAME is what a
// port is called in the lines that it prints.
func obey(args []string) error {
	c := &meet.Config{}
	for _, word := range args[1:] {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "patient":
			c.Answer = time.Hour
		case "hasty":
			c.Answer = 1
		case "old-kernel":
			meet.WithoutPeerPidfd()
		case "no-pidfd-of-the-dead":
			meet.PeerPidfdOfTheLiving()
		case "backlog":
			n, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			meet.Backlog(n)
		case "owner":
			uid, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			c.Owners = append(c.Owners, uid)
		}
	}
	n, err := meet.Open(args[0], c)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	ports := map[string]*meet.Port{}
	tellers := map[string]*teller{}
	var relieve func()
	fmt.Printf("%016x\n", n.ID())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		word := strings.Fields(in.Text())
		err := error(nil)
		extra := ""
		switch word[0] {
		case "add": // add NAME ROLE TOPIC [GREETINGS]
			h := &teller{name: word[1], mu: &mu, out: os.Stdout, remote: map[string]*meet.Remote{}}
			if len(word) > 4 {
				h.greet, _ = strconv.Atoi(word[4])
			}
			p := &meet.Port{Kind: meet.Topic, Name: word[3], Role: kinds[word[2]], Settings: []byte("settings of " + word[1]), Handler: h}
			ports[word[1]], tellers[word[1]] = p, h
			err = n.Add(p)
		case "remove": // remove NAME
			err = n.Remove(ports[word[1]])
		case "send": // send NAME WHERE TYPE TEXT [CONTENT OF A MEMFD]
			h := tellers[word[1]]
			mu.Lock()
			r := h.remote[word[2]]
			mu.Unlock()
			typ, _ := strconv.Atoi(word[3])
			var files []*os.File
			if len(word) > 5 {
				f, ferr := memory(word[5])
				if ferr != nil {
					return ferr
				}
				defer f.Close()
				files = append(files, f)
			}
			err = r.Send(uint16(typ), []byte(word[4]), files...)
		case "fill": // fill NAME WHERE: send until there is no room
			h := tellers[word[1]]
			mu.Lock()
			r := h.remote[word[2]]
			mu.Unlock()
			sent := 0
			for err == nil {
				if err = r.Send(uint16(sent), make([]byte, 3000)); err == nil {
					sent++
				}
			}
			extra = " " + strconv.Itoa(sent)
		case "pending":
			for _, p := range n.Pending() {
				extra += fmt.Sprintf(" %016x %d", p.Instance, p.PID)
			}
		case "troubles":
			for _, p := range n.Troubles() {
				extra += fmt.Sprintf(" [%v]", p.Err)
			}
		case "fork":
			pid, err := proctest.Fork()
			if err != nil {
				return err
			}
			extra = " " + strconv.Itoa(pid)
		case "in-child":
			extra, err = inChild(n)
		case "exec":
			return proctest.Exec("sleep")
		case "starve": // starve DESCRIPTORS THAT ARE LEFT
			left, _ := strconv.Atoi(word[1])
			relieve, err = proctest.Starve(left)
		case "relieve":
			relieve()
		case "close":
			err = n.Close()
		case "again": // another participant in the same process
			if err = n.Close(); err == nil {
				n, err = meet.Open(args[0], c)
				extra = fmt.Sprintf(" %016x", n.ID())
			}
		case "fds":
			list, _ := os.ReadDir("/proc/self/fd")
			extra = " " + strconv.Itoa(len(list))
		}
		mu.Lock()
		fmt.Printf("= %s%s %v\n", word[0], extra, err)
		mu.Unlock()
	}
	return nil
}

// memory returns a memfd.
func memory(content string) (*os.File, error) {
	fd, err := sys.Memfd("test", 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "test")
	_, err = f.WriteString(content)
	return f, err
}

// inChild returns what Close says in a forked child. The child has one thread of the
// runtime's, so it hangs if that was just about to run another goroutine: another is
// forked then.
func inChild(n *meet.Node) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	for {
		pid, err := proctest.ForkAndTell(int(w.Fd()), func() byte {
			if n.Close() == meet.ErrForked {
				return 'f'
			}
			return '-'
		})
		if err != nil {
			return "", err
		}
		b := make([]byte, 1)
		r.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err = r.Read(b)
		syscall.Kill(pid, syscall.SIGKILL)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return " " + string(b), err
		}
	}
}

// participant is a helper that obeys.
type participant struct {
	*proctest.Process
	t    testing.TB
	id   string
	read []string // lines that nobody has asked for yet
}

func start(t testing.TB, c *proctest.Config, dir string, settings ...string) *participant {
	t.Helper()
	p := &participant{Process: proctest.Start(t, c, "obey", append([]string{dir}, settings...)...), t: t}
	p.id = p.Line()
	return p
}

// want waits for a line that begins so, and returns the rest of it. Lines before it
// are kept for other calls.
func (p *participant) want(prefix string) string {
	p.t.Helper()
	for i, line := range p.read {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			p.read = slices.Delete(p.read, i, i+1)
			return strings.TrimSpace(rest)
		}
	}
	for {
		line := p.Line()
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
		p.read = append(p.read, line)
	}
}

// do gives an order, and returns the answer.
func (p *participant) do(order string) string {
	p.t.Helper()
	word, _, _ := strings.Cut(order, " ")
	p.Send(order)
	return p.want("= " + word)
}

// must gives an order that has to succeed.
func (p *participant) must(orders ...string) {
	p.t.Helper()
	for _, order := range orders {
		if got := p.do(order); got != "<nil>" {
			p.t.Fatalf("%s: %s", order, got)
		}
	}
}

// nothing wants that no line was read that nobody has asked for.
func (p *participant) nothing() {
	p.t.Helper()
	p.do("pending") // what was printed before it has been read now
	if len(p.read) > 0 {
		p.t.Fatalf("there is more: %q", p.read)
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

// node is a participant in the test's own process.
func node(t testing.TB, dir string, c *meet.Config) *meet.Node {
	t.Helper()
	n, err := meet.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// patient is the configuration with which an Add that waits for nothing is found out:
// the test ends by its time limit.
var patient = &meet.Config{Answer: time.Hour}

// recorder is a handler that hands on what it is told.
type recorder struct {
	found, lost chan *meet.Remote
	heard       chan string
}

func newRecorder() *recorder {
	return &recorder{make(chan *meet.Remote, 1000), make(chan *meet.Remote, 1000), make(chan string, 10000)}
}

func (h *recorder) Found(r *meet.Remote) { h.found <- r }
func (h *recorder) Message(r *meet.Remote, m *meet.Message) {
	h.heard <- fmt.Sprint(m.Type, " ", len(m.Body))
}
func (h *recorder) Lost(r *meet.Remote) { h.lost <- r }

// add adds a port to a node, and returns its handler and how long that took.
func add(t testing.TB, n *meet.Node, role meet.Role, name string) (*meet.Port, *recorder, time.Duration) {
	t.Helper()
	h := newRecorder()
	p := &meet.Port{Kind: meet.Topic, Name: name, Role: role, Handler: h}
	before := time.Now()
	if err := n.Add(p); err != nil {
		t.Fatal(err)
	}
	return p, h, time.Since(before)
}

// next waits for something.
func next[T any](t testing.TB, what string, c chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: not within 30 s", what)
	}
	return v
}
