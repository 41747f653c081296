package meet

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/memlane/memlane/internal/life"
)

// A Port is what meets: it has a kind and a name, and finds the ports of the same
// kind and name, of other roles, of all participants of the domain and of its own
// node. Its fields do not change once it is added.
type Port struct {
	Kind     Kind
	Name     string // 1 to 200 bytes of UTF-8, without control characters
	Role     Role
	Settings []byte // at most 1 KiB, told to those who find it
	// Brief: what it has sent is of no use any more when it is removed, and is not sent then
	// to a peer that has not read it.
	Brief   bool
	Handler Handler

	id   uint32
	node *Node                           // it was added to
	seen atomic.Pointer[map[uint64]bool] // the participants that had ports to meet when it was
}

// Saw says whether a participant had a port to meet when this one was added, or may have had:
// who had none came later.
func (p *Port) Saw(participant uint64) bool {
	seen := p.seen.Load()
	return seen != nil && (*seen)[participant]
}

// A Handler is told what concerns its port. Calls about one Remote come one after
// the other, from the goroutine of its connection; those about Remotes of several
// participants at once. Until a call returns, nothing else of that participant's is
// read, so it must not wait for anything of a peer's. It may call Send and Drop,
// and of the Node's methods not Add, Remove or Close.
type Handler interface {
	// Found is called first.
	Found(r *Remote)
	// Message is called for everything that the remote port sends, in order.
	Message(r *Remote, m *Message)
	// Lost is called last, once: the remote port was removed, or its participant is
	// gone, or this port was removed, or its node closed. Unless this side ended it,
	// everything that was sent before has been delivered.
	Lost(r *Remote)
}

// A Message is what a port has sent to another.
type Message struct {
	Type uint16
	Body []byte // valid during the call
	// Files are memfds, closed after the call. To take one, put nil in its place.
	Files []*os.File
}

// Remote is a port of another participant's, as one of ours knows it.
type Remote struct {
	conn     *conn
	local    *Port
	id       uint32
	role     Role
	settings []byte
	gone     atomic.Bool // it is lost
}

// Again says whether the connection was begun anew, after one was lost, or could not be had
// for want of descriptors.
func (r *Remote) Again() bool { return r.conn.again.Load() }

// Late says whether the participant did not answer in time when it was asked first, although
// it was running.
func (r *Remote) Late() bool { return r.conn.silent.Load() }

// Port returns the number of the remote port, which its participant gives to no
// other.
func (r *Remote) Port() uint32 { return r.id }

// Role returns the remote port's role.
func (r *Remote) Role() Role { return r.role }

// Settings returns what the remote port was added with. It must not be changed.
func (r *Remote) Settings() []byte { return r.settings }

// Peer returns whose port it is.
func (r *Remote) Peer() *Peer { return &r.conn.peer }

// Err returns why the connection to the remote port's participant ends or has ended;
// nil while it does not.
func (r *Remote) Err() error { return r.conn.ending() }

// Peer is another participant, or oneself.
type Peer struct {
	instance uint64
	identity life.Identity
	pid      int
	uid      uint32
	local    bool
}

// ID returns the participant's number, as [Node.ID] does there.
func (p *Peer) ID() uint64 { return p.instance }

// Identity returns which process it says it is. It is looked up and compared, never
// acted upon.
func (p *Peer) Identity() life.Identity { return p.identity }

// PID returns its process as the kernel knows it, in our PID namespace; 0 if it has
// no number there.
func (p *Peer) PID() int { return p.pid }

// UID returns its user as the kernel knows him.
func (p *Peer) UID() uint32 { return p.uid }

// Local reports whether it is this very node.
func (p *Peer) Local() bool { return p.local }

