package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/memlane/memlane/inspect"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newStat() *cobra.Command {
	s := stat{output: "table"}
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
			s.looker = s.domain.looker(args, s.watch.set)
			s.out = cmd.OutOrStdout()
			s.clear = s.watch.set && !s.output.json() && term.IsTerminal(int(os.Stdout.Fd()))
			return s.run(cmd.Context())
		},
	}
	s.domain.add(cmd)
	cmd.Flags().Var(&s.watch, "watch", "show it again after each such time, until Ctrl-C, with messages/s since the last time")
	s.output.add(cmd)
	cmd.ValidArgsFunction = s.domain.completeTopics
	return cmd
}

type stat struct {
	domain domainFlags
	watch  patience
	output format
	clear  bool // the terminal, before each time
	out    io.Writer
	looker *live.Looker
	before map[string]*inspect.Snapshot
}

func (s *stat) run(ctx context.Context) error {
	defer s.looker.Close()
	for {
		snapshots, err := s.looker.Look()
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

func (s *stat) show(snapshots []*inspect.Snapshot) error {
	list := []snapshotJSON{}
	for _, snap := range snapshots {
		list = append(list, snapshotToJSON(snap, s.before[snap.Topic]))
	}
	if s.output.json() {
		return s.output.write(s.out, list, s.watch.set)
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
