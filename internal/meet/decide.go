package meet

import "fmt"

// The table of spec/protocol.md by which of two connections that a pair begins at
// once the same one stays on both sides: what follows is all that changes the state of
// a connection before its end, a step at a time under the node's lock. TestDecisions
// takes these steps in every order.

// asks notes that HELLO will be sent on a connection that was begun here.
func (n *Node) asks(c *conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.state == over {
		return errSuperseded
	}
	c.state = asking
	return nil
}

// answered notes that the peer has answered HELLO.
func (n *Node) answered(c *conn, h hello) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.state == over {
		return errSuperseded
	}
	c.establish(h)
	return nil
}

// unanswered notes that the connection ended before an answer, and will be begun
// again.
func (n *Node) unanswered(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.state == asking {
		c.state = connecting
	}
}

// establish notes who the peer is; node.mu is held.
func (c *conn) establish(h hello) {
	c.peer = Peer{instance: h.id, identity: h.identity, pid: c.credentials.PID, uid: c.credentials.UID}
	c.state = established
	c.again.Store(c.node.absent[h.id] != nil)
	close(c.settled)
}

// decide says what becomes of a connection that a peer has begun: it is
// established, or it ends with the error, or it has to wait for what becomes of our
// own to that peer.
func (n *Node) decide(c *conn, h hello) (wait <-chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ours := n.links[h.id]
	switch {
	case n.closed:
		return nil, ErrClosed
	case h.instance == n.self:
		return nil, fmt.Errorf("%w: it says it is me", ErrProtocol)
	case n.banned[h.id] != nil:
		return nil, fmt.Errorf("%w earlier: %w", ErrDropped, n.banned[h.id])
	case ours == nil:
	case ours.state == established:
		return nil, fmt.Errorf("%w of %v", ErrDuplicate, h.instance)
	case ours.state == asking && h.id > n.self.id:
		// Ours stays, once it is answered.
		return ours.settled, nil
	default:
		// The peer's stays: it is the smaller's, or nothing was said on ours.
		n.supersede(ours, c)
	}
	n.links[h.id] = c
	c.establish(h)
	return nil, nil
}

// supersede puts a connection in the place of one that is not established; n.mu is
// held.
func (n *Node) supersede(old, c *conn) {
	old.state = over
	close(old.settled)
	old.mu.Lock()
	tasks := old.inbox
	old.inbox, old.shut = nil, true
	old.mu.Unlock()
	c.mu.Lock()
	c.inbox = append(c.inbox, tasks...)
	c.mu.Unlock()
	old.fail(errSuperseded, false)
}
