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

// A place is where one worker at a time is, of one role.
type place struct {
	index   int
	role    string
	veteran bool // it is not killed before the end

	stderr *os.File

	mu      sync.Mutex // guards current
	current *process
}

// A process is a worker as the conductor sees it.
type process struct {
	*os.Process
	incarnation uint64
	entry       *entry
	ordered     atomic.Bool   // its end is the conductor's will
	begun       chan struct{} // closed when it can publish or receive, or has ended
	ended       chan struct{} // closed when it has been waited for
	state       *os.ProcessState
	err         error // of the wait
}

func newPlace(folder string, index int, role string) (*place, error) {
	f, err := os.OpenFile(filepath.Join(folder, fmt.Sprintf("stderr-%d", index)), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	return &place{index: index, role: role, stderr: f}, err
}

// start runs a worker in the place.
func (s *place) start(r *round) (*process, error) {
	announced, announce, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer announce.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, announced.Close())
	}
	defer null.Close()
	incarnation := r.last.Add(1)
	text := func(n uint64) string { return strconv.FormatUint(n, 10) }
	p, err := os.StartProcess("/proc/self/exe", []string{"topics", s.role, r.folder, text(incarnation), text(r.seed),
		text(uint64(r.policy)), text(uint64(r.patience)), r.mutant}, &os.ProcAttr{
		Dir:   "/",
		Env:   append(os.Environ(), "GORACE=atexit_sleep_ms=0"),
		Files: []*os.File{null, null, s.stderr, announce},
		// Ctrl-C is for the conductor alone, and if that is killed, so are the workers.
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a %s: %w", s.role, err), announced.Close())
	}
	w := &process{Process: p, incarnation: incarnation, entry: &r.ledger.entries[incarnation], begun: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.begun)
		defer announced.Close()
		var b [8]byte
		if _, err := io.ReadFull(announced, b[:]); err == nil && binary.LittleEndian.Uint64(b[:]) != incarnation {
			panic("somebody else announced himself")
		}
	}()
	go func() {
		defer close(w.ended)
		w.state, w.err = p.Wait()
	}()
	s.mu.Lock()
	s.current = w
	s.mu.Unlock()
	return w, nil
}

// running returns the place's worker; nil if there was none yet.
func (s *place) running() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// await waits until the worker has begun, or has ended.
func (p *process) await(ctx context.Context) {
	select {
	case <-p.begun:
	case <-ctx.Done():
	}
}

// kill kills the worker.
func (p *process) kill() {
	p.ordered.Store(true)
	p.Kill() // it may have ended
}

// killed says whether the worker was killed by SIGKILL.
func (p *process) killed() bool {
	ws, ok := p.state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// verdict returns what was wrong with how the worker ended: it must have been killed,
// or have ended well.
func (s *place) verdict(p *process) error {
	switch b := p.entry.broken(); {
	case p.err != nil:
		return fmt.Errorf("wait for %s %d: %w", s.role, p.incarnation, p.err)
	case b != nil:
		return breaks(b.kind, "%s %d: %s", s.role, p.incarnation, b.text)
	case p.killed() && p.ordered.Load(), p.state.Success():
		return nil
	}
	return breaks(unexpected, "%s %d ended: %v: %s", s.role, p.incarnation, p.state, s.said())
}

// said returns the end of what the place's workers have written to standard error.
func (s *place) said() string {
	st, err := s.stderr.Stat()
	if err != nil {
		return err.Error()
	}
	const most = 1 << 20
	b := make([]byte, min(st.Size(), most))
	n, err := s.stderr.ReadAt(b, st.Size()-int64(len(b)))
	if err != nil && err != io.EOF {
		return err.Error()
	}
	return strings.TrimSpace(string(b[:n]))
}
