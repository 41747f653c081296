package meet

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

// What the two of an established connection tell each other.

// suits reports whether a port of ours and one of the peer's find each other here.
// Of the two ends of the connection to oneself, the first is for the lesser role,
// the other for the greater: else they would find each other twice.
func (c *conn) suits(p *Port, role Role) bool {
	switch c.end {
	case 1:
		return p.Role < role
	case 2:
		return p.Role > role
	}
	return p.Role != role
}

// do does a task.
func (c *conn) do(t task) error {
	if p := t.forget; p != nil {
		defer t.done()
		for _, remote := range c.remotes {
			if r := remote.found[p]; r != nil {
				delete(remote.found, p)
				r.gone.Store(true)
				p.Handler.Lost(r)
			}
		}
		for _, done := range c.asked[p.id] {
			done()
		}
		delete(c.asked, p.id)
		if c.told[p.id] {
			delete(c.told, p.id)
			return c.forget(p)
		}
		return nil
	}
	p := t.tell
	if err := c.tell(p); err != nil {
		t.done()
		return err
	}
	for id, remote := range c.remotes {
		if remote.key == (key{p.Kind, p.Name}) {
			c.find(p, id, remote)
		}
	}
	c.asked[p.id] = append(c.asked[p.id], t.done)
	return c.transmit(&frame{kind: frameAsk, from: p.id})
}

// tell tells the peer about a port, once.
func (c *conn) tell(p *Port) error {
	if c.told[p.id] {
		return nil
	}
	c.told[p.id] = true
	a := announcement{key{p.Kind, p.Name}, p.Role, p.Settings}
	f := a.encode(p.id)
	return c.transmit(&f)
}

// find has a port find one of the peer's, once.
func (c *conn) find(p *Port, id uint32, remote *remotePort) {
	if remote.found[p] != nil || !c.suits(p, remote.role) {
		return
	}
	r := &Remote{conn: c, local: p, id: id, role: remote.role, settings: remote.settings}
	remote.found[p] = r
	p.Handler.Found(r)
}

// handle does what a frame says. Descriptors come with messages alone.
func (c *conn) handle(f *frame, fds []int) error {
	switch f.kind {
	case framePort:
		return c.handlePort(f)
	case framePortGone:
		remote := c.remotes[f.from]
		if remote == nil {
			return fmt.Errorf("%w: PORTGONE of port %d, which is not there", ErrProtocol, f.from)
		}
		delete(c.remotes, f.from)
		delete(c.greeted, f.from)
		remote.lose()
		return nil
	case frameAsk:
		// All before it was done: the peer's ports know of ours, and ours of them.
		return c.transmit(&frame{kind: frameSeen, from: f.from})
	case frameSeen:
		for _, done := range c.asked[f.from] {
			done()
		}
		delete(c.asked, f.from)
		return nil
	case frameMessage:
		if remote := c.remotes[f.from]; remote != nil {
			for p, r := range remote.found {
				if p.id == f.to {
					deliver(p.Handler, r, f, fds)
					return nil
				}
			}
		}
		closeAll(fds) // it was for a port that is not there any more
		return nil
	case frameReject:
		return decodeReject(f.body)
	}
	closeAll(fds) // a pidfd
	return fmt.Errorf("%w: a second HELLO", ErrProtocol)
}

// deliver calls the handler, and closes the files that it has not taken.
func deliver(h Handler, r *Remote, f *frame, fds []int) {
	m := &Message{Type: f.typ, Body: f.body}
	for _, fd := range fds {
		m.Files = append(m.Files, os.NewFile(uintptr(fd), fmt.Sprintf("memory of process %d", r.conn.peer.pid)))
	}
	defer func() {
		for _, file := range m.Files {
			if file != nil {
				file.Close()
			}
		}
	}()
	h.Message(r, m)
}

// handlePort answers a PORT with our ports that it meets, and has them find it.
func (c *conn) handlePort(f *frame) error {
	a, err := decodePort(f.body)
	switch {
	case err != nil:
		return err
	case c.remotes[f.from] != nil:
		return fmt.Errorf("%w: port %d is there already", ErrProtocol, f.from)
	case len(c.remotes) >= c.node.config.Ports:
		return fmt.Errorf("%w: more than %d ports", ErrQuota, c.node.config.Ports)
	}
	remote := &remotePort{a, map[*Port]*Remote{}}
	c.remotes[f.from] = remote
	ours := c.node.portsOf(a.key)
	for _, p := range ours {
		if p.Role != a.role {
			if err := c.tell(p); err != nil {
				return err
			}
		}
	}
	for _, p := range ours {
		c.find(p, f.from, remote)
	}
	return nil
}

