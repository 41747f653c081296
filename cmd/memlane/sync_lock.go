package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

// releaseSuffix and the name of a mutex are the name of the event by which sync
// unlock asks sync lock to let go.
const releaseSuffix = ".unlock"

func newSyncLock(c *segment.Config, signals *signals) *cobra.Command {
	var l locking
	cmd := &cobra.Command{
		Use:   "lock PATH:NAME [-- COMMAND [ARGUMENT…]]",
		Short: "Run a command while holding a mutex, or hold it until told to let go",
		Long: `Lock waits for the mutex, runs the command, lets the mutex go, and ends with the
command's code: 128 and the signal's number if a signal ended it, 127 if there is
no such command, 126 if it could not be run. Segment and mutex are made if they
are missing, the segment with --size: give the size that the programs expect which
use it too. Do not remove the segment while somebody uses it, or the next one makes
another. Of signals, SIGTERM, SIGHUP, SIGINT and SIGQUIT are passed on to the
command.

If memlane is killed, the command is killed with it, and the mutex goes to the
next. This reaches the command itself and not what it has started; and it does not
reach a command that gains privileges, such as sudo: put sudo before memlane.

If the last holder died while it held the mutex, lock says so, and the command
finds MEMLANE_OWNER_DIED=1 in its environment: what the mutex guards may be half
changed. This stays so until a command ends with 0: that one has put it in order.
After any other, the next one is told again.

Without a command, lock holds the mutex until Ctrl-C or SIGTERM, or until
"memlane sync unlock" asks for it, and ends with 0. It is asked by the event
NAME` + releaseSuffix + ` in the same segment, which is a second of the segment's 62 names, and
like all names is never removed; if none is free, it cannot be asked. That a holder
died is told again after Ctrl-C, and not after sync unlock.

With --nonblock, or after --timeout, it ends with 6 if somebody else holds the
mutex.`,
		Args:              commandArguments("lock", false),
		ValidArgsFunction: completeTargets(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if l.target, err = parseTarget(c, args[0]); err != nil {
				return err
			}
			l.stderr = cmd.ErrOrStderr()
			if len(args) == 1 {
				return l.hold(cmd.Context())
			}
			return l.run(cmd.Context(), args[1:], signals)
		},
	}
	l.attempt.flags(cmd)
	l.newcomer.flag(cmd)
	return cmd
}

// commandArguments checks PATH:NAME -- COMMAND, in words for who wants to do
// something; needed says that there must be a command.
func commandArguments(do string, needed bool) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch dash := cmd.ArgsLenAtDash(); {
		case len(args) == 0 || dash == 0:
			return fmt.Errorf("name what to %s: PATH:NAME", do)
		case dash < 0 && len(args) > 1, dash > 1:
			return fmt.Errorf("unexpected %q: put -- before the command, behind PATH:NAME", args[1])
		case dash == len(args):
			return errors.New("there is no command behind --")
		case needed && dash < 0:
			return errors.New("give the command to run, behind --")
		}
		return nil
	}
}

// locking is one run of sync lock.
type locking struct {
	*target
	attempt
	newcomer
}

// lock locks the mutex, and says whether its last holder died with it.
func (l *locking) lock(ctx context.Context, s *segment.Segment) (mu *shmsync.Mutex, died bool, err error) {
	ctx, cancel := l.timeout.context(ctx)
	defer cancel()
	if mu, err = shmsync.NamedMutex(ctx, s, l.name); err != nil {
		return nil, false, err
	}
	err = l.try(ctx, mu.TryLock, mu.Lock)
	switch {
	case errors.Is(err, shmsync.ErrOwnerDied):
		fmt.Fprintf(l.stderr, "memlane: %v: a process died while it held this: what it guards may be half changed\n", l.target)
		return mu, true, nil
	case errors.Is(err, shmsync.ErrUnrecoverable):
		err = fmt.Errorf("%w (put that in order, then run \"memlane sync unlock %v\")", err, l.target)
	case errors.Is(err, shmsync.ErrBusy):
		err = fmt.Errorf("%w: %s", err, whoHolds(mu))
	}
	return mu, false, err
}

