package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

const (
	// messageBytes is the message of part 2: messageUnit bytes, repeated. A message
	// whose units differ is two messages.
	messageBytes = 1024
	messageUnit  = 16
	// batch is how many messages are written or read between two looks at the clock.
	batch = 100

	tearFor  = time.Second
	guardFor = tearFor / 2
	// The segment of the guarded message; the semaphore is in its directory.
	guardedBytes = 4096 + shmsync.AreaBytes
	guardName    = "message"
)

// torn lets the clients read a message while the server overwrites it: in raw
// memory, and then guarded by a semaphore.
func (d *demo) torn() error {
	raw, err := d.raw()
	if err != nil {
		return err
	}
	guarded, err := d.guarded()
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   What the guard costs: %s reads/s with it, %s without, of all clients together.\n", humanize.Comma(guarded.rate()), humanize.Comma(raw.rate()))
	if guarded.torn > 0 {
		return fmt.Errorf("%d of %d guarded reads were torn: the semaphore let two processes in at once", guarded.torn, guarded.read)
	}
	return nil
}

// raw has no guard, and shows what comes of it.
func (d *demo) raw() (*contest, error) {
	fmt.Fprintf(d.Out, "\n2. Raw memory has no lock. The server overwrites one message of %d bytes again and again\n", messageBytes)
	fmt.Fprintf(d.Out, "   while the clients read it, and nothing says when a message is complete.\n")
	path := filepath.Join(d.dir, "message")
	if _, err := d.server().do(order{Op: "create", Path: path, Bytes: messageBytes}); err != nil {
		return nil, err
	}
	for _, p := range d.clients() {
		if _, err := p.do(order{Op: "map", Path: path, Bytes: messageBytes}); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	// Twice as long, and once more, if nothing was torn: on one processor a
	// reader sees a torn message only if the writer was interrupted in it.
	c, err := d.contest(tearFor, func(c *contest) bool { return c.torn > 0 })
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(d.Out, "%s   Torn reads on raw memory: %s of %s.\n", c.shown, humanize.Comma(c.torn), humanize.Comma(c.read))
	return c, nil
}

// guarded is the same, where everybody holds the permit of a semaphore while he
// writes or copies the message.
func (d *demo) guarded() (*contest, error) {
	fmt.Fprintf(d.Out, "\n   The same with a semaphore of one permit: acquire; write, or copy; release.\n")
	path := filepath.Join(d.dir, "guarded")
	for _, p := range d.all() {
		if _, err := p.do(order{Op: "guard", Path: path, Bytes: guardedBytes}); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	c, err := d.contest(guardFor, func(c *contest) bool { return c.written > 0 && c.read > 0 })
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(d.Out, "%s   Torn reads of guarded memory: %s of %s.\n", c.shown, humanize.Comma(c.torn), humanize.Comma(c.read))
	return c, nil
}

// contest is what came of writing and reading a message at the same time.
type contest struct {
	took                time.Duration
	written, read, torn int64
	shown               string // for people
}

// rate returns the reads in a second, of all clients together.
func (c *contest) rate() int64 { return int64(float64(c.read) / c.took.Seconds()) }

// contest has the server write and the clients read, for a time, and up to four
// times as long as long as it is not enough.
func (d *demo) contest(length time.Duration, enough func(*contest) bool) (*contest, error) {
	for longest := 4 * length; ; length *= 2 {
		c, err := d.contestOnce(length)
		if err != nil {
			return nil, err
		}
		if enough(c) || length == longest {
			return c, d.unmapAll()
		}
	}
}

func (d *demo) contestOnce(length time.Duration) (*contest, error) {
	c := &contest{took: length}
	write := d.server().start(order{Op: "overwrite", For: length})
	var reads []func() (report, error)
	for _, p := range d.clients() {
		reads = append(reads, p.start(order{Op: "compare", For: length}))
	}
	w, err := write()
	if err != nil {
		return nil, err
	}
	c.written = w.Reads
	c.shown = fmt.Sprintf("   server wrote %s messages in %v\n", humanize.Comma(c.written), length)
	sample := ""
	for i, wait := range reads {
		r, err := wait()
		if err != nil {
			return nil, err
		}
		c.read, c.torn = c.read+r.Reads, c.torn+r.Torn
		c.shown += fmt.Sprintf("   client %d read %s messages: %s torn (%.1f %%)\n", i+1, humanize.Comma(r.Reads), humanize.Comma(r.Torn), 100*float64(r.Torn)/float64(max(r.Reads, 1)))
		if r.Sample != "" {
			sample = fmt.Sprintf("   One of them: %s\n", r.Sample)
		}
	}
	c.shown += sample
	return c, nil
}

func (d *demo) unmapAll() error {
	for _, p := range d.all() {
		if _, err := p.do(order{Op: "unmap"}); err != nil {
			return err
		}
	}
	return nil
}

// guard attaches to the segment with the guarded message; the first one makes it.
func (p *process) guard(o order, _ *report) error {
	s, _, err := segment.CreateOrAttach(filepath.Base(o.Path), int(o.Bytes), &segment.Config{Folder: filepath.Dir(o.Path)})
	if err != nil {
		return err
	}
	p.semaphore, err = shmsync.NamedSemaphore(context.Background(), s, guardName, 1)
	if err != nil {
		s.Close()
		return err
	}
	p.memory, p.segment = s.Mapping, s
	return nil
}

// unmap lets go of the shared memory.
func (p *process) unmap(order, *report) error {
	memory, s := p.memory, p.segment
	p.memory, p.segment, p.semaphore = nil, nil, nil
	if s != nil {
		return s.Close()
	}
	return memory.Close()
}

// alone calls fn, and if the memory is guarded, while no other process does.
func (p *process) alone(fn func()) error {
	if p.semaphore == nil {
		fn()
		return nil
	}
	if err := p.semaphore.Acquire(context.Background()); err != nil {
		return err
	}
	fn()
	return p.semaphore.Release()
}

// overwrite writes messages, each over the last, for a while.
func (p *process) overwrite(o order, r *report) error {
	message := make([]byte, messageBytes)
	return p.memory.View(func(memory []byte) error {
		for end := time.Now().Add(o.For); time.Now().Before(end); {
			for range batch {
				r.Reads++
				unit := fmt.Appendf(message[:0], "message %07d ", r.Reads%10_000_000)
				for n := len(unit); n < len(message); n *= 2 {
					copy(message[n:], message[:n])
				}
				if err := p.alone(func() { copy(memory, message) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// compare reads messages for a while and counts those that are torn.
func (p *process) compare(o order, r *report) error {
	message := make([]byte, messageBytes)
	return p.memory.View(func(memory []byte) error {
		for end := time.Now().Add(o.For); time.Now().Before(end); {
			for range batch {
				if err := p.alone(func() { copy(message, memory) }); err != nil {
					return err
				}
				r.Reads++
				if at := tornAt(message); at > 0 {
					r.Torn++
					if r.Sample == "" && message[0] != 0 {
						r.Sample = fmt.Sprintf("byte %d is of %q, byte %d of %q", 0, message[:messageUnit-1], at, message[at:at+messageUnit-1])
					}
				}
			}
		}
		return nil
	})
}

// tornAt returns where the first unit begins that is not the message's first; 0
// if the message is whole.
func tornAt(message []byte) int {
	first := string(message[:messageUnit])
	for at := messageUnit; at < len(message); at += messageUnit {
		if string(message[at:at+messageUnit]) != first {
			return at
		}
	}
	return 0
}
