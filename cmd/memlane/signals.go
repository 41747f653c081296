package main

import (
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// signals hands the signals that end a program to one function at a time: first
// to the one that ends what memlane is doing, then perhaps to another.
type signals struct {
	arrived chan os.Signal
	// ignored are those that were ignored when the program started: SIGHUP by
	// nohup, SIGINT by a shell that runs it in the background.
	ignored []os.Signal

	mu     sync.Mutex // held while handle runs
	handle func(os.Signal)
}

// handleSignals has handle called with each of SIGINT, SIGTERM and SIGHUP. A
// hangup that is ignored stays so: it is what nohup is for.
func handleSignals(handle func(os.Signal)) *signals {
	s := &signals{arrived: make(chan os.Signal, 8), handle: handle}
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	for _, sig := range ends {
		if signal.Ignored(sig) {
			s.ignored = append(s.ignored, sig)
		}
	}
	if slices.Contains(s.ignored, os.Signal(syscall.SIGHUP)) {
		ends = ends[:2]
	}
	signal.Notify(s.arrived, ends...)
	go func() {
		for sig := range s.arrived {
			s.mu.Lock()
			s.handle(sig)
			s.mu.Unlock()
		}
	}()
	return s
}

// turnOver has handle called from now on, with SIGQUIT too, and ignores what was
// ignored when the program started, so that a command inherits that. A signal that
// came before has ended the context already.
func (s *signals) turnOver(handle func(os.Signal)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = handle
	signal.Notify(s.arrived, syscall.SIGQUIT)
	if len(s.ignored) > 0 {
		signal.Ignore(s.ignored...)
	}
}

// forwarder passes signals on to a command that runs in the place of memlane.
type forwarder struct {
	mu      sync.Mutex
	process *os.Process // nil until it has started
	early   []os.Signal // that came before
}

// forward passes a signal on, unless the command has it from the terminal, which
// sends SIGINT and SIGQUIT to every process in the foreground.
func (f *forwarder) forward(sig os.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.process == nil:
		f.early = append(f.early, sig)
	case (sig == os.Interrupt || sig == syscall.SIGQUIT) && inForeground():
	default:
		f.process.Signal(sig) // which fails only if it has just ended
	}
}

// pending returns a signal that has come before the command; nil if none has.
func (f *forwarder) pending() os.Signal {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.early) == 0 {
		return nil
	}
	return f.early[0]
}

// started says to which process signals go. Those that came while it started go
// there in any case: twice is better than never.
func (f *forwarder) started(p *os.Process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.process = p
	for _, sig := range f.early {
		p.Signal(sig)
	}
}

// inForeground says whether this process is in the foreground process group of a
// terminal. What /proc does not tell is a no.
func inForeground() bool {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return false
	}
	// Behind the name in parentheses: state, parent, process group, session,
	// terminal, the terminal's foreground group; see proc_pid_stat(5).
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 6 {
		return false
	}
	group, err := strconv.Atoi(fields[2])
	return err == nil && group > 0 && fields[5] == fields[2]
}
