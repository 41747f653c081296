// Package demo shows what memlane is for, with real processes and real input: a
// server and several clients move data through a mapped file, then read memory
// while it is being written, raw and guarded by a semaphore, then move the same
// data over a Unix socket, and at last exchange messages, while one of them dies.
//
// [Run] is the conductor. It starts the other processes as copies of its own
// program, which must call [Peer]; it gives them orders over pipes, prints what
// they report, and checks every hash against one of its own. A peer whose
// conductor is gone ends by itself.
package demo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane/mmap"
)

// Config says what to show and where.
type Config struct {
	Input    string    // the file to move; "" makes some data, "-" is standard input
	Folder   string    // an existing folder for the mapped file, removed from it again
	Out      io.Writer // what is shown
	Terminal bool      // Out is a terminal: progress may overwrite itself
	Command  []string  // what starts a peer: a program and its arguments
}

const (
	clients   = 3
	madeBytes = 64 << 20  // the size of the input if there is no file
	mostBytes = 256 << 20 // of a larger file, only the beginning is moved
	mostPiped = 64 << 20  // the same for a pipe, which is copied first
	// The input moves in chunks; the mapping holds two, so that the clients read
	// one while the server writes the next.
	chunkBytes    = 16 << 20
	chunkSmallest = 64 << 10
	// Each transfer stops after this time with what it has moved, so that the
	// whole ends within 20 s on a slow machine too.
	transferFor = 4 * time.Second
	runFor      = 19 * time.Second
)

// Run shows everything and returns when it is done, or when ctx ends. It leaves
// no file and no process behind.
func Run(ctx context.Context, c Config) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Whatever hangs, a stopped peer for one: it ends in time.
	ctx, cancelTime := context.WithTimeoutCause(ctx, runFor, fmt.Errorf("it has not ended after %v: a process of it is stopped, or the machine is very slow", runFor))
	defer cancelTime()
	// Nobody to show it to, as behind "| head": end, and clean up.
	c.Out = &stopWriter{c.Out, cancel}
	dir, err := newFolder(c.Folder)
	if err != nil {
		return err
	}
	defer dir.Close() // until then its lock says that we live
	d := &demo{Config: c, dir: dir.Name()}
	defer func() {
		for _, p := range d.all() {
			p.stop()
		}
		if removeErr := removeFolder(d.dir); err == nil {
			err = removeErr
		}
		if d.unfinished {
			fmt.Fprintln(d.Out) // the progress line stands there without its end
		}
		// Peers that were stopped fail in many ways; the reason is the context's.
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	// A peer that waits for another gets its orders' answers only when the
	// other is there: killing all of them ends every wait.
	unwatch := context.AfterFunc(ctx, func() {
		for _, p := range d.all() {
			p.kill()
		}
	})
	defer unwatch()

	if err := d.prepare(ctx); err != nil {
		return err
	}
	for i := range 1 + clients {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p, err := startPeer(c.Command, i)
		if err != nil {
			return err
		}
		d.add(p)
	}
	mapped, err := d.mapped(ctx)
	if err != nil {
		return err
	}
	if err := d.torn(); err != nil {
		return err
	}
	socket, err := d.socket(ctx, mapped.moved)
	if err != nil {
		return err
	}
	if err := d.table(mapped, socket); err != nil {
		return err
	}
	return d.live(ctx)
}

// stopWriter ends the demo when it cannot write any more.
type stopWriter struct {
	io.Writer
	cancel context.CancelCauseFunc
}

func (w *stopWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if err != nil {
		w.cancel(err)
	}
	return n, err
}

type demo struct {
	Config
	peers
	dir   string // ours, for the file and the socket
	input string // path of the input; "" if it is made

	unfinished bool // a progress line without its end is on the terminal

	seed  uint64 // of made input
	size  int64  // bytes of input to move
	chunk int64
}

// prepare settles what is moved.
func (d *demo) prepare(ctx context.Context) error {
	fmt.Fprintf(d.Out, "One server process and %d clients on this machine.\n", clients)
	if d.Input == "" {
		d.seed, d.size = rand.Uint64(), madeBytes
		fmt.Fprintf(d.Out, "Input: %s of random bytes, seed %#x.\n", humanize.IBytes(uint64(d.size)), d.seed)
		return nil
	}
	d.input = d.Input
	if d.Input == "-" {
		return d.spool(ctx, func() (*os.File, error) { return os.Stdin, nil })
	}
	st, err := os.Stat(d.Input)
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return fmt.Errorf("%s is a folder: name a file", d.Input)
	case !mappable(d.Input, st):
		return d.spool(ctx, func() (*os.File, error) { return os.Open(d.Input) })
	}
	d.size = min(st.Size(), mostBytes)
	d.sayInput(st.Size())
	return nil
}

