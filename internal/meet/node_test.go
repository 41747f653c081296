package meet_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/memlane/memlane/internal/meet"
)

func TestWrongInput(t *testing.T) {
	n := node(t, domain(t), nil)
	h := newRecorder()
	for name, p := range map[string]*meet.Port{
		"kind 0":              {Name: "x", Role: 1, Handler: h},
		"no name":             {Kind: 1, Role: 1, Handler: h},
		"a name of 201":       {Kind: 1, Name: strings.Repeat("x", 201), Role: 1, Handler: h},
		"a control":           {Kind: 1, Name: "a\x7f", Role: 1, Handler: h},
		"a control of C1":     {Kind: 1, Name: "a\u0085", Role: 1, Handler: h},
		"not UTF-8":           {Kind: 1, Name: "\xc0", Role: 1, Handler: h},
		"nothing but slashes": {Kind: 1, Name: strings.Repeat("/", 100), Role: 1, Handler: h},
	} {
		if err := n.Add(p); !errors.Is(err, meet.ErrName) {
			t.Errorf("%s: got %v; want ErrName", name, err)
		}
	}
	if err := n.Add(&meet.Port{Kind: 1, Name: "x", Role: 1, Handler: h, Settings: make([]byte, 1025)}); !errors.Is(err, meet.ErrTooLong) {
		t.Errorf("long settings: %v", err)
	}
	for _, p := range []*meet.Port{{Kind: 1, Name: "x", Handler: h}, {Kind: 1, Name: "x", Role: 1}} {
		if err := n.Add(p); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("half a port: %v", err)
		}
		if err := n.Remove(p); !errors.Is(err, meet.ErrGone) {
			t.Errorf("remove what was not added: %v", err)
		}
	}
	// The longest there is, and what looks like an escape, and what is odd.
	for _, name := range []string{strings.Repeat("ü", 100), strings.Repeat("/", 83), "%2F/%", "..", ".", " ", "-", "a b\u2028"} {
		p, h, _ := add(t, n, meet.Publisher, name)
		_, other, _ := add(t, n, meet.Subscriber, name)
		r := next(t, "found", h.found)
		if next(t, "found", other.found).Role() != meet.Publisher || !r.Peer().Local() || r.Peer().ID() != n.ID() || r.Peer().PID() != os.Getpid() {
			t.Errorf("%q: found a %v of %+v", name, r.Role(), r.Peer())
		}
		if err := r.Send(1, make([]byte, 3073)); !errors.Is(err, meet.ErrTooLong) {
			t.Errorf("long body: %v", err)
		}
		if err := r.Send(1, nil, os.Stdin, os.Stdin, os.Stdin); !errors.Is(err, meet.ErrTooLong) {
			t.Errorf("three files: %v", err)
		}
		closed, err := os.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		closed.Close()
		if err := r.Send(1, nil, closed); !errors.Is(err, os.ErrClosed) || errors.Is(err, meet.ErrGone) {
			t.Errorf("a closed file: %v", err)
		}
		f, err := memory("")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := r.Send(1, make([]byte, 3072), f, f); err != nil {
			t.Errorf("the longest message: %v", err)
		}
		if got := next(t, "the longest message", other.heard); got != "1 3072" {
			t.Errorf("heard %s", got)
		}
		if err := n.Add(p); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("added twice: %v", err)
		}
	}
}

