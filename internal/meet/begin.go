package meet

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/sys"
)

// How a connection begins. spec/protocol.md says why of two that a pair begins at
// once the same one stays on both sides.

var (
	errSuperseded = fmt.Errorf("%w: the peer's own connection stays", ErrGone)
	errSilent     = fmt.Errorf("%w: it said nothing while many others came", ErrGone)
)

// link returns the connection to an instance, and begins one if there is none; nil
// if the node is closed. n.mu is held.
func (n *Node) link(i instance) *conn {
	if n.closed {
		return nil
	}
	c := n.links[i.id]
	if c == nil {
		c = n.newConn()
		c.peer.instance = i.id
		n.links[i.id] = c
		go func() { c.finish(c.dial(i)) }()
	}
	return c
}

// linkSelf connects the node to itself, if it is not; n.mu is held.
func (n *Node) linkSelf() error {
	if n.closed {
		return ErrClosed
	}
	if n.local[0] != nil {
		return nil
	}
	fds, err := sys.SeqpacketPair()
	if err != nil {
		return err
	}
	for end, fd := range fds {
		c := n.newConn()
		n.local[end] = c
		c.end = end + 1
		c.credentials = sys.Credentials{PID: os.Getpid(), UID: uint32(os.Geteuid())}
		c.establish(hello{instance: n.self, identity: life.Self()})
		c.peer.local = true
		go func() {
			err := c.attach(fd)
			if err == nil {
				err = c.run()
			}
			c.finish(err)
		}()
	}
	return nil
}

// attempts is how often a connection is begun that ends before an answer: the other
// side closes connections on which nothing comes if it has many of them.
const attempts = 5

// dial connects to an instance, and returns when the connection has ended, and why.
func (c *conn) dial(i instance) (err error) {
	n := c.node
	for range attempts {
		var fd int
		if fd, err = c.connect(i); err != nil {
			return err
		}
		if err = c.attach(fd); err == nil {
			err = c.ask(i)
		}
		if err == nil {
			err = c.run()
			break
		}
		// A duplicate of a connection that is about to end, as it is not known here,
		// is none after a moment.
		again := errors.Is(err, ErrGone) || errors.Is(err, ErrDuplicate)
		if !again || errors.Is(err, errSuperseded) || c.isDead() {
			break
		}
		c.detach()
		n.unanswered(c)
		c.pause(5 * time.Millisecond)
	}
	if c.isDead() {
		// Nobody is refused where a forked child has the socket too.
		n.dir.clean(i)
	}
	return err
}

// connect returns a socket that is connected to an instance's.
func (c *conn) connect(i instance) (int, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if err := c.reason(); err != nil {
			return -1, err
		}
		fd, err := sys.Seqpacket()
		if err == nil {
			if err = sys.ConnectIn(fd, c.node.dir.sockets, i.String()); err == nil {
				return fd, nil
			}
			sys.Close(fd)
		}
		switch {
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
			c.node.dir.clean(i)
			return -1, fmt.Errorf("%w: nobody listens", ErrGone)
		case !errors.Is(err, syscall.EAGAIN):
			return -1, fmt.Errorf("connect to %v: %w", i, err)
		}
		// So many wait to be accepted that there is no room: it is stopped, or
		// many come at once. The kernel tells nobody when there is room again.
		c.pause(pause)
	}
}

// pause waits, but not if there is something to look at.
func (c *conn) pause(d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-c.hurry:
	}
}

// ask says HELLO on a connection that was begun here, and waits for the answer.
func (c *conn) ask(i instance) error {
	if err := c.inspect(); err != nil {
		return err
	}
	if err := c.node.asks(c); err != nil {
		return err
	}
	if err := c.sayHello(); err != nil {
		return err
	}
	h, err := c.hearHello()
	if err == nil && h.instance != i {
		err = fmt.Errorf("%w: %v answers as %v", ErrProtocol, i, h.instance)
	}
	if err != nil {
		return err
	}
	return c.node.answered(c, h)
}

// accept takes what connects, until the node closes.
func (n *Node) accept() {
	defer n.running.Done()
	for {
		var fd int
		var err error
		closed := n.listenerRaw.Read(func(listener uintptr) bool {
			fd, err = sys.Accept(int(listener))
			return !errors.Is(err, syscall.EAGAIN)
		})
		if closed != nil {
			return
		}
		if err != nil {
			// Out of descriptors or memory, and the kernel does not tell when there
			// are some again. Who has connected waits meanwhile.
			wait := time.NewTimer(20 * time.Millisecond)
			select {
			case <-wait.C:
			case <-n.closing:
				wait.Stop()
			}
			continue
		}
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			sys.Close(fd)
			return
		}
		c := n.newConn()
		n.strangers = append(n.strangers, c)
		if len(n.strangers) > maxStrangers {
			n.strangers[0].fail(errSilent, false)
			n.strangers = n.strangers[1:]
		}
		n.mu.Unlock()
		go func() {
			err := c.attach(fd)
			if err == nil {
				err = c.welcome()
			}
			c.finish(err)
		}()
	}
}

// welcome finds out who has connected, and returns when the connection has ended,
// and why.
func (c *conn) welcome() error {
	err := c.inspect()
	var h hello
	if err == nil {
		h, err = c.hearHello()
	}
	if err == nil {
		err = c.node.dir.checkOwner(h.instance, c.credentials.UID)
	}
	c.node.mu.Lock()
	if at := slices.Index(c.node.strangers, c); at >= 0 {
		c.node.strangers = slices.Delete(c.node.strangers, at, at+1)
	}
	c.peer.instance = h.id
	c.node.mu.Unlock()
	for err == nil {
		var wait <-chan struct{}
		if wait, err = c.node.decide(c, h); err == nil && wait == nil {
			if err = c.sayHello(); err == nil {
				err = c.run()
			}
			break
		}
		if err == nil {
			select {
			case <-wait:
			case <-c.hurry:
				err = c.reason()
			}
		}
	}
	return err
}

// sayHello sends HELLO on a fresh connection.
func (c *conn) sayHello() error {
	f := c.node.hello()
	var fds []int
	if c.pidfdUnknown() {
		fd, err := sys.PidfdOpen(os.Getpid())
		switch {
		case err == nil:
			defer sys.Close(fd)
			fds = append(fds, fd)
		case Starved(err):
			return fmt.Errorf("our own pidfd: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.sendNow(f.encode(), fds); err != nil {
		return fmt.Errorf("%w: say hello: %w", ErrGone, err)
	}
	return nil
}

// hearHello waits for HELLO.
func (c *conn) hearHello() (hello, error) {
	for {
		if err := c.reason(); err != nil {
			return hello{}, err
		}
		f, fds, err := c.receive()
		if errors.Is(err, errPoked) {
			continue
		}
		if err != nil {
			return hello{}, err
		}
		defer closeAll(fds)
		switch f.kind {
		case frameReject:
			return hello{}, decodeReject(f.body)
		case frameHello:
			h, err := decodeHello(f.body)
			if err == nil && len(fds) > 0 && c.pidfdUnknown() {
				err = c.takePidfd(fds[0])
			}
			return h, err
		}
		return hello{}, fmt.Errorf("%w: frame of kind %d before HELLO", ErrProtocol, f.kind)
	}
}