// whoHolds says who holds a mutex that could not be had.
func whoHolds(mu *shmsync.Mutex) string {
	st, err := mu.Status()
	if err != nil || !st.Locked {
		return "others were faster"
	}
	return st.Holder.String() + " holds it"
}

// run runs the command while holding the mutex.
func (l *locking) run(ctx context.Context, args []string, signals *signals) error {
	command := exec.Command(args[0], args[1:]...)
	if command.Err != nil {
		return &notStarted{command.Err}
	}
	s, err := l.openOrMake(&l.newcomer)
	if err != nil {
		return err
	}
	defer s.Close()
	mu, died, err := l.lock(ctx, s)
	if err != nil {
		return err
	}
	err = runAlongside(ctx, command, died, signals)
	if died && err != nil {
		l.leaveAsDied()
		return err
	}
	return also(l.stderr, err, l.letGo(mu, died))
}

// leaveAsDied says what becomes of a mutex of which nobody has put in order what it
// guards. It is not unlocked, or it would be unrecoverable, and only an operator
// could go on: this process ends with it, as its last holder has, and so whoever
// locks it next is told the same.
func (l *locking) leaveAsDied() {
	fmt.Fprintf(l.stderr, "memlane: %v: not put in order: whoever locks it next is told the same\n", l.target)
}

// also returns err, which the user is to see; beside it, a second one is said on
// standard error.
func also(stderr io.Writer, err, second error) error {
	if err == nil {
		return second
	}
	if second != nil {
		fmt.Fprintln(stderr, "memlane:", message(second))
	}
	return err
}

// letGo unlocks the mutex, of which what it guards is in order.
func (l *locking) letGo(mu *shmsync.Mutex, died bool) error {
	if died {
		if err := mu.Consistent(); err != nil {
			return err
		}
	}
	return mu.Unlock()
}

// hold holds the mutex until ctx ends, or somebody asks for it.
func (l *locking) hold(ctx context.Context) error {
	if n := len(l.name + releaseSuffix); n > shmsync.MaxNameBytes {
		return usagef("the name %s is too long to be held without a command: with %s for the event by which it is asked to let go it has %d bytes, and can have %d", l.name, releaseSuffix, n, shmsync.MaxNameBytes)
	}
	s, err := l.openOrMake(&l.newcomer)
	if err != nil {
		return err
	}
	defer s.Close()
	// Before the mutex is locked, so that who finds it locked finds the event. The
	// last free name is the mutex's own.
	if _, err := shmsync.NamedMutex(ctx, s, l.name); err != nil {
		return err
	}
	release, err := shmsync.NamedEvent(ctx, s, l.name+releaseSuffix, shmsync.Automatic)
	if errors.Is(err, shmsync.ErrFull) {
		return l.holdUnasked(ctx, s)
	}
	if err != nil {
		return err
	}
	mu, died, err := l.lock(ctx, s)
	if err != nil {
		return err
	}
	// Whoever was asked before, it was not this process.
	if err := release.Reset(); err != nil {
		return err
	}
	fmt.Fprintf(l.stderr, "%v is locked by process %d; Ctrl-C or \"memlane sync unlock %v\" ends\n", l.target, os.Getpid(), l.target)
	err = release.Wait(ctx)
	if ctx.Err() != nil {
		return l.letGoUnasked(mu, died)
	}
	if err == nil {
		fmt.Fprintf(l.stderr, "%v: asked to let go\n", l.target)
	}
	return errors.Join(err, l.letGo(mu, died))
}

// holdUnasked holds the mutex until ctx ends, in a segment that has no name left for
// the event by which it could be asked to let go.
func (l *locking) holdUnasked(ctx context.Context, s *segment.Segment) error {
	mu, died, err := l.lock(ctx, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.stderr, "%v is locked by process %d; Ctrl-C ends, \"memlane sync unlock\" cannot: no name is free for %s\n", l.target, os.Getpid(), printable(l.name+releaseSuffix))
	<-ctx.Done()
	return l.letGoUnasked(mu, died)
}

// letGoUnasked is how holding ends by a signal. If a holder has died before, nobody
// has said that what the mutex guards is in order.
func (l *locking) letGoUnasked(mu *shmsync.Mutex, died bool) error {
	if died {
		l.leaveAsDied()
		return nil
	}
	return mu.Unlock()
}
