package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// A slot is a place for one worker at a time, in one kind of surroundings.
type slot struct {
	index      int
	veteran    bool
	namespaces bool // a PID and a user namespace of its own
	env        []string

	stderr, announceRead, announceWrite *os.File
	announced                           chan uint64 // incarnations that have begun to work

	mu      sync.Mutex // guards current
	current *process
}

// A process is a worker as the conductor sees it.
type process struct {
	*os.Process
	incarnation uint64
	entry       *entry
	ordered     atomic.Bool   // its end is the conductor's will
	ended       chan struct{} // closed when it has been waited for
	state       *os.ProcessState
	err         error  // of the wait
	held        int    // permits of the guard that it died with
	nudged      uint64 // the step in which it was
}

func newSlot(folder string, index int) (s *slot, err error) {
	s = &slot{index: index, announced: make(chan uint64, 16), env: append(os.Environ(), "GORACE=atexit_sleep_ms=0")}
	if s.stderr, err = os.OpenFile(filepath.Join(folder, fmt.Sprintf("stderr-%d", index)), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	if s.announceRead, s.announceWrite, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, s.stderr.Close())
	}
	go func() {
		defer close(s.announced)
		var b [8]byte
		for {
			if _, err := io.ReadFull(s.announceRead, b[:]); err != nil {
				return
			}
			s.announced <- binary.LittleEndian.Uint64(b[:])
		}
	}()
	return s, nil
}

func (s *slot) close() {
	s.announceWrite.Close()
	for range s.announced { // the workers' ends are closed too
	}
	s.announceRead.Close()
	s.stderr.Close()
}

// start runs a worker in the slot.
func (s *slot) start(r *round) (*process, error) {
	incarnation := r.last.Add(1)
	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   s.env,
		Files: []*os.File{null, null, s.stderr, s.announceWrite},
		// Ctrl-C is for the conductor alone, and if that is killed, so are the
		// workers; the thread that starts them lives as long as the conductor.
		Sys: &syscall.SysProcAttr{},
	}
	if s.namespaces {
		attr.Sys = separate()
	}
	attr.Sys.Setpgid, attr.Sys.Pdeathsig = true, syscall.SIGKILL
	p, err := os.StartProcess("/proc/self/exe", []string{"locks", "worker", r.folder, strconv.FormatUint(incarnation, 10),
		strconv.FormatUint(r.seed, 10), strconv.FormatBool(s.veteran), r.mutant}, attr)
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	w := &process{Process: p, incarnation: incarnation, entry: &r.ledger.entries[incarnation], ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.state, w.err = p.Wait()
		// It has its places until its death is known.
		for i := range r.arena.guarded.places {
			if incarnationOf(r.arena.guarded.places[i].Load()) == incarnation {
				w.held++
			}
		}
		w.entry.dead.Store(1)
	}()
	s.mu.Lock()
	s.current = w
	s.mu.Unlock()
	return w, nil
}

// running returns the slot's worker, nil if it has none that is known to live.
func (s *slot) running() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// begun waits until the worker has begun to work; it may end before.
func (s *slot) begun(ctx context.Context, p *process) {
	for {
		select {
		case incarnation := <-s.announced:
			if incarnation == p.incarnation {
				return
			}
		case <-p.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// doom says that the worker's end, which comes, is the conductor's will.
func (p *process) doom() {
	p.ordered.Store(true)
	p.entry.doomed.Store(1)
}

// kill kills the worker.
func (p *process) kill() {
	p.doom()
	p.Kill() // it may have ended
}

// killed says whether the worker was killed by SIGKILL.
func (p *process) killed() bool {
	ws, ok := p.state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// verdict returns what was wrong with how the worker ended: it must have been
// killed, or have ended well.
func (s *slot) verdict(p *process) error {
	switch b := p.entry.broken(); {
	case p.err != nil:
		return fmt.Errorf("wait for worker %d: %w", p.incarnation, p.err)
	case b != nil:
		return b
	case p.killed() && p.ordered.Load(), p.state.Success():
		return nil
	}
	return breaks(unexpected, "worker %d ended: %v: %s", p.incarnation, p.state, s.said())
}

// said returns the end of what the slot's workers have written to standard error.
func (s *slot) said() string {
	st, err := s.stderr.Stat()
	if err != nil {
		return err.Error()
	}
	const most = 8192
	b := make([]byte, min(st.Size(), most))
	n, err := s.stderr.ReadAt(b, st.Size()-int64(len(b)))
	if err != nil && err != io.EOF {
		return err.Error()
	}
	return strings.TrimSpace(string(b[:n]))
}

// separate is how a process is started in a PID and a user namespace of its own.
func separate() *syscall.SysProcAttr {
	id := func(host int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: host, HostID: host, Size: 1}}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: id(os.Getuid()),
		GidMappings: id(os.Getgid()),
	}
}

// namespacesWork says why no process can be started in namespaces of its own; nil
// if one can.
func namespacesWork() error {
	p, err := os.StartProcess("/proc/self/exe", []string{"locks", "nothing"}, &os.ProcAttr{Dir: "/", Files: []*os.File{null, null, os.Stderr}, Sys: separate()})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

// null is what the workers have for standard input and output.
var null = func() *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	return f
}()
