package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/memlane/memlane/pubsub"
	"github.com/spf13/cobra"
)

// logs is memlane logs.
type logs struct {
	sub
	output  logFormat
	level   levelFlag
	since   sinceFlag
	matches matchFlag
	follow  bool
}

func newLogs() *cobra.Command {
	l := logs{output: "text", follow: true}
	l.config.History = pubsub.AllHistory
	cmd := &cobra.Command{
		Use:   "logs [TOPIC]",
		Short: "Print the records that programs log to a topic",
		Long: `Logs prints the records that the programs of the domain log to a topic, "logs" unless
another one is named, each as a line that says which program and process it is of. They
are those of Go's log/slog, by package logtopic, and of whoever else publishes JSON objects
that have "time", "level", "program", "pid" and "msg": see spec/logs.md.

First come those that are still in memory, of all processes that are there, by their time;
then those that are logged from then on, until Ctrl-C, or until --count or --timeout.
With --follow=false it ends after the first.

What was lost is said on standard error, by process: "lost" are records that this command
was too slow for, "dropped" those that the process could not publish.

With -o json each line is a record as it was published.

--level, --since and --match leave out records; one that has no level, or no time, is not
left out for that. --match KEY=VALUE keeps those that have the attribute, with this
text; what is in groups is called as it is printed: --match http.status=500.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.limited = cmd.Flags().Changed("count")
			if l.limited && l.count < 1 {
				return usagef("--count %d: give a number of records from 1 on", l.count)
			}
			name := "logs"
			if len(args) > 0 {
				name = args[0]
			}
			l.untilIdle = !l.follow
			l.begin(cmd)
			return l.run(cmd.Context(), name)
		},
	}
	l.domain.add(cmd)
	cmd.Flags().VarP(&l.output, "output", "o", "how to show records")
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().Var(&l.level, "level", "only records of this level or above: debug, info, warn, error, or such as warn+1")
	cmd.Flags().Var(&l.since, "since", "only records that are not older than this, such as 5m, or than a time in RFC 3339")
	cmd.Flags().Var(&l.matches, "match", "only records with this attribute; may be repeated: all of them")
	cmd.Flags().BoolVar(&l.follow, "follow", l.follow, "go on with what is logged from now on")
	cmd.Flags().Var((*historyFlag)(&l.config.History), "history", "print so many earlier records first, of each process that still has them")
	cmd.Flags().BoolVar(&l.config.Peek, "peek", false, "no publisher is to wait for this; those of package logtopic never do")
	cmd.Flags().IntVar(&l.count, "count", 0, "end after so many records")
	cmd.Flags().Var(&l.timeout, "timeout", "end when no record has come for so long; with --count that is code 6")
	cmd.ValidArgsFunction = completeFirst(l.domain.completeTopics)
	return cmd
}

func (l *logs) run(ctx context.Context, name string) error {
	return l.sub.run(ctx, []string{name}, func(t *topic) printer {
		return &records{topic: t, logs: l, text: recordText{matches: l.matches}, processes: map[uint64]*logging{}}
	})
}

// records prints the records of a topic.
type records struct {
	*topic
	logs      *logs
	text      recordText
	processes map[uint64]*logging // by the publisher
	unnamed   []*pubsub.LaggedError

	begun bool          // all that was there is printed
	early []earlyRecord // that was there, and is not printed yet
	bytes int           // of those
}

// logging is a process that logs.
type logging struct {
	name    string
	dropped uint64    // as it has said
	latest  time.Time // of its records
}

// earlyRecord is the line of a record, to be printed in the order of time.
type earlyRecord struct {
	time time.Time
	line []byte
}

const (
	// earlyMost is how many bytes of records are brought in order at first, and what each
	// takes besides its line.
	earlyMost = 64 << 20
	earlyEach = 64
	// processesMost is of how many processes it is remembered what they have dropped: if
	// there were more, it may be told again.
	processesMost = 1 << 14
	// unnamedMost is how many losses wait for a record that says of whom they are.
	unnamedMost = 1024
)

func (r *records) print(m pubsub.Message) error {
	if err := r.text.read(m.Data); err != nil {
		r.say("message %d of publisher %016x of %q is no record: %v", m.Sequence, m.Publisher, r.name, err)
		return nil
	}
	p := r.account(m.Publisher)
	if !r.wanted() {
		return nil
	}
	line := r.text.line
	if r.logs.output == "json" {
		line = m.Data
	}
	if r.begun {
		return r.put(line)
	}
	// Those of a process stay in order, whatever its clock does.
	if at, _ := r.text.time(); at.After(p.latest) {
		p.latest = at
	}
	r.early = append(r.early, earlyRecord{p.latest, bytes.Clone(line)})
	if r.bytes += len(line) + earlyEach; r.bytes > earlyMost {
		return r.begin()
	}
	return nil
}

// begin prints what was there at first.
func (r *records) begin() error {
	r.begun = true
	slices.SortStableFunc(r.early, func(a, b earlyRecord) int { return a.time.Compare(b.time) })
	for _, e := range r.early {
		if err := r.put(e.line); err != nil {
			return err
		}
	}
	r.early = nil
	return nil
}

func (r *records) idle() error {
	r.tellUnnamed()
	if !r.begun {
		return r.begin()
	}
	return nil
}

// lost tells what was lost, by the name of the process: if that is not known yet, its next
// record says it.
func (r *records) lost(e *pubsub.LaggedError) {
	if p, ok := r.processes[e.Publisher]; ok {
		r.tellLost(p.name, e.Lost)
		return
	}
	r.unnamed = append(r.unnamed, e)
	if len(r.unnamed) == unnamedMost { // of who publishes no records at all
		r.tellUnnamed()
	}
}

func (r *records) tellUnnamed() {
	for _, e := range r.unnamed {
		r.tellLost(fmt.Sprintf("publisher %016x", e.Publisher), e.Lost)
	}
	r.unnamed = nil
}

func (r *records) tellLost(whose string, n uint64) {
	r.say("lost %d records of %s: too slow", n, whose)
}

// account tells what the record that was read says of those before it, and returns whose it is.
func (r *records) account(publisher uint64) *logging {
	p, ok := r.processes[publisher]
	if !ok {
		if len(r.processes) == processesMost {
			clear(r.processes)
		}
		p = &logging{name: r.text.process(publisher)}
		r.processes[publisher] = p
		r.unnamed = slices.DeleteFunc(r.unnamed, func(e *pubsub.LaggedError) bool {
			if e.Publisher != publisher {
				return false
			}
			r.tellLost(p.name, e.Lost)
			return true
		})
	}
	if n := r.text.dropped; n > p.dropped {
		r.say("%s dropped %d records, which it could not publish", p.name, n-p.dropped)
		p.dropped = n
	}
	return p
}

// wanted says whether the record that was read is to be printed.
func (r *records) wanted() bool {
	l := r.logs
	if level, ok := r.text.level(); l.level.set && ok && level < l.level.least {
		return false
	}
	if !l.since.at.IsZero() {
		if at, ok := r.text.time(); ok && at.Before(l.since.at) {
			return false
		}
	}
	return r.text.matched()
}

// logFormat is -o of logs.
type logFormat string

func (f *logFormat) String() string { return string(*f) }
func (f *logFormat) Type() string   { return "text|json" }
func (f *logFormat) Set(text string) error {
	if text != "text" && text != "json" {
		return errors.New("give text or json")
	}
	*f = logFormat(text)
	return nil
}

// levelFlag is --level.
type levelFlag struct {
	least slog.Level
	set   bool
}

func (f *levelFlag) Type() string { return "level" }
func (f *levelFlag) String() string {
	if !f.set {
		return ""
	}
	return f.least.String()
}

func (f *levelFlag) Set(text string) error {
	if err := f.least.UnmarshalText([]byte(text)); err != nil {
		return errors.New("give debug, info, warn or error, or one of them and a number, such as info+2")
	}
	f.set = true
	return nil
}

// sinceFlag is --since.
type sinceFlag struct{ at time.Time }

func (f *sinceFlag) Type() string { return "duration|time" }
func (f *sinceFlag) String() string {
	if f.at.IsZero() {
		return ""
	}
	return f.at.Format(time.RFC3339Nano)
}

func (f *sinceFlag) Set(text string) error {
	var ago patience
	if err := ago.Set(text); err == nil {
		f.at = time.Now().Add(-ago.limit)
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return errors.New("give how long ago, such as 90s or 1h, or a time such as 2026-01-31T15:04:05Z")
	}
	f.at = at
	return nil
}

// matchFlag is --match: keys, and the texts that they are to have.
type matchFlag []match

type match struct{ key, text string }

func (f *matchFlag) Type() string { return "KEY=VALUE" }
func (f *matchFlag) String() string {
	var all []string
	for _, m := range *f {
		all = append(all, strconv.Quote(m.key+"="+m.text))
	}
	return strings.Join(all, ",")
}

func (f *matchFlag) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return errors.New("give a key and a value, such as http.status=500")
	}
	if len(*f) == matchesMost {
		return fmt.Errorf("give at most %d", matchesMost)
	}
	*f = append(*f, match{key, value})
	return nil
}