// Add lets a port take part. When it returns, Found has been called for all ports
// to meet that were there when it was called, and Message for all that their
// handlers sent from their Found; but for participants that did not answer
// within 100 ms (Config.Answer), or a second if they are seen to be running, which follow
// later. If one of them could not be met
// because this process is [Starved], the port is not added.
func (n *Node) Add(p *Port) error {
	k := key{p.Kind, p.Name}
	fail := func(err error, fix string) error {
		limit, err := Limited(err)
		return &Error{"add", k.String(), err, cmp.Or(limit, fix)}
	}
	if err := n.enter(); err != nil {
		return fail(err, "")
	}
	defer n.leave()
	switch err := k.check(); {
	case err != nil:
		return fail(err, "")
	case p.Role == 0 || p.Handler == nil:
		return fail(fmt.Errorf("%w: a port without role or handler", os.ErrInvalid), "set both")
	case len(p.Settings) > maxSettings:
		return fail(fmt.Errorf("%w: settings of %d bytes of at most %d", ErrTooLong, len(p.Settings), maxSettings), "")
	}
	// First it is there, then it is registered, then others are looked for: of two
	// that are added at once, at least one sees the other, and who comes because of
	// the registration finds the port.
	n.mu.Lock()
	if p.node != nil {
		n.mu.Unlock()
		return fail(fmt.Errorf("%w: it was added before", os.ErrInvalid), "make another")
	}
	if n.count >= n.config.Ports {
		n.mu.Unlock()
		return fail(fmt.Errorf("%w: %w: it would be more than %d publishers and subscribers of a participant", ErrLimit, ErrQuota, n.config.Ports),
			"close what is not needed, or open the domain once more for the others")
	}
	n.count++
	n.lastPort++
	p.id, p.node = n.lastPort, n
	n.ports[k] = append(n.ports[k], p)
	n.mu.Unlock()
	err := n.register(k, p.Role)
	var seen []instance
	if err == nil {
		if seen, err = n.dir.look(k, p.Role); err != nil {
			n.unregister(k, p.Role)
		}
	}
	if err != nil {
		n.forget(p)
		return fail(err, "")
	}
	ids := map[uint64]bool{}
	for _, i := range seen {
		ids[i.id] = true
	}
	p.seen.Store(&ids)

	var told []*conn
	all := newAnswers()
	tell := func(c *conn) {
		told = append(told, c)
		c.post(task{tell: p, done: all.await(c)})
	}
	n.mu.Lock()
	for _, i := range seen {
		if i != n.self && n.banned[i.id] == nil {
			if c := n.link(i); c != nil {
				tell(c)
			}
		}
	}
	if slices.ContainsFunc(n.ports[k], func(other *Port) bool { return other.Role != p.Role }) {
		if err = n.linkSelf(); err == nil {
			tell(n.local[0])
			tell(n.local[1])
		}
	}
	n.mu.Unlock()
	undo := func(err error) error {
		n.unregister(k, p.Role)
		n.forget(p)
		return fail(err, "")
	}
	if err != nil {
		return undo(err)
	}

	if !all.wait(n) {
		return fail(ErrClosed, "")
	}
	for _, c := range told {
		if err := c.ending(); Starved(err) {
			return undo(err)
		}
	}
	return nil
}

// Remove ends a port: the peers are told, and its handler sees all remote ports
// lost. When it returns, the handler does not run and will not be called, whatever the
// error is: if the node is being closed, Remove waits for that, and the error matches
// ErrClosed.
func (n *Node) Remove(p *Port) error {
	k := key{p.Kind, p.Name}
	if err := n.enter(); err != nil {
		if errors.Is(err, ErrClosed) {
			<-n.ended
		}
		return &Error{"remove", k.String(), err, ""}
	}
	defer n.leave()
	if !n.forget(p) {
		return &Error{"remove", k.String(), ErrGone, "it was not added to this node, or removed before"}
	}
	n.unregister(k, p.Role)
	return nil
}

// forget takes the port out of the node, and waits until all connections have
// forgotten it. It reports whether it was there.
func (n *Node) forget(p *Port) bool {
	k := key{p.Kind, p.Name}
	n.mu.Lock()
	at := slices.Index(n.ports[k], p)
	if at < 0 {
		n.mu.Unlock()
		return false
	}
	n.count--
	// Another slice: portsOf has handed out this one's elements, not it.
	n.ports[k] = slices.Delete(n.ports[k], at, at+1)
	if len(n.ports[k]) == 0 {
		delete(n.ports, k)
	}
	var forgotten sync.WaitGroup
	for c := range n.conns {
		forgotten.Add(1)
		c.post(task{forget: p, done: forgotten.Done})
	}
	n.mu.Unlock()
	forgotten.Wait()
	return true
}