// mappable reports whether the server can map the input as it is. Pipes cannot
// be, nor files of /proc and /sys.
func mappable(path string, st os.FileInfo) bool {
	if !st.Mode().IsRegular() || st.Size() == 0 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return true // for the server to say
	}
	defer f.Close()
	m, err := mmap.Map(f, 1, mmap.Read, mmap.Private, nil)
	if err != nil {
		return false
	}
	return m.Close() == nil
}

// spool copies input that can be read only once. Reading a pipe or a terminal
// can take for ever, so it is left behind when ctx ends.
func (d *demo) spool(ctx context.Context, open func() (*os.File, error)) error {
	d.input = filepath.Join(d.dir, "input")
	f, err := os.OpenFile(d.input, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	more := false
	copied := make(chan error, 1)
	go func() { // opening a FIFO waits too
		in, err := open()
		if err == nil {
			if d.size, err = io.Copy(f, io.LimitReader(in, mostPiped)); err == nil {
				n, _ := in.Read(make([]byte, 1))
				more = n > 0
			}
		}
		copied <- err
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err = <-copied:
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("copy the input to %s: %w (give a file instead of a pipe, or set MEMLANE_DIR to a folder with more room)", d.dir, err)
	}
	if err != nil {
		return fmt.Errorf("read the input: %w", err)
	}
	if d.size == 0 {
		return fmt.Errorf("%s is empty: there is nothing to move", d.Input)
	}
	total := d.size
	if more {
		total = -1
	}
	d.sayInput(total)
	return nil
}

func (d *demo) sayInput(total int64) {
	what := fmt.Sprintf("%s, %s", d.Input, humanize.IBytes(uint64(d.size)))
	switch {
	case total < 0:
		what = fmt.Sprintf("the first %s of %s", humanize.IBytes(uint64(d.size)), d.Input)
	case total > d.size:
		what = fmt.Sprintf("the first %s of %s, which has %s", humanize.IBytes(uint64(d.size)), d.Input, humanize.IBytes(uint64(total)))
	}
	fmt.Fprintf(d.Out, "Input: %s.\n", what)
}

// expected hashes the first n bytes of the input, without any peer.
func (d *demo) expected(n int64) (string, error) {
	h := sha256.New()
	in := madeInput(d.seed)
	if d.input != "" {
		f, err := os.Open(d.input)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	if _, err := io.CopyN(h, in, n); err != nil {
		return "", fmt.Errorf("read the input again: %w", err)
	}
	return sum(h), nil
}

func madeInput(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func sum(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil)) }

// transfer is what was seen while the input went from the server to all
// clients.
type transfer struct {
	took            time.Duration
	moved           int64   // bytes of input that every client has
	server, clients usage   // all clients together
	copiesServer    float64 // how often each byte was copied
	copiesClient    float64 // by one client
}

// mapped moves the input through a mapped file.
func (d *demo) mapped(ctx context.Context) (*transfer, error) {
	fmt.Fprintf(d.Out, "\n1. Through a mapped file: what the server stores, the clients read.\n")
	path := filepath.Join(d.dir, "memory")
	if _, err := d.server().do(order{Op: "load", Path: d.input, Seed: d.seed, Bytes: d.size}); err != nil {
		return nil, err
	}
	d.chunk = min(chunkBytes, d.size)
	var server report
	for {
		var err error
		server, err = d.server().do(order{Op: "create", Path: path, Bytes: 2 * d.chunk})
		if err == nil {
			break
		}
		if !server.NoRoom || d.chunk <= chunkSmallest {
			return nil, err
		}
		d.chunk = max(d.chunk/2, chunkSmallest)
	}
	addresses := []uint64{server.Addr}
	for _, p := range d.clients() {
		r, err := p.do(order{Op: "map", Path: path, Bytes: 2 * d.chunk, Avoid: server.Addr})
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, r.Addr)
	}
	// Everybody has it mapped: the name is not needed, and a killed demo leaves
	// nothing behind.
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	seen := make([]string, 1+clients) // the first bytes, as each process has them
	return d.move(ctx, "mapped file", d.size, &steps{
		begin: func() error {
			r, err := d.server().do(order{Op: "fill", Bytes: d.chunk})
			seen[0] = r.Head
			return err
		},
		round: func(from, n, next int64) error {
			half := from / d.chunk % 2
			var waits []func() (report, error)
			for _, p := range d.clients() {
				waits = append(waits, p.start(order{Op: "hash", At: half * d.chunk, Bytes: n}))
			}
			var filled func() (report, error)
			if next > 0 {
				filled = d.server().start(order{Op: "fill", At: (1 - half) * d.chunk, From: from + n, Bytes: next})
			}
			var errs []error
			for i, wait := range waits {
				r, err := wait()
				if from == 0 {
					seen[1+i] = r.Head
				}
				errs = append(errs, err)
			}
			if filled != nil {
				_, err := filled()
				errs = append(errs, err)
			}
			if err := errors.Join(errs...); err != nil || from > 0 {
				return err
			}
			fmt.Fprintf(d.Out, "   The same bytes at different addresses:\n")
			for i, p := range d.all() {
				fmt.Fprintf(d.Out, "   %-8s process %-7d has %s… at %#x\n", p.name, p.pid(), seen[i], addresses[i])
			}
			return nil
		},
		end: order{Op: "unmap"},
	})
}

