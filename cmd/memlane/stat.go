package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newStat() *cobra.Command {
	var s stat
	cmd := &cobra.Command{
		Use:   "stat [TOPIC…]",
		Short: "Show what publishers and subscribers of topics are doing",
		Long: `Stat shows of topics, or of all topics of the domain, what each publisher and each
subscription has done: messages, losses, how far behind it is, how often a
publisher had to wait. It looks at the memory that they use, which it can only
read; nobody waits for it.

LAG is how many messages a subscriber has before it; BEHIND how many slots, of which
a ring has SLOTS: one that is all of them behind loses messages, or is waited for.
A subscriber counts what it received only now and then while there is more.
Those that do not answer are stopped; what is shown of such a subscriber is what its
publisher knows. One that is refused wants messages of another schema or content type
than the publisher's: it gets none; the reason is beneath the table.

It ends with 3 if nobody takes part in a topic.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.watch.set && s.watch.limit <= 0 {
				return usagef("--watch %v: give a time such as 1s", s.watch.limit)
			}
			s.topics, s.out = args, cmd.OutOrStdout()
			s.clear = s.watch.set && !s.json && term.IsTerminal(int(os.Stdout.Fd()))
			return s.run(cmd.Context())
		},
	}
	s.domain.add(cmd)
	cmd.Flags().Var(&s.watch, "watch", "show it again after each such time, until Ctrl-C, with messages/s since the last time")
	cmd.Flags().BoolVar(&s.json, "json", false, "show it as JSON")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		topics, _ := s.domain.topics(s.domain.name)
		for _, t := range topics {
			names = append(names, t.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

type stat struct {
	domain domainFlags
	watch  patience
	json   bool
	clear  bool // the terminal, before each time
	topics []string
	out    io.Writer

	opened *memlane.Domain // nil until somebody is there
	before map[string]*inspect.Snapshot
}

func (s *stat) run(ctx context.Context) error {
	defer func() {
		if s.opened != nil {
			s.opened.Close()
		}
	}()
	for {
		snapshots, err := s.look()
		if err != nil {
			return err
		}
		if err := s.show(snapshots); err != nil || !s.watch.set {
			return err
		}
		s.before = map[string]*inspect.Snapshot{}
		for _, snap := range snapshots {
			s.before[snap.Topic] = snap
		}
		select {
		case <-time.After(s.watch.limit):
		case <-ctx.Done():
			return nil // how watching ends
		}
	}
}

// look looks at the topics. Only --watch may find nobody.
func (s *stat) look() ([]*inspect.Snapshot, error) {
	there, err := s.domain.topics(s.domain.name)
	if err != nil {
		return nil, err
	}
	names := s.topics
	if len(names) == 0 {
		for _, t := range there {
			names = append(names, t.Name)
		}
	}
	var snapshots []*inspect.Snapshot
	for _, name := range names {
		snap, err := s.lookAt(name, there)
		switch {
		case err == nil:
			snapshots = append(snapshots, snap)
		case errors.Is(err, fs.ErrNotExist) && (s.watch.set || len(s.topics) == 0): // gone meanwhile
		default:
			return nil, err
		}
	}
	return snapshots, nil
}

// lookAt looks at one topic. It opens the domain, which would make it, only if there is
// somebody in it.
func (s *stat) lookAt(name string, there []inspect.Topic) (*inspect.Snapshot, error) {
	alive := false
	for _, t := range there {
		alive = alive || t.Name == name && t.Publishers+t.Subscribers > 0
	}
	if !alive {
		return nil, fmt.Errorf("topic %q of domain %q: %w (see memlane ls)", name, s.domain.name, inspect.ErrNobody)
	}
	if s.opened == nil {
		var err error
		if s.opened, err = s.domain.open(); err != nil {
			return nil, err
		}
	}
	return inspect.Look(s.opened, name)
}

func (s *stat) show(snapshots []*inspect.Snapshot) error {
	list := []snapshotJSON{}
	for _, snap := range snapshots {
		list = append(list, snapshotToJSON(snap, s.before[snap.Topic]))
	}
	if s.json {
		return writeJSON(s.out, list)
	}
	if s.clear {
		fmt.Fprint(s.out, "\x1b[H\x1b[2J")
	}
	if s.watch.set {
		if _, err := fmt.Fprintf(s.out, "%s, domain %s\n", time.Now().Format(time.TimeOnly), printable(s.domain.name)); err != nil {
			return err
		}
	}
	for i := range list {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		if err := list[i].print(s.out, s.watch.set); err != nil {
			return err
		}
	}
	return nil
}
