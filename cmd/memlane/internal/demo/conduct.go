package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane/mmap"
)

// order is what the conductor tells a peer, one JSON object a line. Op names a
// method in ops; which fields count depends on it.
type order struct {
	Op    string
	Path  string        `json:",omitempty"`
	Bytes int64         `json:",omitempty"`
	At    int64         `json:",omitempty"` // offset in the mapping
	From  int64         `json:",omitempty"` // offset in the input
	Seed  uint64        `json:",omitempty"`
	Avoid uint64        `json:",omitempty"` // an address to be mapped elsewhere than
	Count int           `json:",omitempty"`
	For   time.Duration `json:",omitempty"`
	Pace  int           `json:",omitempty"` // messages between two rests
	Block bool          `json:",omitempty"` // the topic blocks
}

// report is a peer's answer to one order.
type report struct {
	Err    string `json:",omitempty"`
	NoRoom bool   `json:",omitempty"` // Err is that the file system is full
	Fault  bool   `json:",omitempty"` // Err is a memory fault
	Addr   uint64 `json:",omitempty"`
	Head   string `json:",omitempty"` // the first bytes of what was filled or hashed
	Sum    string `json:",omitempty"`
	Usage  usage
	Reads  int64  `json:",omitempty"` // messages read, or written
	Torn   int64  `json:",omitempty"`
	Sample string `json:",omitempty"`

	Messages int64         `json:",omitempty"` // published, or received
	Lost     int64         `json:",omitempty"` // that a subscriber was told of
	Took     time.Duration `json:",omitempty"` // to publish them
	Holds    []hold        `json:",omitempty"` // of a publisher
}

// usage is what a process spent between the orders begin and end.
type usage struct {
	CPU    time.Duration // user and system
	Calls  int64         // read and write calls, less those for orders; -1: the kernel does not tell
	Faults int64         // page faults
	Copied int64         // bytes that the process or the kernel copied for it
}

func (u *usage) add(v usage) {
	u.CPU += v.CPU
	if u.Calls >= 0 && v.Calls >= 0 {
		u.Calls += v.Calls
	} else {
		u.Calls = -1
	}
	u.Faults += v.Faults
	u.Copied += v.Copied
}

// peer is the conductor's end of one process.
type peer struct {
	name   string
	cmd    *exec.Cmd
	orders *json.Encoder
	stdin  io.Closer
	answer *json.Decoder
	stderr lockedBuffer
}

// lockedBuffer is written by the process's reader while others look into it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// peers are all that run: the server first, then the clients. They are killed
// from another goroutine than the one that adds them.
type peers struct {
	mu   sync.Mutex
	list []*peer
}

func (p *peers) add(one *peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, one)
}

func (p *peers) all() []*peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list
}

func (p *peers) server() *peer    { return p.all()[0] }
func (p *peers) clients() []*peer { return p.all()[1:] }

// startPeer starts peer number i; number 0 is the server.
func startPeer(command []string, i int) (*peer, error) {
	p := &peer{name: "server"}
	if i > 0 {
		p.name = fmt.Sprintf("client %d", i)
	}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.orders, p.answer = stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", p.name, err)
	}
	return p, nil
}

func (p *peer) pid() int { return p.cmd.Process.Pid }

// start gives an order and returns at once; the function it returns waits for
// the answer. One order at a time.
func (p *peer) start(o order) func() (report, error) {
	sendErr := p.orders.Encode(o)
	return func() (report, error) {
		if sendErr != nil {
			return report{}, p.failed(o, sendErr)
		}
		var r report
		if err := p.answer.Decode(&r); err != nil {
			return report{}, p.failed(o, err)
		}
		if r.Err != "" {
			return r, &peerError{fmt.Sprintf("%s: %s", p.name, r.Err), r.Fault}
		}
		return r, nil
	}
}

func (p *peer) do(o order) (report, error) { return p.start(o)() }

// failed says that a peer did not take an order or did not answer. The error of
// the pipe is text only: an EPIPE here is not one of the user's terminal.
func (p *peer) failed(o order, err error) error {
	why := err.Error()
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) {
		why = "the process has ended"
	}
	if text := strings.TrimSpace(p.stderr.String()); text != "" {
		why += ": " + text
	}
	return fmt.Errorf("%s, process %d, at %q: %s", p.name, p.pid(), o.Op, why)
}

// peerError is an error that a peer reported.
type peerError struct {
	text  string
	fault bool
}

func (e *peerError) Error() string { return e.text }

// Is recognises what of an error's kind has come over the pipe.
func (e *peerError) Is(target error) bool { return e.fault && target == mmap.ErrFault }

// stop ends the process: it leaves when its orders end.
func (p *peer) stop() {
	p.stdin.Close()
	overdue := time.AfterFunc(2*time.Second, p.kill)
	defer overdue.Stop()
	p.cmd.Wait()
}

func (p *peer) kill() { p.cmd.Process.Kill() }

// all waits for all answers and returns the first failure.
func all(waits []func() (report, error)) error {
	var errs []error
	for _, wait := range waits {
		if _, err := wait(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