// forget tells the peer that a port is gone, if he was told of it.
func (c *conn) forget(p *Port) error {
	c.mu.Lock()
	untold := c.takeBack(p)
	c.mu.Unlock()
	if untold {
		return nil
	}
	return c.transmit(&frame{kind: framePortGone, from: p.id})
}

// transmit sends a frame, or has it sent when there is room. An error ends the
// connection; that the peer is gone is none, because it can have sent something
// before.
func (c *conn) transmit(f *frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw == nil {
		return nil
	}
	bytes := f.encode()
	if len(c.queue) == 0 {
		err := c.sendNow(bytes, nil)
		if !busy(err) {
			return nil
		}
	}
	return c.enqueue(bytes, nil)
}

// A packet is to be sent, with descriptors that are its own.
type packet struct {
	bytes []byte
	fds   []int
}

// enqueue has a packet sent when there is room; c.mu is held. The descriptors stay the
// caller's. A peer of whom too much waits may be stopped, and is not to blame: it begins
// another connection when it finds that this one has ended.
func (c *conn) enqueue(bytes []byte, fds []int) error {
	if len(c.queue) >= c.node.config.Queue {
		return fmt.Errorf("%w, and too much waits for it: %d packets", ErrBusy, len(c.queue))
	}
	p := packet{bytes: bytes}
	for _, fd := range fds {
		own, err := sys.DupCloexec(fd)
		if err != nil {
			closeAll(p.fds)
			return fmt.Errorf("keep a descriptor for a peer that does not read: %w", err)
		}
		p.fds = append(p.fds, own)
	}
	c.queue = append(c.queue, p)
	if !c.flushing {
		c.flushing = true
		c.node.running.Add(1)
		go c.flush(c.raw)
	}
	return nil
}

// takeBack takes out of the queue what is there of a port that is gone: that it is there,
// and, if that is no use any more, what it has sent; c.mu is held. It says whether the
// peer does not know of the port.
func (c *conn) takeBack(p *Port) (untold bool) {
	kept := c.queue[:0]
	for _, packet := range c.queue {
		f, err := decodeFrame(packet.bytes)
		switch ours := err == nil && f.from == p.id; {
		case ours && f.kind == framePort:
			untold = true
		case ours && f.kind == frameAsk:
		case ours && f.kind == frameMessage && p.Brief:
			closeAll(packet.fds)
		default:
			kept = append(kept, packet)
		}
	}
	c.queue = kept
	return untold
}

// sendNow sends a packet if there is room; c.mu is held.
func (c *conn) sendNow(packet []byte, fds []int) (err error) {
	closed := c.raw.Control(func(fd uintptr) { err = sys.Send(int(fd), packet, fds...) })
	return errors.Join(closed, err)
}

// flush sends the queue as the peer reads, and ends when it is empty.
func (c *conn) flush(raw syscall.RawConn) {
	defer c.node.running.Done()
	const first, last = 5 * time.Millisecond, time.Second
	for pause := first; ; pause = min(2*pause, last) {
		var short error
		raw.Write(func(uintptr) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			for len(c.queue) > 0 && c.raw != nil {
				err := c.sendNow(c.queue[0].bytes, c.queue[0].fds)
				if errors.Is(err, syscall.EAGAIN) {
					return false
				}
				if busy(err) {
					short = err
					return true
				}
				pause = first
				closeAll(c.queue[0].fds)
				c.queue = c.queue[1:]
			}
			c.flushing = false // what is left is closed with the connection
			return true
		})
		if short == nil {
			return
		}
		// There is room in the socket, so that to wait for some would wait for nothing:
		// others have too many descriptors on their way, or the kernel has no memory, and
		// it does not tell when that is over.
		if pause == first {
			c.node.short(c, short)
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-c.node.closing:
			wait.Stop()
		}
	}
}

// send sends a message now; or, if there is no room, when there is some, if fewer than so many
// packets wait for that. It does not overtake what is queued.
func (c *conn) send(f *frame, fds []int, most int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.raw == nil || c.why != nil:
		return ErrGone
	case len(c.queue) > 0 && len(c.queue) < most:
		return c.enqueue(f.encode(), fds)
	case len(c.queue) > 0:
		return ErrBusy
	}
	bytes := f.encode()
	err := c.sendNow(bytes, fds)
	switch {
	case busy(err) && most > 0:
		return c.enqueue(bytes, fds)
	case busy(err):
		return ErrBusy
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, os.ErrClosed), errors.Is(err, syscall.ENOTCONN):
		return ErrGone
	}
	return err
}
