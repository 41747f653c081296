package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

func newSyncAcquire(c *segment.Config, signals *signals) *cobra.Command {
	var a acquiring
	cmd := &cobra.Command{
		Use:   "acquire PATH:NAME [--permits N] -- COMMAND [ARGUMENT…]",
		Short: "Run a command while holding a permit of a semaphore",
		Long: `Acquire takes a permit of the semaphore, runs the command, returns the permit, and
ends with the command's code, as "memlane sync lock" does with a mutex. So as many
commands run at a time as there are permits:

  memlane sync acquire jobs:slots --permits 4 -- ./job.sh

With --permits a semaphore that is missing is made with so many permits, its segment
too, with --size; one that is there is used with those that it has. Without, it must be
there.

If memlane is killed, the command is killed with it, and the permit is free again.
With --nonblock, or after --timeout, it ends with 6 if no permit is free.`,
		Args:              commandArguments("acquire", true),
		ValidArgsFunction: completeTargets(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if a.target, err = parseTarget(c, args[0]); err != nil {
				return err
			}
			if a.create = cmd.Flags().Changed("permits"); !a.create && cmd.Flags().Changed("size") {
				return usagef("--size is of a segment that is made: give --permits too")
			}
			if a.create && (a.permits < 1 || a.permits > shmsync.MaxPermits) {
				return usagef("--permits %d: give 1 to %d", a.permits, shmsync.MaxPermits)
			}
			a.stderr = cmd.ErrOrStderr()
			return a.run(cmd.Context(), args[1:], signals)
		},
	}
	a.attempt.flags(cmd)
	a.newcomer.flag(cmd)
	cmd.Flags().IntVarP(&a.permits, "permits", "p", 0, "if there is no semaphore of that name, make it with so many permits")
	return cmd
}

// acquiring is one run of sync acquire.
type acquiring struct {
	*target
	attempt
	newcomer
	create  bool // the semaphore, with permits
	permits int
}

// open opens the segment, and finds or makes the semaphore.
func (a *acquiring) open(ctx context.Context) (*segment.Segment, *shmsync.Semaphore, error) {
	var s *segment.Segment
	var info shmsync.Info
	var err error
	if a.create {
		s, err = a.openOrMake(&a.newcomer)
	} else if s, info, err = a.find(); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w (make it with --permits N)", err)
	}
	if err != nil {
		return nil, nil, err
	}
	semaphore, err := shmsync.NamedSemaphore(ctx, s, a.name, a.permits)
	if errors.Is(err, shmsync.ErrKind) && info.Name == "" {
		info, _ = shmsync.Lookup(s, a.name)
	}
	if errors.Is(err, shmsync.ErrKind) {
		err = wrongKind(a.target, info, "only of a semaphore a permit can be acquired; a mutex is for sync lock")
	}
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, semaphore, nil
}

// acquire finds the semaphore and takes a permit; if there is none, the error says
// who has them.
func (a *acquiring) acquire(ctx context.Context) (*segment.Segment, *shmsync.Semaphore, error) {
	ctx, cancel := a.timeout.context(ctx)
	defer cancel()
	s, semaphore, err := a.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = a.try(ctx, semaphore.TryAcquire, semaphore.Acquire)
	if errors.Is(err, shmsync.ErrBusy) {
		err = fmt.Errorf("%w: %s", err, whoHoldsPermits(semaphore))
	}
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, semaphore, nil
}

// run runs the command while holding a permit.
func (a *acquiring) run(ctx context.Context, args []string, signals *signals) error {
	command := exec.Command(args[0], args[1:]...)
	if command.Err != nil {
		return &notStarted{command.Err}
	}
	s, semaphore, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	err = runAlongside(ctx, command, false, signals)
	return also(a.stderr, err, semaphore.Release())
}

// whoHoldsPermits says who holds the permits of a semaphore that has none.
func whoHoldsPermits(semaphore *shmsync.Semaphore) string {
	st, err := semaphore.Status()
	if err != nil || len(st.Holders) == 0 {
		return "there is no permit, and nobody holds one"
	}
	var holders []string
	for _, h := range st.Holders {
		holders = append(holders, fmt.Sprintf("%d by %v", h.Permits, h))
	}
	return "held are " + strings.Join(holders, "; ")
}
