package meet

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/sys"
)

// backlog is how many may wait to be accepted: a participant that is stopped meets
// those who came meanwhile when it goes on.
var backlog = 4096

const (
	// maxStrangers is how many connections may be open on which nobody has said
	// who he is; the oldest gives way.
	maxStrangers = 128
	// maxBanned is how many peers are remembered that are not to be met again.
	maxBanned = 1024
	// maxTroubles is how many troubles are remembered.
	maxTroubles = 64
)

// Config is what can be set. A nil *Config has the defaults.
type Config struct {
	// Owners are the users besides this process's own whose processes are
	// accepted as peers, and whose folder a domain may be. Root is none unless it is
	// named.
	Owners []int
	// Answer is how long Add waits for peers that do not answer; 0 is 100 ms.
	Answer time.Duration
	// Queue is how many packets wait at most for a peer that does not read, before the
	// connection to it ends; 0 is 4096.
	Queue int
	// Ports is how many ports a participant may have: we, and a peer, before it is dropped;
	// 0 is 4096.
	Ports int
}

// A Node is one participant of a domain. All methods may be called at the same
// time; Add, Remove and Close not from a [Handler].
type Node struct {
	config Config
	self   instance
	dir    *folder

	listener    *os.File
	listenerRaw syscall.RawConn
	closing     chan struct{}
	ended       chan struct{}  // Close is done
	running     sync.WaitGroup // connections, and calls of Add and Remove

	files         sync.Mutex
	registrations map[key]map[Role]int // of ports; guarded by files

	mu        sync.Mutex // guards what follows; taken before a conn's
	closed    bool
	ports     map[key][]*Port
	count     int // of them
	lastPort  uint32
	conns     map[*conn]struct{}
	links     map[uint64]*conn // by instance: at most one of them is or will be the connection to it
	local     [2]*conn         // the two ends of the connection to oneself
	strangers []*conn          // accepted, oldest first
	banned    map[uint64]error // who sent nonsense
	absent    map[uint64]*absence
	troubles  []Trouble
}

// Open joins the domain whose folder is dir, which is made if it is missing, and
// removes what dead participants have left there.
func Open(dir string, c *Config) (*Node, error) {
	fail := func(err error, fix string) (*Node, error) {
		limit, err := Limited(err)
		return nil, &Error{"open", "domain " + dir, err, cmp.Or(limit, fix)}
	}
	if err := life.RecogniseForks(); err != nil {
		return fail(err, "")
	}
	if life.Forked() {
		return fail(ErrForked, "execute a program")
	}
	n := &Node{
		closing:       make(chan struct{}),
		ended:         make(chan struct{}),
		registrations: map[key]map[Role]int{},
		ports:         map[key][]*Port{},
		conns:         map[*conn]struct{}{},
		links:         map[uint64]*conn{},
		banned:        map[uint64]error{},
		absent:        map[uint64]*absence{},
	}
	if c != nil {
		n.config = *c
		n.config.Owners = slices.Clone(c.Owners)
	}
	for setting, value := range map[*int]int{&n.config.Queue: 4096, &n.config.Ports: 4096} {
		if *setting <= 0 {
			*setting = value
		}
	}
	if n.config.Answer <= 0 {
		n.config.Answer = 100 * time.Millisecond
	}
	var err error
	if n.dir, err = openFolder(dir, n.config.Owners); err != nil {
		return nil, err
	}
	n.dir.sweep()
	var random [8]byte
	rand.Read(random[:])
	n.self = instance{bootID(), binary.LittleEndian.Uint64(random[:])}
	fd, err := n.dir.listen(n.self)
	if err != nil {
		n.dir.close()
		fix := "give a folder of a file system that Unix sockets work on"
		if errors.Is(err, syscall.EACCES) {
			fix = fixGroup
		}
		return fail(err, fix)
	}
	n.dir.letGo() // from here on the socket keeps it
	n.listener = os.NewFile(uintptr(fd), "socket of "+n.self.String())
	n.listenerRaw, err = n.listener.SyscallConn()
	if err == nil {
		err = pollable(n.listener)
	}
	if err != nil {
		n.listener.Close()
		n.dir.clean(n.self)
		n.dir.close()
		return fail(err, "")
	}
	n.running.Add(1)
	go n.accept()
	return n, nil
}

// ID returns the number of this participant, which is random.
func (n *Node) ID() uint64 { return n.self.id }

