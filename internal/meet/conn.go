package meet

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

// state is how far a connection is.
type state int

const (
	// connecting: nothing was said yet. Whoever comes from the other side is
	// welcome.
	connecting state = iota
	// asking: it was begun here, and HELLO was sent.
	asking
	// established: both have said HELLO.
	established
	// over: it has ended, or another has its place.
	over
)

// conn is a connection to a participant, or to whoever has connected. One goroutine
// reads it, and all calls of handlers about its remote ports come from there.
type conn struct {
	node *Node
	peer Peer
	end  int // of the connection to oneself: 1 or 2; else 0

	again  atomic.Bool // another one to this peer was lost before
	silent atomic.Bool // the peer has not answered in time, and has not answered since

	// Guarded by node.mu:
	state       state
	settled     chan struct{} // closed when the state is established or over
	credentials sys.Credentials
	since       time.Time

	mu       sync.Mutex // guards what follows
	file     *os.File   // nil before it is connected
	raw      syscall.RawConn
	pidfd    *os.File // nil if there is none
	known    bool     // it is the peer's, not of whoever has its number
	why      error    // why it has to end
	ban      bool     // and the peer is not to be met again
	dead     bool     // the peer's process has ended
	inbox    []task
	shut     bool // nobody looks into the inbox any more
	queue    []packet
	flushing bool          // a goroutine waits for room to send the queue
	hurry    chan struct{} // ends a wait before another attempt to connect

	// Of the goroutine alone:
	remotes map[uint32]*remotePort
	told    map[uint32]bool     // ports of ours that the peer knows
	greeted map[uint32]bool     // ports of the peer's: see Remote.First
	asked   map[uint32][]func() // to be called when the peer has SEEN the port
	packet  [maxFrame + 1]byte
	control [24 + 8*4]byte // room for more descriptors than are allowed, so that they are seen
}

// remotePort is a port of the peer's, with the ports of ours that have found it.
type remotePort struct {
	announcement
	found map[*Port]*Remote
}

// lose has all ports of ours lose it.
func (remote *remotePort) lose() {
	for p, r := range remote.found {
		r.gone.Store(true)
		p.Handler.Lost(r)
	}
}

// A task is something that the connection's goroutine has to do: tell the peer
// about a port, and ask when it has seen it; or forget a port. done is called when
// that is so, or cannot be any more.
type task struct {
	tell, forget *Port
	done         func()
}

// newConn makes a connection that the node knows of; n.mu is held, and the node is
// not closed.
func (n *Node) newConn() *conn {
	c := &conn{
		node: n, since: time.Now(), settled: make(chan struct{}), hurry: make(chan struct{}, 1),
		remotes: map[uint32]*remotePort{}, told: map[uint32]bool{}, greeted: map[uint32]bool{}, asked: map[uint32][]func(){},
	}
	n.conns[c] = struct{}{}
	n.running.Add(1)
	return c
}

// attach gives the connection its socket.
func (c *conn) attach(fd int) error {
	file := os.NewFile(uintptr(fd), "connection")
	raw, err := file.SyscallConn()
	if err == nil {
		err = pollable(file)
	}
	if err != nil {
		file.Close()
		return err
	}
	c.mu.Lock()
	c.file, c.raw = file, raw
	why := c.why
	c.mu.Unlock()
	return why
}

// detach takes the socket away again.
func (c *conn) detach() {
	c.mu.Lock()
	file, pidfd := c.file, c.pidfd
	c.file, c.raw, c.pidfd, c.known, c.dead = nil, nil, nil, false, false
	for _, p := range c.queue {
		closeAll(p.fds)
	}
	c.queue = nil
	c.mu.Unlock()
	for _, f := range []*os.File{file, pidfd} {
		if f != nil {
			f.Close()
		}
	}
}

// poke has the goroutine look at what has changed; c.mu is held.
func (c *conn) poke() {
	if c.file != nil {
		c.file.SetReadDeadline(time.Unix(1, 0)) // long past
	}
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// fail ends the connection.
func (c *conn) fail(why error, ban bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == nil {
		c.why, c.ban = why, ban
		c.poke()
	}
}

// post gives the goroutine a task; node.mu is held, so that the state stays.
func (c *conn) post(t task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.shut:
		t.done()
	case t.forget != nil && c.state != established && c.state != over:
		// Nobody knows of the port yet, but it was to be told.
		kept := c.inbox[:0]
		for _, other := range c.inbox {
			if other.tell == t.forget {
				other.done()
			} else {
				kept = append(kept, other)
			}
		}
		c.inbox = kept
		t.done()
	default:
		c.inbox = append(c.inbox, t)
		c.poke()
	}
}

var errPoked = errors.New("something else to do")

