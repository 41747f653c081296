package main

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/memlane/memlane/test/prove/rounds"
)

// said is how much of the end of what a slot's workers write to standard error is told.
const said = 8192

// A slot is a place for one worker at a time, in one kind of surroundings.
type slot struct {
	*rounds.Place
	index      int
	veteran    bool
	namespaces bool // a PID and a user namespace of its own
	env        []string
	current    atomic.Pointer[process]
}

// A process is a worker as the conductor sees it.
type process struct {
	*rounds.Process
	entry  *entry
	held   int    // permits of the guard that it died with
	nudged uint64 // the step in which it was
}

// start runs a worker in the slot.
func (s *slot) start(r *round) (*process, error) {
	incarnation := r.last.Add(1)
	w := &process{entry: &r.ledger.Entries[incarnation]}
	how := rounds.Start{
		What: "worker", Incarnation: incarnation, Env: s.env,
		Args: []string{"locks", "worker", r.Folder, strconv.FormatUint(incarnation, 10),
			strconv.FormatUint(r.Seed, 10), strconv.FormatBool(s.veteran), r.Mutant},
		After: func() {
			// It has its places until its death is known.
			for i := range r.arena.guarded.places {
				if incarnationOf(r.arena.guarded.places[i].Load()) == incarnation {
					w.held++
				}
			}
			w.entry.dead.Store(1)
		},
	}
	if s.namespaces {
		how.Namespaces = separate()
	}
	p, err := s.Start(how)
	if err != nil {
		return nil, err
	}
	w.Process = p
	s.current.Store(w)
	return w, nil
}

// running returns the slot's worker, nil if there was none yet.
func (s *slot) running() *process { return s.current.Load() }

// doom says that the worker's end, which comes, is the conductor's will.
func (p *process) doom() {
	p.Order()
	p.entry.doomed.Store(1)
}

// Kill kills the worker.
func (p *process) Kill() {
	p.doom()
	p.Process.Kill()
}

// verdict returns what was wrong with how the worker ended.
func (p *process) verdict() error { return p.Verdict(p.entry.Broken()) }

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
	p, err := os.StartProcess("/proc/self/exe", []string{"locks", "nothing"}, &os.ProcAttr{Dir: "/", Files: []*os.File{nil, nil, os.Stderr}, Sys: separate()})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}
