package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

func newSyncList(c *segment.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls PATH",
		Aliases: []string{"list"},
		Short:   "List the mutexes, semaphores and events of a segment",
		Long: `Ls shows every name of a segment, what it is, and its state at that moment: who
holds a mutex, how many permits of a semaphore are free and who holds others,
whether an event is set and how often it was.

WAITERS says that somebody waits, and can say so for a while after the last has
gone. A process of another PID namespace is shown with the number that it has
there. Looking at a segment that nobody synchronises with changes nothing in it.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFirst(completeSegments(c)),
	}
	o := format("table")
	o.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := setPath(c, args[0])
		if err != nil {
			return err
		}
		s, err := segment.Attach(name, c)
		if err != nil {
			return explainAttach(err)
		}
		defer s.Close()
		infos, err := names(s)
		if err != nil && len(infos) == 0 {
			return err // no table looks as if there were no names
		}
		if o.json() {
			return errors.Join(err, writeJSON(cmd.OutOrStdout(), infos))
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tKIND\tSTATE\tHELD BY\tWAITERS")
		for _, p := range infos {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(p.Name), p.Kind, p.state(), p.heldBy(), yesNo(p.Waiters))
		}
		return errors.Join(err, w.Flush())
	}
	return cmd
}

// completeFirst completes the first argument alone.
func completeFirst(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, begun)
	}
}

// names returns what has a name in the segment; with an error, what could be
// read of it.
func names(s *segment.Segment) ([]primitiveJSON, error) {
	list := []primitiveJSON{}
	if used, err := used(s); !used || err != nil {
		return list, err
	}
	var errs []error
	for info, err := range shmsync.Names(s) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, primitiveToJSON(info))
	}
	return list, errors.Join(errs...)
}

// primitiveJSON is how -o json shows a primitive. Of the last three the one is
// there that Kind says.
type primitiveJSON struct {
	Name      string         `json:"name"`
	Kind      string         `json:"kind"` // "mutex", "semaphore", "manual event" or "automatic event"
	Waiters   bool           `json:"waiters"`
	Mutex     *mutexJSON     `json:"mutex,omitempty"`
	Semaphore *semaphoreJSON `json:"semaphore,omitempty"`
	Event     *eventJSON     `json:"event,omitempty"`
}

type mutexJSON struct {
	Locked        bool        `json:"locked"`
	Holder        *holderJSON `json:"holder,omitempty"`
	Inconsistent  bool        `json:"inconsistent"`
	Unrecoverable bool        `json:"unrecoverable"`
}

type semaphoreJSON struct {
	Permits int          `json:"permits"` // free ones
	Holders []holderJSON `json:"holders"`
}

type eventJSON struct {
	Set   bool   `json:"set"`
	Count uint32 `json:"count"` // how often it was set
}

type holderJSON struct {
	PID     int  `json:"pid"`                // as its own PID namespace has it
	Here    bool `json:"same_pid_namespace"` // as this process
	Gone    bool `json:"gone"`
	Stopped bool `json:"stopped"`
	Permits int  `json:"permits,omitempty"` // of a semaphore

	text string
}

func holderToJSON(h shmsync.Holder) holderJSON {
	return holderJSON{PID: h.PID, Here: h.Here, Gone: h.Gone, Stopped: h.Stopped, Permits: h.Permits, text: h.String()}
}

func primitiveToJSON(info shmsync.Info) primitiveJSON {
	p := primitiveJSON{Name: info.Name, Kind: kindOf(info)}
	switch {
	case info.Mutex != nil:
		m := info.Mutex
		p.Waiters = m.Waiters
		p.Mutex = &mutexJSON{Locked: m.Locked, Inconsistent: m.Inconsistent, Unrecoverable: m.Unrecoverable}
		if m.Locked {
			h := holderToJSON(m.Holder)
			p.Mutex.Holder = &h
		}
	case info.Semaphore != nil:
		p.Waiters = info.Semaphore.Waiters
		p.Semaphore = &semaphoreJSON{Permits: info.Semaphore.Permits, Holders: []holderJSON{}}
		for _, h := range info.Semaphore.Holders {
			p.Semaphore.Holders = append(p.Semaphore.Holders, holderToJSON(h))
		}
	case info.Event != nil:
		p.Waiters = info.Event.Waiters
		p.Event = &eventJSON{Set: info.Event.Set, Count: info.Event.Count}
	}
	return p
}

// state is the state in words.
func (p *primitiveJSON) state() string {
	switch {
	case p.Mutex != nil:
		return p.Mutex.state()
	case p.Semaphore != nil:
		return fmt.Sprintf("%s free", humanize.Comma(int64(p.Semaphore.Permits)))
	}
	set := "not set"
	if p.Event.Set {
		set = "set"
	}
	return fmt.Sprintf("%s, count %d", set, p.Event.Count)
}

func (m *mutexJSON) state() string {
	switch {
	case m.Unrecoverable:
		return "unrecoverable"
	case !m.Locked:
		return "free"
	case m.Holder.Gone:
		return "left by the dead"
	case m.Inconsistent:
		return "locked, inconsistent"
	}
	return "locked"
}

// heldBy says who holds it.
func (p *primitiveJSON) heldBy() string {
	var holders []string
	if p.Mutex != nil && p.Mutex.Holder != nil {
		holders = append(holders, p.Mutex.Holder.text)
	}
	if p.Semaphore != nil {
		for _, h := range p.Semaphore.Holders {
			holders = append(holders, fmt.Sprintf("%d by %s", h.Permits, h.text))
		}
	}
	return cmp.Or(strings.Join(holders, "; "), "-")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
