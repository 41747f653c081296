package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/spf13/cobra"
)

// lagJSON is how lag -o json shows a subscriber of a publisher.
type lagJSON struct {
	Topic     string  `json:"topic"`
	ID        string  `json:"id"`        // of the subscriber, in hexadecimal
	Publisher string  `json:"publisher"` // of which it is one
	PID       int     `json:"pid"`       // 0: not known here
	Program   string  `json:"program"`   // "": unknown
	State     string  `json:"state"`
	Lag       uint64  `json:"lag"`          // messages before it
	Behind    uint64  `json:"slots_behind"` // of slots
	Slots     int     `json:"slots"`
	Lost      uint64  `json:"lost"`          // messages, as far as it has found out
	Dropped   uint64  `json:"slots_dropped"` // that it has not found out
	Holds     int     `json:"holds"`
	Slow      float64 `json:"slow_seconds"` // 0: it is not
	WaitedFor bool    `json:"waited_for"`   // by the publisher, which can publish nothing until it goes on
	Peeks     bool    `json:"peeks"`
}

func newLag() *cobra.Command {
	l := lag{output: "table"}
	cmd := &cobra.Command{
		Use:   "lag [TOPIC…]",
		Short: "Show which subscribers are slow, and since when",
		Long: `Lag shows the subscribers of topics, or of all topics of the domain, the slowest first:
those that a publisher waits for, then by how much of the ring is before them.

LAG is how many messages a subscriber has before it; BEHIND how much of the publisher's
ring: at 100 % it loses messages, or is waited for. LOST is what it has found lost, which it
does when it next receives: one that "loses messages" has more. SLOW SINCE is from when on it had half
of the ring before it or more, or something, and did not move, whenever its publisher
looked, which does so every few seconds. STATE is that of the process: one that
is stopped goes on with "kill -CONT"; one that is waited for holds up its publisher.

Those that have received all there is, are not slow and have lost nothing are left out
without --all.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if l.watch.set && l.watch.limit <= 0 {
				return usagef("--watch %v: give a time such as 1s", l.watch.limit)
			}
			l.looker = l.domain.looker(args, l.watch.set)
			l.out, l.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return l.run(cmd.Context())
		},
	}
	l.domain.add(cmd)
	l.output.add(cmd)
	cmd.Flags().Var(&l.watch, "watch", "show it again after each such time, until Ctrl-C")
	cmd.Flags().BoolVar(&l.all, "all", false, "show those too that are not slow")
	cmd.ValidArgsFunction = l.domain.completeTopics
	return cmd
}

type lag struct {
	domain domainFlags
	output format
	watch  patience
	all    bool
	looker *live.Looker
	out    io.Writer
	stderr io.Writer
}

func (l *lag) run(ctx context.Context) error {
	defer l.looker.Close()
	for {
		snapshots, err := l.looker.Look()
		if err != nil {
			return err
		}
		there, err := l.domain.participants(l.domain.name)
		if err != nil {
			return err
		}
		list := live.Lags(snapshots, there)
		if !l.all {
			list = slices.DeleteFunc(list, func(one live.Lag) bool { return one.Lag == 0 && one.Lost == 0 && one.Dropped == 0 && one.Slow == 0 })
		}
		if l.output.json() {
			all := []lagJSON{}
			for _, one := range list {
				all = append(all, lagJSON{one.Topic, hex(one.ID), hex(one.Publisher), one.PID, one.Program, one.State, one.Lag, one.Behind,
					one.Slots, one.Lost, one.Dropped, one.Holds, one.Slow.Seconds(), one.WaitedFor, one.Peeks})
			}
			err = l.output.write(l.out, all, l.watch.set)
		} else {
			err = l.show(list)
		}
		if err != nil || !l.watch.set {
			return err
		}
		select {
		case <-time.After(l.watch.limit):
		case <-ctx.Done():
			return nil // how watching ends
		}
	}
}

func (l *lag) show(list []live.Lag) error {
	w := tabwriter.NewWriter(l.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tPROCESS\tPROGRAM\tSTATE\tLAG\tBEHIND\tLOST\tHOLDS\tSLOW SINCE\tNOTE")
	for _, one := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%.0f%%\t%d\t%d\t%s\t%s\n", printable(one.Topic), process(one.PID), dashed(printable(base(one.Program))),
			one.State, one.Lag, 100*one.Part(), one.Lost, one.Holds, slowSince(&one, time.Now()), dashed(one.Note()))
	}
	if err := w.Flush(); err != nil || len(list) > 0 {
		return err
	}
	fmt.Fprintln(l.stderr, "memlane: no subscriber is behind, or has lost anything")
	return nil
}

// slowSince says from when on it has been slow.
func slowSince(one *live.Lag, now time.Time) string {
	if one.Slow == 0 {
		return "-"
	}
	slow := one.Slow.Round(time.Second)
	layout := time.TimeOnly
	if slow > 12*time.Hour {
		layout = time.DateTime
	}
	return fmt.Sprintf("%s (%v)", now.Add(-slow).Format(layout), slow)
}