func TestFolders(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o777)) // takes all rights away
	base := domain(t)
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o700); err != nil {
		t.Fatal(err)
	}
	long := base
	for range 4 {
		long = filepath.Join(long, strings.Repeat("long", 20))
		if err := os.Mkdir(long, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(long, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	one, other := node(t, filepath.Join(long, "domain"), nil), node(t, filepath.Join(long, "domain"), nil)
	_, h, _ := add(t, one, meet.Publisher, "topic")
	add(t, other, meet.Subscriber, "topic")
	next(t, "found through a long path", h.found)
	for path, mode := range map[string]os.FileMode{"": os.ModeDir | 0o700, "sockets": os.ModeDir | 0o700, "ports": os.ModeDir | 0o700, "ports/1-topic": os.ModeDir | 0o700} {
		if st, err := os.Stat(filepath.Join(long, "domain", path)); err != nil || st.Mode() != mode {
			t.Errorf("%q has mode %v, %v; want %v", path, st.Mode(), err, mode)
		}
	}
	for name, prepare := range map[string]func(path string) error{
		"others may write":    func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o777)) },
		"the group may write": func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o770)) },
		"a symbolic link":     func(path string) error { return os.Symlink(long, path) },
	} {
		path := filepath.Join(base, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if n, err := meet.Open(path, nil); !errors.Is(err, meet.ErrUntrusted) {
			t.Errorf("%s: %v, %v", name, n, err)
		}
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(base, "none/of/these")} {
		if _, err := meet.Open(path, nil); err == nil {
			t.Errorf("opened %s", path)
		}
		if _, err := meet.List(path); err == nil {
			t.Errorf("listed %s", path)
		}
	}
	if list, err := meet.List(base); list != nil || err != nil {
		t.Errorf("of a folder that is no domain yet: %v, %v", list, err)
	}
}

// There are connections only where ports meet: not of one role, nor of other names.
func TestNoConnectionWithoutAMeeting(t *testing.T) {
	dir := domain(t)
	n, p := node(t, dir, patient), start(t, nil, dir)
	p.must("add p publisher topic", "add s subscriber other")
	add(t, n, meet.Publisher, "topic")
	add(t, n, meet.Subscriber, "third")
	if got := n.Connections(); got != 0 {
		t.Errorf("%d connections to a participant with whom nothing is shared", got)
	}
	_, h, _ := add(t, n, meet.Observer, "topic")
	next(t, "found", h.found)
	next(t, "found", h.found) // its own too
	if got := n.Connections(); got != 3 {
		t.Errorf("%d connections; want one to the other, and the two ends of one to itself", got)
	}
}

