package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

const (
	// askFor is how long sync lock is given to let go, unless --timeout says
	// otherwise. A process that runs answers at once.
	askFor = 2 * time.Second
	// askEvery is how often it is asked: a request that comes just after it has
	// locked the mutex can be taken for an older one.
	askEvery = 50 * time.Millisecond
)

func newSyncUnlock(c *segment.Config) *cobra.Command {
	timeout := patience{askFor, true}
	cmd := &cobra.Command{
		Use:   "unlock PATH:NAME",
		Short: "Make a mutex free: ask its holder, or clean up behind a dead one",
		Long: `Unlock makes a mutex free, if that can be done:

  held by "memlane sync lock" without a command   it is asked to let go
  held by a process that is gone                  it is taken over and unlocked
  unrecoverable                                   it is declared consistent again
  held by any other process                       an error; only that can unlock it

In the second and third case, put what the mutex guards in order first: whoever
locks it next is not told. It ends with 6 if a living process keeps the mutex, and
with 3 if there is none of that name.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeTargets(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(c, args[0])
			if err != nil {
				return err
			}
			s, info, err := t.find()
			if err != nil {
				return err
			}
			defer s.Close()
			if info.Mutex == nil {
				return wrongKind(t, info, "only a mutex can be unlocked; see memlane sync post")
			}
			mu, err := shmsync.NamedMutex(cmd.Context(), s, t.name)
			if err != nil {
				return err
			}
			ctx, cancel := timeout.context(cmd.Context())
			defer cancel()
			u := &unlocking{t, s, mu, cmd.OutOrStdout()}
			return u.run(ctx)
		},
	}
	cmd.Flags().Var(&timeout, "timeout", "give up after this time")
	return cmd
}

// unlocking is one run of sync unlock.
type unlocking struct {
	*target
	segment *segment.Segment
	mu      *shmsync.Mutex
	out     io.Writer
}

func (u *unlocking) say(format string, args ...any) error {
	_, err := fmt.Fprintf(u.out, "%v %s\n", u.target, fmt.Sprintf(format, args...))
	return err
}

func (u *unlocking) run(ctx context.Context) error {
	for {
		st, err := u.mu.Status()
		switch {
		case err != nil:
			return err
		case !st.Locked && !st.Unrecoverable:
			return u.say("is free: nobody holds it")
		case st.Unrecoverable:
			if err := u.mu.Recover(); errors.Is(err, fs.ErrInvalid) {
				continue // somebody else has just done it
			} else if err != nil {
				return err
			}
			if err := u.settle(); err != nil {
				return err
			}
			return u.say("was unrecoverable; it is taken to be in order, and free now")
		case st.Holder.Gone:
			return u.lock(ctx, fmt.Sprintf("was left by %v; it is free now", st.Holder))
		}
		return u.ask(ctx, st.Holder)
	}
}

// settle unlocks the mutex, which this process holds, as one that is in order.
func (u *unlocking) settle() error {
	if err := u.mu.Consistent(); err != nil {
		return err
	}
	return u.mu.Unlock()
}

// lock locks the mutex and unlocks it again, and says what it was like before.
func (u *unlocking) lock(ctx context.Context, before string) error {
	err := u.mu.Lock(ctx)
	switch {
	case err == nil: // somebody else has been here
	case errors.Is(err, shmsync.ErrOwnerDied):
	case errors.Is(err, shmsync.ErrBusy):
		return fmt.Errorf("%w: %s", err, whoHolds(u.mu))
	default:
		return err
	}
	if err := u.settle(); err != nil {
		return err
	}
	return u.say("%s", before)
}

// ask asks the holder to let go. That works if it is sync lock without a command,
// which alone waits for the event.
func (u *unlocking) ask(ctx context.Context, holder shmsync.Holder) error {
	info, err := shmsync.Lookup(u.segment, u.name+releaseSuffix)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.EventKind != shmsync.Automatic) {
		return u.refused(holder)
	}
	if err != nil {
		return err
	}
	release, err := shmsync.NamedEvent(ctx, u.segment, info.Name, info.EventKind)
	if err != nil {
		return err
	}
	for {
		if err := release.Set(); err != nil {
			return err
		}
		turn, cancel := context.WithTimeout(ctx, askEvery)
		err := u.mu.Lock(turn)
		cancel()
		switch {
		case err == nil, errors.Is(err, shmsync.ErrOwnerDied):
			// Nobody holds it who could be meant.
			if err := errors.Join(release.Reset(), u.settle()); err != nil {
				return err
			}
			return u.say("is free now: %s", farewell(holder, err))
		case turn.Err() == nil:
			return err
		}
		st, statusErr := u.mu.Status()
		switch {
		case statusErr != nil:
			return statusErr
		case st.Locked && (st.Holder.PID != holder.PID || st.Holder.Here != holder.Here):
			return u.say("was given away: %v has let go, %v holds it now", holder, st.Holder)
		case ctx.Err() == nil:
			continue
		}
		// Whoever holds it is not to be surprised later.
		if err := release.Reset(); err != nil {
			return err
		}
		if cause := context.Cause(ctx); !errors.Is(cause, shmsync.ErrBusy) {
			return cause
		}
		return u.refused(holder)
	}
}

// farewell says how the holder parted from the mutex.
func farewell(holder shmsync.Holder, err error) string {
	if err != nil {
		return holder.String() + " has died"
	}
	return holder.String() + " has let go"
}

func (u *unlocking) refused(holder shmsync.Holder) error {
	return fmt.Errorf("unlock %v: %w: %v holds it, and only it can unlock it (ask or end that process: it is not \"memlane sync lock\" without a command, or it does not run)", u.target, shmsync.ErrBusy, holder)
}
