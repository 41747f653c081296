package meet

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

// A connection can be lost although both participants are there, and nobody is to blame:
// one of them had no descriptor or memory left just then. Both try to have another.

// absence is a participant whose connection was lost.
type absence struct {
	attempts int
	waiting  bool // a goroutine waits to look for it
}

const (
	// againFirst and againLast are how long is waited before the first and the last
	// attempts; each but the last takes twice as long as the one before.
	againFirst = 100 * time.Millisecond
	againLast  = 10 * time.Second
	// steady is how long a connection lives that was none that only failed again.
	steady = 30 * time.Second
)

// miss notes that the connection to a participant, which was in that state, is lost, and
// has the participant looked for; n.mu is held.
func (n *Node) miss(c *conn, was state, why error) {
	id := c.peer.instance
	blameless := Starved(why) || errors.Is(why, ErrStarved) || errors.Is(why, ErrGone)
	a := n.absent[id]
	switch {
	case n.closed || c.isDead() || n.banned[id] != nil || !blameless:
		delete(n.absent, id)
		return
	case a == nil && was != established && !errors.Is(why, ErrStarved):
		return // who has added a port is told so
	case a != nil && a.waiting:
		return
	case a == nil || time.Since(c.since) > steady:
		a = &absence{}
		n.absent[id] = a
	}
	a.waiting = true
	delay := min(againFirst<<min(a.attempts, 10), againLast)
	a.attempts++
	n.running.Add(1)
	go n.meetAgain(instance{n.self.boot, id}, delay)
}

// meetAgain begins a connection to a participant, if it is there still, and has ports
// that meet ours.
func (n *Node) meetAgain(i instance, delay time.Duration) {
	defer n.running.Done()
	for ; ; delay = min(2*delay, againLast) {
		// Not all at once, if many have lost it.
		wait := time.NewTimer(delay + rand.N(delay/2))
		select {
		case <-wait.C:
		case <-n.closing:
			wait.Stop()
			return
		}
		ports, err := n.meeting(i)
		if err != nil {
			continue
		}
		n.mu.Lock()
		a := n.absent[i.id]
		if a == nil || n.closed || n.banned[i.id] != nil || len(ports) == 0 {
			delete(n.absent, i.id)
			n.mu.Unlock()
			return
		}
		if i == n.self && n.linkSelf() != nil {
			n.mu.Unlock()
			continue
		}
		a.waiting = false
		for _, p := range ports {
			if !slices.Contains(n.ports[key{p.Kind, p.Name}], p) {
				continue
			}
			conns := []*conn{n.local[0], n.local[1]}
			if i != n.self {
				conns = []*conn{n.link(i)}
			}
			for _, c := range conns {
				c.post(task{tell: p, done: func() {}})
			}
		}
		n.mu.Unlock()
		return
	}
}

// meeting returns the ports of ours that meet some of a participant's, if that is there.
// Nobody notices.
func (n *Node) meeting(i instance) (ports []*Port, err error) {
	alive, err := sys.BoundIn(n.dir.sockets, i.String())
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if !alive {
		return nil, err
	}
	n.mu.Lock()
	all := maps.Clone(n.ports)
	for k, ours := range all {
		all[k] = slices.Clone(ours) // forget deletes from the slice
	}
	n.mu.Unlock()
	for k, ours := range all {
		for _, p := range ours {
			switch has, err := n.dir.has(k, i, p.Role); {
			case err != nil:
				return nil, err
			case has:
				ports = append(ports, p)
			}
		}
	}
	return ports, nil
}
