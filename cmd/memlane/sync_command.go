package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// ownerDied is what a command finds in its environment that runs after the death of
// a holder, and after no other that has ended with 0 since.
const ownerDied = "MEMLANE_OWNER_DIED"

// commandStatus is the code that a command ended with, which memlane ends with too.
type commandStatus int

func (c commandStatus) Error() string { return fmt.Sprintf("the command ended with code %d", int(c)) }

// notStarted is why a command could not be run.
type notStarted struct{ err error }

func (n *notStarted) Error() string { return n.err.Error() + ": it was not run" }
func (n *notStarted) Unwrap() error { return n.err }

// code is what a shell ends with in the same case.
func (n *notStarted) code() int {
	if errors.Is(n.err, exec.ErrNotFound) || errors.Is(n.err, fs.ErrNotExist) {
		return 127
	}
	return 126
}

// runAlongside runs the command to its end, and passes signals on to it. The
// kernel kills the command if this process dies.
func runAlongside(ctx context.Context, command *exec.Cmd, died bool, signals *signals) error {
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = commandEnvironment(died)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The signal comes when the thread dies that has started the command, which
	// must therefore live as long as this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var f forwarder
	signals.turnOver(f.forward)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if sig, ok := f.pending().(syscall.Signal); ok {
		return interrupted{sig}
	}
	if err := command.Start(); err != nil {
		return &notStarted{err}
	}
	f.started(command.Process)
	err := command.Wait()
	if command.ProcessState == nil {
		return err
	}
	ws := command.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ws.Signaled():
		return commandStatus(128 + int(ws.Signal()))
	case ws.ExitStatus() != 0:
		return commandStatus(ws.ExitStatus())
	}
	return nil
}

// commandEnvironment is this process's, in which a memlane further out may have
// said something about its own mutex.
func commandEnvironment(died bool) []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, ownerDied+"=") {
			env = append(env, pair)
		}
	}
	if died {
		env = append(env, ownerDied+"=1")
	}
	return env
}