// register makes the file for the first port of a key and role.
func (n *Node) register(k key, role Role) error {
	n.files.Lock()
	defer n.files.Unlock()
	if n.registrations == nil {
		return ErrClosed
	}
	if n.registrations[k][role] == 0 {
		if err := n.dir.register(k, registration{n.self, role}); err != nil {
			return err
		}
	}
	if n.registrations[k] == nil {
		n.registrations[k] = map[Role]int{}
	}
	n.registrations[k][role]++
	return nil
}

// unregister removes the file with the last port of a key and role.
func (n *Node) unregister(k key, role Role) {
	n.files.Lock()
	defer n.files.Unlock()
	if n.registrations[k][role] == 0 {
		return // Close was here
	}
	if n.registrations[k][role]--; n.registrations[k][role] > 0 {
		return
	}
	delete(n.registrations[k], role)
	if len(n.registrations[k]) == 0 {
		delete(n.registrations, k)
	}
	n.dir.unregister(k, registration{n.self, role})
}

// Send sends a message to the remote port, of at most 3 KiB and 2 files, which must
// be memfds, or the peer drops us, and stay the caller's. It never blocks. Errors match ErrBusy if the peer has not read
// enough of what was sent before, ErrGone, ErrTooLong, ErrForked, and what the
// kernel says about descriptors.
func (r *Remote) Send(t uint16, body []byte, files ...*os.File) error {
	return r.send(t, body, files, 0)
}

// offerMost is how many packets wait for somebody who has only asked to be told something.
const offerMost = 1024

// Offer is [Remote.Post] of what a tool has asked for: if too much waits for it already, the
// error matches ErrBusy, and the connection is none the worse.
func (r *Remote) Offer(t uint16, body []byte, files ...*os.File) error {
	return r.send(t, body, files, offerMost)
}

// First says, once, that nobody of this participant has asked this before about the remote
// port, which several ports of ours may have found: what is to be said once for all of them.
// It is for handlers' Found.
func (r *Remote) First() bool {
	first := !r.conn.greeted[r.id]
	r.conn.greeted[r.id] = true
	return first
}

// Post is [Remote.Send] of what the peer has to have, sooner or later: it waits for room
// in a queue; the error matches ErrBusy if there is none in that either.
func (r *Remote) Post(t uint16, body []byte, files ...*os.File) error {
	return r.send(t, body, files, r.conn.node.config.Queue)
}

// send sends a message now, or, if fewer than so many packets wait, when there is room.
func (r *Remote) send(t uint16, body []byte, files []*os.File, most int) error {
	if life.Forked() {
		return ErrForked
	}
	if len(body) > maxBody || len(files) > 2 {
		return fmt.Errorf("%w: a message of %d bytes and %d files, of at most %d and 2", ErrTooLong, len(body), len(files), maxBody)
	}
	if r.gone.Load() {
		return ErrGone
	}
	f := frame{kind: frameMessage, typ: t, from: r.local.id, to: r.id, body: body}
	return withFDs(files, nil, func(fds []int) error { return r.conn.send(&f, fds, most) })
}

// withFDs calls fn with the files' descriptors, which are open meanwhile.
func withFDs(files []*os.File, fds []int, fn func(fds []int) error) error {
	if len(files) == 0 {
		return fn(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var fnErr error
	if err := raw.Control(func(fd uintptr) { fnErr = withFDs(files[1:], append(fds, int(fd)), fn) }); err != nil {
		return fmt.Errorf("%s: %w: %w", files[0].Name(), os.ErrClosed, err)
	}
	return fnErr
}

// Drop ends the connection to a peer that has sent nonsense, and does not meet it
// again. Lost follows for all its ports. The peer is told why, and it is one of
// [Node.Troubles]. If it is not to blame for the error, which matches ErrGone or
// ErrBusy or is [Starved], it is met again when either side adds a port.
func (n *Node) Drop(r *Remote, err error) {
	if life.Forked() {
		return
	}
	blamed := !Starved(err) && !errors.Is(err, ErrGone) && !errors.Is(err, ErrBusy)
	r.conn.fail(fmt.Errorf("%w: %w", ErrDropped, err), blamed)
}

// busy reports whether the kernel has no room for what is sent just now.
func busy(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ETOOMANYREFS)
}
