package demo

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

const (
	pieceBytes = 64 << 10 // of one read or write on the socket
	headBytes  = 8
)

// Peer runs a process of the demo: it obeys orders from in and answers to out
// until in ends, which it does when the conductor is gone.
func Peer(in io.Reader, out io.Writer) error {
	// Ctrl-C goes to every process of the terminal. The conductor decides.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	p := &process{in: &counted{r: in}, out: &counted{w: out}}
	orders := make(chan order)
	go func() {
		dec := json.NewDecoder(p.in)
		for {
			var o order
			if dec.Decode(&o) != nil {
				os.Exit(0) // in the middle of an order too
			}
			orders <- o
		}
	}()
	enc := json.NewEncoder(p.out)
	for o := range orders {
		op, ok := ops[o.Op]
		if !ok {
			return fmt.Errorf("no order is called %q", o.Op)
		}
		var r report
		if err := op(p, o, &r); err != nil {
			r.Err, r.NoRoom, r.Fault = err.Error(), errors.Is(err, syscall.ENOSPC), errors.Is(err, mmap.ErrFault)
			p.disconnect() // so that nobody waits for what will not come
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// process is what a peer has in hand.
type process struct {
	in, out   *counted
	input     *mmap.Mapping      // server: what is to be moved
	memory    *mmap.Mapping      // what is shared
	segment   *segment.Segment   // that memory is of, in part 2 with a guard
	semaphore *shmsync.Semaphore // which guards it; nil without a guard
	hash      hash.Hash          // client: of what arrived since begin
	listener  net.Listener
	conns     []net.Conn

	// Of part 4.
	domain     *memlane.Domain
	publisher  *pubsub.Publisher
	subscriber *pubsub.Subscriber

	copied int64    // bytes
	before usage    // at begin
	io     *os.File // /proc/self/io
	looks  int64    // reads of it
}

// counted counts the system calls for orders and answers, which are not part of
// what is measured.
type counted struct {
	mu    sync.Mutex
	r     io.Reader
	w     io.Writer
	calls int64
}

func (c *counted) count() {
	c.mu.Lock()
	c.calls++
	c.mu.Unlock()
}

func (c *counted) total() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.count()
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	c.count()
	return c.w.Write(b)
}

// ops are the orders, by name.
var ops = map[string]func(p *process, o order, r *report) error{
	"load":      (*process).load,
	"create":    (*process).create,
	"map":       (*process).mapMemory,
	"fill":      (*process).fill,
	"hash":      (*process).hashMemory,
	"guard":     (*process).guard,
	"unmap":     (*process).unmap,
	"overwrite": (*process).overwrite,
	"compare":   (*process).compare,
	"listen":    (*process).listen,
	"accept":    (*process).accept,
	"connect":   (*process).connect,
	"send":      (*process).send,
	"receive":   (*process).receive,
	"hangup":    (*process).hangup,
	"begin":     (*process).begin,
	"end":       (*process).end,
	"join":      (*process).join,
	"advertise": (*process).advertise,
	"subscribe": (*process).subscribe,
	"await":     (*process).await,
	"publish":   (*process).publish,
	"read":      (*process).read,
	"silence":   (*process).silence,
}

// load gets the input ready in the server's own memory, so that neither way of
// transfer pays for reading it.
func (p *process) load(o order, _ *report) (err error) {
	if o.Path == "" {
		p.input, err = mmap.MapAnonymous(int(o.Bytes), mmap.Read|mmap.Write, mmap.Private, nil)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(madeInput(o.Seed), p.input.Bytes())
		return err
	}
	f, err := os.Open(o.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	p.input, err = mmap.Map(f, int(o.Bytes), mmap.Read, mmap.Private, &mmap.Config{Populate: mmap.Read})
	return err
}

// create makes the shared file and maps it for writing.
func (p *process) create(o order, r *report) error {
	f, err := os.OpenFile(o.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, o.Bytes); err != nil {
		return errors.Join(fmt.Errorf("reserve %d bytes in %s: %w (make room there, or set MEMLANE_DIR to another folder)", o.Bytes, o.Path, err), os.Remove(o.Path))
	}
	p.memory, err = mmap.Map(f, int(o.Bytes), mmap.Read|mmap.Write, mmap.Shared, &mmap.Config{Populate: mmap.Write})
	if err != nil {
		return err
	}
	r.Addr = uint64(p.memory.Addr())
	return nil
}

// mapMemory maps the shared file for reading, anywhere but at o.Avoid.
func (p *process) mapMemory(o order, r *report) error {
	f, err := os.Open(o.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		m, err := mmap.Map(f, int(o.Bytes), mmap.Read, mmap.Shared, &mmap.Config{Populate: mmap.Read})
		if err != nil {
			return err
		}
		if o.Avoid == 0 || uint64(m.Addr()) != o.Avoid {
			p.memory = m
			r.Addr = uint64(m.Addr())
			return nil
		}
		// The kernel happened on the server's address. While this mapping is
		// there, the next one is elsewhere.
		defer m.Close()
	}
}

// fill stores a part of the input into the shared memory.
func (p *process) fill(o order, r *report) error {
	return p.input.View(func(input []byte) error {
		return p.memory.View(func(memory []byte) error {
			p.copied += int64(copy(memory[o.At:], input[o.From:o.From+o.Bytes]))
			r.Head = head(memory[o.At : o.At+o.Bytes])
			return nil
		})
	})
}

// hashMemory reads the shared memory in place.
func (p *process) hashMemory(o order, r *report) error {
	return p.memory.View(func(b []byte) error {
		r.Head = head(b[o.At : o.At+o.Bytes])
		p.hash.Write(b[o.At : o.At+o.Bytes])
		return nil
	})
}

func head(b []byte) string { return fmt.Sprintf("% x", b[:min(headBytes, len(b))]) }

func (p *process) listen(o order, _ *report) (err error) {
	p.listener, err = net.Listen("unix", o.Path)
	return err
}

func (p *process) accept(o order, _ *report) error {
	for range o.Count {
		conn, err := p.listener.Accept()
		if err != nil {
			return err
		}
		p.conns = append(p.conns, conn)
	}
	return p.listener.Close() // which removes its name
}

func (p *process) connect(o order, _ *report) error {
	conn, err := net.Dial("unix", o.Path)
	if err != nil {
		return err
	}
	p.conns = append(p.conns, conn)
	return nil
}

// send writes a part of the input to every client at the same time.
func (p *process) send(o order, _ *report) error {
	return p.input.View(func(input []byte) error {
		part := input[o.From : o.From+o.Bytes]
		sent := make([]int64, len(p.conns))
		errs := make([]error, len(p.conns))
		var wg sync.WaitGroup
		for i, conn := range p.conns {
			wg.Go(func() {
				for off := 0; off < len(part) && errs[i] == nil; {
					// The kernel reads the mapping here: a file cut short is
					// an error of the call, not a fault.
					n, err := conn.Write(part[off:min(off+pieceBytes, len(part))])
					if errors.Is(err, syscall.EFAULT) {
						err = fmt.Errorf("%w: the input was cut short: %w", mmap.ErrFault, err)
					}
					off, errs[i] = off+n, err
					sent[i] += int64(n)
				}
			})
		}
		wg.Wait()
		for _, n := range sent {
			p.copied += n
		}
		return errors.Join(errs...)
	})
}

func (p *process) receive(o order, _ *report) error {
	piece := make([]byte, pieceBytes)
	if len(p.conns) == 0 {
		return errors.New("not connected")
	}
	for left := o.Bytes; left > 0; {
		n, err := p.conns[0].Read(piece[:min(left, pieceBytes)])
		p.hash.Write(piece[:n])
		p.copied += int64(n)
		left -= int64(n)
		if errors.Is(err, io.EOF) {
			return errors.New("the server has hung up")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *process) hangup(order, *report) error { return p.disconnect() }

func (p *process) disconnect() error {
	var errs []error
	for _, conn := range p.conns {
		errs = append(errs, conn.Close())
	}
	p.conns = nil
	return errors.Join(errs...)
}

func (p *process) begin(order, *report) error {
	p.hash, p.copied = sha256.New(), 0
	p.before = p.spent()
	return nil
}

func (p *process) end(_ order, r *report) error {
	r.Sum = sum(p.hash)
	now := p.spent()
	r.Usage = usage{CPU: now.CPU - p.before.CPU, Calls: now.Calls - p.before.Calls, Faults: now.Faults - p.before.Faults, Copied: p.copied}
	if now.Calls < 0 {
		r.Usage.Calls = -1
	}
	return nil
}

// spent returns what the process has spent since it began.
func (p *process) spent() usage {
	var u usage
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) == nil {
		u.CPU = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
		u.Faults = ru.Minflt + ru.Majflt
	}
	// One read, so that what the look itself costs is known.
	text := make([]byte, 4096)
	n := 0
	if p.io == nil {
		p.io, _ = os.Open("/proc/self/io")
	}
	if p.io != nil {
		n, _ = syscall.Pread(int(p.io.Fd()), text, 0) // ReadAt would make a second call, for the end
		p.looks++
	}
	var read, written int64
	found := 0
	for line := range strings.Lines(string(text[:n])) {
		k, _ := fmt.Sscanf(line, "syscr: %d", &read)
		found += k
		k, _ = fmt.Sscanf(line, "syscw: %d", &written)
		found += k
	}
	if found < 2 {
		u.Calls = -1 // this kernel, or this container, does not tell
		return u
	}
	u.Calls = read + written - p.in.total() - p.out.total() - (p.looks - 1)
	return u
}