// receive waits for a packet. The frame's body is valid until the next call. The
// descriptors are the caller's to close.
func (c *conn) receive() (frame, []int, error) {
	var got sys.Received
	var err error
	c.mu.Lock()
	raw, dead := c.raw, c.dead
	c.mu.Unlock()
	try := func(fd uintptr) bool {
		got, err = sys.Receive(int(fd), c.packet[:], c.control[:])
		if errors.Is(err, syscall.ECONNRESET) {
			// The peer had not read all; the kernel says so first, and once. What it
			// sent is still there.
			got, err = sys.Receive(int(fd), c.packet[:], c.control[:])
		}
		return !errors.Is(err, syscall.EAGAIN)
	}
	var waitErr error
	if dead {
		// A forked child has the socket too, so it may never end.
		waitErr = raw.Control(func(fd uintptr) { try(fd) })
	} else {
		waitErr = raw.Read(try)
	}
	switch {
	case errors.Is(waitErr, os.ErrDeadlineExceeded):
		return frame{}, nil, errPoked
	case waitErr != nil:
		return frame{}, nil, waitErr
	case dead && errors.Is(err, syscall.EAGAIN):
		return frame{}, nil, fmt.Errorf("%w: its process has ended", ErrGone)
	}
	var f frame
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrGone, err)
	case got.Bytes == 0:
		err = fmt.Errorf("%w: it closed the connection", ErrGone)
	case got.Cut:
		err = fmt.Errorf("%w: a packet of more than %d bytes", ErrProtocol, maxFrame)
	case len(got.FDs) > maxFiles:
		err = fmt.Errorf("%w: a packet with more than %d descriptors", ErrProtocol, maxFiles)
	case got.ControlCut:
		err = fmt.Errorf("%w: no room for a received descriptor; raise ulimit -n", syscall.EMFILE)
	default:
		f, err = decodeFrame(c.packet[:got.Bytes])
	}
	if err == nil {
		err = checkDescriptors(&f, got.FDs)
	}
	if err != nil {
		closeAll(got.FDs)
		return frame{}, nil, err
	}
	return f, got.FDs, nil
}

// reason resets the poke, and returns why the connection has to end, if it has.
func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		c.file.SetReadDeadline(time.Time{})
	}
	return c.why
}

// ending returns why the connection has to end, if it has.
func (c *conn) ending() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// tasks takes what is in the inbox.
func (c *conn) tasks() []task {
	c.mu.Lock()
	defer c.mu.Unlock()
	tasks := c.inbox
	c.inbox = nil
	return tasks
}

// run does all there is to do on an established connection until it ends.
func (c *conn) run() error {
	for {
		err := c.reason()
		if err != nil {
			return err // what is in the inbox is for finish
		}
		for _, t := range c.tasks() {
			if err == nil {
				err = c.do(t)
			} else {
				t.done()
			}
		}
		if err != nil {
			return err
		}
		f, fds, err := c.receive()
		if errors.Is(err, errPoked) {
			continue
		}
		if err == nil {
			err = c.handle(&f, fds)
		}
		if err != nil {
			return err
		}
	}
}

// finish ends what run did, for the reason that it returned.
func (c *conn) finish(why error) {
	n := c.node
	c.mu.Lock()
	if c.why == nil {
		c.why, c.ban = why, errors.Is(why, ErrProtocol) || errors.Is(why, ErrQuota)
	}
	why, ban := c.why, c.ban && c.end == 0 && c.peer.instance != 0
	c.mu.Unlock()

	n.mu.Lock()
	ours, was := n.links[c.peer.instance] == c, c.state
	if ours {
		delete(n.links, c.peer.instance)
	}
	ours = ours || c.end != 0 && n.local[c.end-1] == c
	if c.end != 0 && n.local[c.end-1] == c {
		n.local = [2]*conn{}
	}
	if c.state == connecting || c.state == asking {
		close(c.settled)
	}
	c.state = over
	if ban {
		n.ban(c.peer.instance, why)
	}
	if ours {
		n.miss(c, was, why)
	}
	quiet := errors.Is(why, ErrGone) || errors.Is(why, ErrClosed)
	if !quiet && !errors.Is(why, ErrDuplicate) { // a duplicate is everyday life
		n.trouble(c, why)
	}
	n.mu.Unlock()
	if !quiet && !errors.Is(why, errRefused) {
		f := reject(why)
		c.mu.Lock()
		if c.raw != nil {
			c.sendNow(f.encode(), nil)
		}
		c.mu.Unlock()
	}

	for _, remote := range c.remotes {
		remote.lose()
	}
	// Only now may others believe that no handler is called from here.
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
	c.mu.Lock()
	tasks := c.inbox
	c.inbox, c.shut = nil, true
	c.mu.Unlock()
	for _, t := range tasks {
		t.done()
	}
	for _, asked := range c.asked {
		for _, done := range asked {
			done()
		}
	}
	c.detach()
	n.running.Done()
}