// Close ends an Add that waits for a stopped peer; all calls say ErrClosed then.
func TestCloseWhileAdding(t *testing.T) {
	dir := domain(t)
	p := start(t, nil, dir)
	p.must("add s subscriber topic")
	stop(t, p)
	n := node(t, dir, &meet.Config{Answer: time.Hour})
	result := make(chan error)
	go func() {
		result <- n.Add(&meet.Port{Kind: meet.Topic, Name: "topic", Role: meet.Publisher, Handler: newRecorder()})
	}()
	eventually(t, "it waits", func() bool { return len(n.Pending()) == 1 })
	go func() { result <- n.Close() }()
	results := []error{next(t, "end", result), next(t, "end", result)}
	if err := errors.Join(results...); !errors.Is(err, meet.ErrClosed) || (results[0] != nil) == (results[1] != nil) {
		t.Errorf("Add and Close say %v", results)
	}
	if err := n.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if err := n.Add(&meet.Port{Kind: 1, Name: "x", Role: 1, Handler: newRecorder()}); !errors.Is(err, meet.ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if err := n.Remove(&meet.Port{Kind: 1, Name: "x", Role: 1, Handler: newRecorder()}); !errors.Is(err, meet.ErrClosed) {
		t.Errorf("Remove after Close: %v", err)
	}
}

// leaving is told that remote ports are lost, and waits before it returns.
type leaving struct {
	*recorder
	lost, wait chan struct{}
	returned   atomic.Bool
}

func (l *leaving) Lost(*meet.Remote) {
	close(l.lost)
	<-l.wait
	l.returned.Store(true)
}

// A Remove that comes while the node is being closed waits for the handler too.
func TestRemoveWhileClosing(t *testing.T) {
	n := node(t, domain(t), nil)
	h := &leaving{recorder: newRecorder(), lost: make(chan struct{}), wait: make(chan struct{})}
	p := &meet.Port{Kind: meet.Topic, Name: "topic", Role: meet.Publisher, Handler: h}
	if err := n.Add(p); err != nil {
		t.Fatal(err)
	}
	add(t, n, meet.Subscriber, "topic")
	closed, removed := make(chan error), make(chan error)
	go func() { closed <- n.Close() }()
	next(t, "lose the other port", h.lost)
	go func() {
		err := n.Remove(p)
		if !h.returned.Load() {
			err = errors.New("Remove returned while the handler ran")
		}
		removed <- err
	}()
	for range 1000 {
		runtime.Gosched() // for a Remove that does not wait
	}
	close(h.wait)
	if err := next(t, "be removed", removed); !errors.Is(err, meet.ErrClosed) {
		t.Error(err)
	}
	if err := next(t, "be closed", closed); err != nil {
		t.Error(err)
	}
}

// strict fails the test if it is called out of turn.
type strict struct {
	t       *testing.T
	removed atomic.Bool
	mu      sync.Mutex
	state   map[*meet.Remote]string
	calls   atomic.Int64
}

func (h *strict) step(r *meet.Remote, want, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls.Add(1)
	if h.removed.Load() {
		h.t.Errorf("called after Remove or Close")
	}
	if h.state[r] != want {
		h.t.Errorf("%q where %q was to come", h.state[r], want)
	}
	h.state[r] = to
}

func (h *strict) Found(r *meet.Remote) {
	h.step(r, "", "found")
	r.Send(1, []byte("ping"))
}

func (h *strict) Message(r *meet.Remote, m *meet.Message) {
	h.step(r, "found", "found")
	r.Send(m.Type, m.Body) // for ever, between those that are there
}

func (h *strict) Lost(r *meet.Remote) { h.step(r, "found", "lost") }

func (h *strict) end() {
	h.removed.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, state := range h.state {
		if state != "lost" {
			h.t.Errorf("%q when Remove or Close returned", state)
		}
	}
}

// Several nodes add, remove and close at the same time while their ports talk without
// pause: every handler is told Found, Message…, Lost of each remote port, and nothing
// after Remove or Close.
func TestHandlersAreCalledInTurn(t *testing.T) {
	dir := domain(t)
	before := openFiles(t)
	// A third is always there, in another process.
	p := start(t, nil, dir)
	p.must("add p publisher topic")
	var all sync.WaitGroup
	var calls atomic.Int64
	for i := range 4 {
		all.Go(func() {
			for range 5 {
				n, err := meet.Open(dir, nil)
				if err != nil {
					t.Error(err)
					return
				}
				var last *strict
				for j := range 8 {
					h := &strict{t: t, state: map[*meet.Remote]string{}}
					port := &meet.Port{Kind: meet.Topic, Name: "topic", Role: meet.Role(1 + (i+j)%2), Handler: h}
					if err := n.Add(port); err != nil {
						t.Error(err)
					}
					if last != nil && j == 7 {
						last = h
						break // Close ends this one
					}
					if last = h; j%2 == 0 {
						continue // for the Close too
					}
					if err := n.Remove(port); err != nil {
						t.Error(err)
					}
					h.end()
					calls.Add(h.calls.Load())
				}
				if err := n.Close(); err != nil {
					t.Error(err)
				}
				last.end()
				calls.Add(last.calls.Load())
			}
		})
	}
	all.Wait()
	if calls.Load() < 1000 {
		t.Errorf("only %d calls", calls.Load())
	}
	if list, err := meet.List(dir); err != nil || len(list) != 1 {
		t.Errorf("left: %v, %v", list, err)
	}
	if after := openFiles(t); after > before+4 { // the helper's pipes
		t.Errorf("%d descriptors are open, there were %d", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A node that was closed keeps nothing of what was added to it, even if nobody has taken
// it out.
func TestClosedKeepsNoPorts(t *testing.T) {
	n := node(t, domain(t), nil)
	p := &meet.Port{Kind: meet.Topic, Name: "numbers", Role: meet.Publisher, Handler: newRecorder()}
	if err := n.Add(p); err != nil {
		t.Fatal(err)
	}
	kept := weak.Make(p)
	p = nil
	runtime.GC()
	if kept.Value() == nil {
		t.Fatal("a node that is open does not keep its port")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); kept.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("a node that is closed keeps its port")
		}
	}
	runtime.KeepAlive(n)
}