// Close leaves the domain: the peers' handlers and the own ones see all ports
// lost. When it returns, no handler runs or will be called. Adds that wait end with
// ErrClosed. Further calls wait for the first, and do nothing.
func (n *Node) Close() error {
	if life.Forked() {
		return ErrForked
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		<-n.ended
		return nil
	}
	n.closed = true
	close(n.closing)
	conns := n.allConns()
	n.mu.Unlock()

	// Nobody is led here any more, then nobody gets in.
	n.files.Lock()
	for k, roles := range n.registrations {
		for role := range roles {
			n.dir.unregister(k, registration{n.self, role})
		}
	}
	n.registrations = nil
	n.files.Unlock()
	sys.Unlinkat(n.dir.sockets, n.self.String())
	n.listener.Close()
	for _, c := range conns {
		c.fail(ErrClosed, false)
	}
	n.running.Wait()
	// Whoever comes now comes too late to take it out, and nobody looks any more.
	n.mu.Lock()
	n.ports = nil
	n.mu.Unlock()
	n.dir.close()
	close(n.ended)
	return nil
}

// enter begins a call that Close waits for; leave ends it.
func (n *Node) enter() error {
	if life.Forked() {
		return ErrForked
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	n.running.Add(1)
	return nil
}

func (n *Node) leave() { n.running.Done() }

// allConns returns the connections there are; n.mu is held.
func (n *Node) allConns() []*conn {
	list := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		list = append(list, c)
	}
	return list
}

// accepts reports whether processes of a user are accepted.
func (n *Node) accepts(uid uint32) bool { return accepts(uid, n.config.Owners) }

// accepts reports whether a user is this process's own, or one of owners.
func accepts(uid uint32, owners []int) bool {
	if int(uid) == sys.OverflowUID() {
		return false // it can be any that this user namespace does not know
	}
	return int(uid) == os.Geteuid() || slices.Contains(owners, int(uid))
}

// hello returns what this participant says first.
func (n *Node) hello() frame {
	h := hello{first: versionFirst, last: versionLast, instance: n.self, identity: life.Self()}
	return h.encode()
}

// portsOf returns the ports of a key.
func (n *Node) portsOf(k key) []*Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.ports[k])
}

// A Trouble is a peer that was refused, or refused us, or was dropped. Tools show
// it; nothing comes of it here.
type Trouble struct {
	Instance uint64 // 0: it did not say
	PID      int    // in our namespace; 0: unknown
	UID      uint32
	Err      error
	At       time.Time
}

// Lasting says whether the two do not meet again: it is not for a want of descriptors, or
// because one did not read, which passes.
func (t *Trouble) Lasting() bool {
	return !Starved(t.Err) && !errors.Is(t.Err, ErrStarved) && !errors.Is(t.Err, ErrBusy) && !errors.Is(t.Err, ErrGone)
}

// Troubles returns the last of them, oldest first.
func (n *Node) Troubles() []Trouble {
	if life.Forked() {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.troubles)
}

// Waiting is a peer that was connected to and has not answered yet; most likely it
// is stopped.
type Waiting struct {
	Instance uint64
	PID      int // in our namespace; 0: unknown
	Since    time.Time
}

// Pending returns the peers that have not answered yet. They are met when they do.
func (n *Node) Pending() []Waiting {
	if life.Forked() {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []Waiting
	for id, c := range n.links {
		if c.state < established {
			list = append(list, Waiting{id, c.credentials.PID, c.since})
		}
	}
	return list
}

// ban notes that a peer is not to be met again; n.mu is held.
func (n *Node) ban(id uint64, why error) {
	for other := range n.banned {
		if len(n.banned) < maxBanned {
			break
		}
		delete(n.banned, other) // some; whoever has so many ids gets what he wants
	}
	n.banned[id] = why
}

// short remembers that something for a peer waits, for want of what the kernel gives.
func (n *Node) short(c *conn, why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fix, err := Limited(why)
	n.trouble(c, fmt.Errorf("send to the peer, later: %w (%s)", err, fix))
}

// trouble remembers one; n.mu is held.
func (n *Node) trouble(c *conn, err error) {
	n.troubles = append(n.troubles, Trouble{c.peer.instance, c.credentials.PID, c.credentials.UID, err, time.Now()})
	if len(n.troubles) > maxTroubles {
		n.troubles = n.troubles[1:]
	}
}