// socket moves the same input over a Unix socket.
func (d *demo) socket(ctx context.Context, size int64) (*transfer, error) {
	fmt.Fprintf(d.Out, "\n3. The same over a Unix socket: every byte goes into the kernel and out again.\n")
	path := filepath.Join(d.dir, "socket")
	if _, err := d.server().do(order{Op: "listen", Path: path}); err != nil {
		return nil, err
	}
	accepted := d.server().start(order{Op: "accept", Count: clients})
	var waits []func() (report, error)
	for _, p := range d.clients() {
		waits = append(waits, p.start(order{Op: "connect", Path: path}))
	}
	if err := all(append(waits, accepted)); err != nil {
		return nil, err
	}
	return d.move(ctx, "Unix socket", size, &steps{
		begin: func() error { return nil },
		round: func(from, n, _ int64) error {
			waits := []func() (report, error){d.server().start(order{Op: "send", From: from, Bytes: n})}
			for _, p := range d.clients() {
				waits = append(waits, p.start(order{Op: "receive", Bytes: n}))
			}
			return all(waits)
		},
		end: order{Op: "hangup"},
	})
}

// steps are what a way of transfer does in its own manner.
type steps struct {
	begin func() error                    // timed, before the first round
	round func(from, n, next int64) error // all clients get n bytes from there; next more will follow
	end   order                           // to every peer
}

// move runs the rounds and measures them.
func (d *demo) move(ctx context.Context, name string, size int64, s *steps) (*transfer, error) {
	for _, p := range d.all() {
		if _, err := p.do(order{Op: "begin"}); err != nil {
			return nil, err
		}
	}
	t := &transfer{}
	begun := time.Now()
	if err := s.begin(); err != nil {
		return nil, err
	}
	for t.moved < size {
		n := min(d.chunk, size-t.moved)
		next := min(d.chunk, size-t.moved-n)
		late := time.Since(begun) > transferFor
		if late {
			next = 0
		}
		if err := s.round(t.moved, n, next); err != nil {
			return nil, err
		}
		t.moved += n
		d.progress(name, t.moved, size)
		if late || ctx.Err() != nil {
			break
		}
	}
	t.took = time.Since(begun)
	var sums []string
	for i, p := range d.all() {
		r, err := p.do(order{Op: "end"})
		if err != nil {
			return nil, err
		}
		if i == 0 {
			t.server = r.Usage
			t.copiesServer = float64(r.Usage.Copied) / float64(t.moved)
			continue
		}
		t.clients.add(r.Usage)
		t.copiesClient += float64(r.Usage.Copied) / float64(t.moved) / clients
		sums = append(sums, r.Sum)
	}
	for _, p := range d.all() {
		if _, err := p.do(s.end); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if t.moved < size {
		if d.unfinished {
			fmt.Fprintln(d.Out)
			d.unfinished = false
		}
		fmt.Fprintf(d.Out, "   Stopped after %v with %s; what follows is about these.\n", t.took.Round(time.Millisecond), humanize.IBytes(uint64(t.moved)))
	}
	want, err := d.expected(t.moved)
	if err != nil {
		return nil, err
	}
	for i, got := range sums {
		if got != want {
			return nil, fmt.Errorf("%s: client %d has SHA-256 %s, the input has %s", name, i+1, got, want)
		}
	}
	fmt.Fprintf(d.Out, "   All %d clients have the input's SHA-256, %s….\n", len(sums), want[:16])
	return t, nil
}

// progress shows how much has been moved: in place on a terminal, else as a
// line for each quarter.
func (d *demo) progress(name string, moved, size int64) {
	bar := func(done int64) string {
		n := int(done * 32 / size)
		return fmt.Sprintf("   %s [%s%s] %s of %s", name, strings.Repeat("#", n), strings.Repeat(".", 32-n),
			humanize.IBytes(uint64(done)), humanize.IBytes(uint64(size)))
	}
	if d.Terminal {
		end := ""
		if moved == size {
			end = "\n"
		}
		d.unfinished = moved < size
		fmt.Fprintf(d.Out, "\r\033[K%s%s", bar(moved), end)
		return
	}
	before := max(0, moved-d.chunk)
	if moved*4/size > before*4/size {
		fmt.Fprintln(d.Out, bar(moved))
	}
}
