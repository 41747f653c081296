package meet

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/memlane/memlane/internal/life"
)

// Slow is how long is waited for the answer of a process that is not stopped: on a machine
// with too much to do it can take much longer than Config.Answer until it is run. Who
// does not answer in that time is waited for no longer than who is stopped, until it does.
const Slow = time.Second

// answers is what Add waits for.
type answers struct {
	mu   sync.Mutex
	open map[*conn]bool // those that have not answered
	last chan struct{}  // closed when that becomes empty, once all were asked
	all  bool           // were asked
}

func newAnswers() *answers { return &answers{open: map[*conn]bool{}, last: make(chan struct{})} }

// await returns what is to be called when a connection's peer has answered, or will not any
// more.
func (a *answers) await(c *conn) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[c] = true
	return func() {
		c.silent.Store(false)
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.open, c)
		a.settle()
	}
}

// settle closes last if it is time; a.mu is held.
func (a *answers) settle() {
	if a.all && len(a.open) == 0 {
		a.all = false
		close(a.last)
	}
}

// wait waits until all have answered, or those that have not are stopped, or slower than
// can be waited for. It returns false if the node is being closed.
func (a *answers) wait(n *Node) bool {
	a.mu.Lock()
	a.all = true
	a.settle()
	a.mu.Unlock()
	patience := time.NewTimer(n.config.Answer)
	defer patience.Stop()
	for begun := time.Now(); ; patience.Reset(n.config.Answer) {
		select {
		case <-a.last:
			return true
		case <-n.closing:
			return false
		case <-patience.C:
		}
		if !a.slow(n, time.Since(begun) >= Slow) {
			return true
		}
	}
}

// slow says whether there is anybody left to wait for. If it has taken too long there is
// not, nor the next time.
func (a *answers) slow(n *Node, tooLong bool) bool {
	a.mu.Lock()
	open := slices.Collect(maps.Keys(a.open)) // answers come with n.mu held
	a.mu.Unlock()
	for _, c := range open {
		if tooLong {
			c.silent.Store(true)
		} else if c.slow() {
			return true
		}
	}
	return false
}

// slow says whether it is worth waiting for the peer of a connection.
func (c *conn) slow() bool {
	n := c.node
	n.mu.Lock()
	if now := n.links[c.peer.instance]; c.end == 0 && now != nil {
		c = now // in the place of which it came
	}
	pid, unconnected := c.credentials.PID, c.state == connecting
	n.mu.Unlock()
	switch {
	case c.silent.Load():
		return false
	case pid == 0 && unconnected:
		return true // it is this process that is slow
	}
	return life.Runs(pid)
}

// Slow says whether the remote port's process may yet answer what it was sent, because
// it is seen to be running. It is asked for no longer than [Slow]; GiveUp then.
func (r *Remote) Slow() bool { return r.conn.slow() }

// GiveUp notes that the remote port's process has not answered, though it runs.
func (r *Remote) GiveUp() { r.conn.silent.Store(true) }
