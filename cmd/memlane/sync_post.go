package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

// eventKind is the flag --event; 0 if it was not given.
type eventKind shmsync.EventKind

func (k *eventKind) Type() string { return "manual|automatic" }
func (k *eventKind) String() string {
	if *k == 0 {
		return ""
	}
	return shmsync.EventKind(*k).String()
}

func (k *eventKind) Set(text string) error {
	for _, kind := range []shmsync.EventKind{shmsync.Manual, shmsync.Automatic} {
		if text == kind.String() {
			*k = eventKind(kind)
			return nil
		}
	}
	return errors.New("give manual, which stays set, or automatic, which the first who waits takes")
}

func newSyncPost(c *segment.Config) *cobra.Command {
	var permits int
	var kind eventKind
	var made newcomer
	cmd := &cobra.Command{
		Use:   "post PATH:NAME [--permits N | --event manual|automatic]",
		Short: "Add permits to a semaphore, or set an event",
		Long: `Post adds permits to a semaphore, or sets an event, and so lets those go on who
wait. If there is nothing of that name it makes a semaphore, or with --event an
event of that kind; the segment too if need be.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFirst(completeTargets(c)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(c, args[0])
			if err != nil {
				return err
			}
			if permits < 1 || permits > shmsync.MaxPermits {
				return usagef("--permits %d: give a number from 1 to %d", permits, shmsync.MaxPermits)
			}
			counted := cmd.Flags().Changed("permits")
			made.stderr = cmd.ErrOrStderr()
			return post(cmd.Context(), t, &made, permits, counted, shmsync.EventKind(kind))
		},
	}
	cmd.Flags().IntVarP(&permits, "permits", "p", 1, "how many permits, of a semaphore")
	made.flag(cmd)
	cmd.Flags().Var(&kind, "event", "set an event of this kind; make it if there is none")
	cmd.MarkFlagsMutuallyExclusive("permits", "event")
	cmd.RegisterFlagCompletionFunc("event", cobra.FixedCompletions([]string{"manual", "automatic"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// post adds permits or sets the event. counted says that permits were asked for,
// so that it has to be a semaphore; kind is 0 if no event was.
func post(ctx context.Context, t *target, made *newcomer, permits int, counted bool, kind shmsync.EventKind) error {
	s, err := t.openOrMake(made)
	if err != nil {
		return err
	}
	defer s.Close()
	info, err := shmsync.Lookup(s, t.name)
	switch {
	case err == nil && info.Mutex != nil:
		return wrongKind(t, info, "it is for sync lock and sync unlock")
	case err == nil && kind == 0 && info.Event != nil:
		if counted {
			return wrongKind(t, info, "leave out --permits: an event is set or not")
		}
		kind = info.EventKind
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if kind != 0 {
		event, err := shmsync.NamedEvent(ctx, s, t.name, kind)
		if err != nil {
			return err
		}
		return event.Set()
	}
	semaphore, err := shmsync.NamedSemaphore(ctx, s, t.name, 0)
	if err != nil {
		return err
	}
	return semaphore.Post(permits)
}

func newSyncWait(c *segment.Config) *cobra.Command {
	var a attempt
	var create bool
	var made newcomer
	cmd := &cobra.Command{
		Use:   "wait PATH:NAME",
		Short: "Take a permit of a semaphore, or wait for an event",
		Long: `Wait takes one permit of a semaphore for good, as sem_wait does, or waits until an
event is set; an automatic event it takes. It waits until that is possible, and
ends with 6 if it is not within --timeout, or with --nonblock at once.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFirst(completeTargets(c)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(c, args[0])
			if err != nil {
				return err
			}
			ctx, cancel := a.timeout.context(cmd.Context())
			defer cancel()
			if create {
				made.stderr = cmd.ErrOrStderr()
				if err := createSemaphore(ctx, t, &made); err != nil {
					return err
				}
			} else if cmd.Flags().Changed("size") {
				return usagef("--size is of a segment that is made: give --create too")
			}
			return waitFor(ctx, t, &a)
		},
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&create, "create", false, "if there is nothing of that name, make a semaphore without permits, and the segment too")
	made.flag(cmd)
	return cmd
}

// waitFor waits for the semaphore or event.
func waitFor(ctx context.Context, t *target, a *attempt) error {
	s, info, err := t.find()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (run \"memlane sync post\" first, or add --create)", err)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case info.Mutex != nil:
		return wrongKind(t, info, "it is for sync lock and sync unlock")
	case info.Semaphore != nil:
		semaphore, err := shmsync.NamedSemaphore(ctx, s, t.name, 0)
		if err != nil {
			return err
		}
		return a.try(ctx, semaphore.TryWait, semaphore.Wait)
	}
	event, err := shmsync.NamedEvent(ctx, s, t.name, info.EventKind)
	if err != nil {
		return err
	}
	return a.try(ctx, func() error { return tryWait(t, event) }, event.Wait)
}

// tryWait takes the event if it is set.
func tryWait(t *target, event *shmsync.Event) error {
	set, err := event.TryWait()
	if err == nil && !set {
		err = fmt.Errorf("wait for %v: %w", t, errNotSet)
	}
	return err
}

// errNotSet counts as one that somebody else has.
var errNotSet = notSet{}

type notSet struct{}

func (notSet) Error() string        { return "it is not set" }
func (notSet) Is(target error) bool { return target == shmsync.ErrBusy }

// createSemaphore makes a semaphore if there is nothing of the name.
func createSemaphore(ctx context.Context, t *target, made *newcomer) error {
	s, err := t.openOrMake(made)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err = shmsync.Lookup(s, t.name); errors.Is(err, fs.ErrNotExist) {
		_, err = shmsync.NamedSemaphore(ctx, s, t.name, 0)
	}
	return err
}
