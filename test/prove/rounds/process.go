package rounds

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A Place is where one worker at a time is. All of them write to one file what
// they write to standard error.
type Place struct {
	stderr *os.File
	most   int64
}

// NewPlace makes place index of a round. Of what is written to standard error it
// tells the end: so many bytes at most.
func NewPlace(folder string, index int, most int64) (*Place, error) {
	f, err := os.OpenFile(filepath.Join(folder, fmt.Sprintf("stderr-%d", index)), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	return &Place{f, most}, err
}

// Close forgets what the place's workers have written.
func (s *Place) Close() error { return s.stderr.Close() }

// said returns the end of what the place's workers have written to standard error.
func (s *Place) said() string {
	st, err := s.stderr.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, min(st.Size(), s.most))
	n, err := s.stderr.ReadAt(b, st.Size()-int64(len(b)))
	if err != nil && err != io.EOF {
		return err.Error()
	}
	return strings.TrimSpace(string(b[:n]))
}

// A Process is a worker as the conductor sees it.
type Process struct {
	*os.Process
	Incarnation uint64
	Ended       <-chan struct{} // closed when it has been waited for

	what    string
	place   *Place
	ordered atomic.Bool     // its end is the conductor's will
	begun   <-chan struct{} // closed when it has announced itself, or has ended
	state   *os.ProcessState
	err     error // of the wait
}

// A Start is how a worker is started: by this program, with arguments of its own.
type Start struct {
	Incarnation uint64
	What        string               // in errors
	Args        []string             // the first is the program's name
	Env         []string             // more than the conductor's
	Namespaces  *syscall.SysProcAttr // its namespaces; nil for the conductor's
	After       func()               // is called when it has been waited for, before Ended is closed; nil for nothing
}

// Start runs a worker in the place.
func (s *Place) Start(how Start) (*Process, error) {
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
	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), how.Env...),
		Files: []*os.File{null, null, s.stderr, announceFD: announce},
		Sys:   how.Namespaces,
	}
	if attr.Sys == nil {
		attr.Sys = &syscall.SysProcAttr{}
	}
	// Ctrl-C is for the conductor alone, and if that is killed, so are the
	// workers; the thread that starts them lives as long as the conductor.
	attr.Sys.Setpgid, attr.Sys.Pdeathsig = true, syscall.SIGKILL
	p, err := os.StartProcess("/proc/self/exe", how.Args, attr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a %s: %w", how.What, err), announced.Close())
	}
	begun, ended := make(chan struct{}), make(chan struct{})
	w := &Process{Process: p, Incarnation: how.Incarnation, Ended: ended, what: how.What, place: s, begun: begun}
	go func() {
		defer close(begun)
		defer announced.Close()
		var b [8]byte
		if _, err := io.ReadFull(announced, b[:]); err == nil && binary.LittleEndian.Uint64(b[:]) != how.Incarnation {
			panic("somebody else announced himself")
		}
	}()
	go func() {
		defer close(ended)
		w.state, w.err = p.Wait()
		if how.After != nil {
			how.After()
		}
	}()
	return w, nil
}

// announceFD is where a worker says that it has begun.
const announceFD = 3

// Announce says, in a worker, that it has begun to work, and closes the descriptor that
// it had for that.
func Announce(incarnation uint64) error {
	f := os.NewFile(announceFD, "announcement")
	_, err := f.Write(binary.LittleEndian.AppendUint64(nil, incarnation))
	return errors.Join(err, f.Close())
}

// Await waits until the worker has begun, or has ended.
func (p *Process) Await(ctx context.Context) {
	select {
	case <-p.begun:
	case <-ctx.Done():
	}
}

// Rest waits so long, or until the worker has ended.
func (p *Process) Rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.Ended:
	}
}

// Stop stops the worker for so long, in which it keeps what it holds. It returns
// whether the worker could be stopped.
func (p *Process) Stop(d time.Duration) bool {
	if p.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	p.Rest(d)
	p.Signal(syscall.SIGCONT) // it may have been killed
	return true
}

// Order says that the worker's end, which comes, is the conductor's will.
func (p *Process) Order() { p.ordered.Store(true) }

// Ordered says whether it is.
func (p *Process) Ordered() bool { return p.ordered.Load() }

// Kill kills the worker.
func (p *Process) Kill() {
	p.Order()
	p.Process.Kill() // it may have ended
}

// Killed says whether the worker, which has ended, was killed by SIGKILL.
func (p *Process) Killed() bool {
	ws, ok := p.state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// Stacks ends a worker that does not go on, and returns what it has written about
// its goroutines, if it could.
func (p *Process) Stacks() string {
	p.Order()
	if p.Signal(syscall.SIGQUIT) == nil {
		p.Rest(2 * time.Second)
	}
	return p.place.said()
}

// Verdict returns what was wrong with how the worker, which has ended and has told
// that something was broken, or not, did so: it must have been killed, or have
// ended well.
func (p *Process) Verdict(told *Broken) error {
	switch {
	case p.err != nil:
		return fmt.Errorf("wait for %s %d: %w", p.what, p.Incarnation, p.err)
	case told != nil:
		return told
	case p.Killed() && p.Ordered(), p.state.Success():
		return nil
	}
	return Breaks(Unexpected, "%s %d ended: %v: %s", p.what, p.Incarnation, p.state, p.place.said())
}
