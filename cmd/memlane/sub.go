package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// historyFlag is --history.
type historyFlag int

func (h *historyFlag) Type() string { return "N|all" }
func (h *historyFlag) String() string {
	if *h == pubsub.AllHistory {
		return "all"
	}
	return strconv.Itoa(int(*h))
}

func (h *historyFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	if text == "all" {
		n, err = pubsub.AllHistory, nil
	}
	if err != nil || n < 0 {
		return errors.New("give a number of messages, or all")
	}
	*h = historyFlag(n)
	return nil
}

func newSub() *cobra.Command {
	var s sub
	cmd := &cobra.Command{
		Use:   "sub TOPIC…",
		Short: "Print the messages of topics as lines",
		Long: `Sub subscribes to topics and prints their messages, each as a line; of several
topics each line begins with the topic and a tab. It gets what is published from
then on, by every publisher of the domain, and follows until Ctrl-C, or until
--count, --timeout or --until-end.

A publisher may have dropped messages before they were read: that is said on
standard error at once, with their number. Under --policy block none are, because
the publisher waits; with --peek it does not wait for this one.

With --json, values of a publisher that has a schema are printed as JSON, with the
names of their fields; those of other publishers as they are. Integers have all their
digits, and NaN, Infinity and -Infinity are strings. A message that is no value of the
schema is not printed, and told on standard error.

What is printed is passed on whenever there is no further message at once.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.limited = cmd.Flags().Changed("count")
			if s.limited && s.count < 1 {
				return usagef("--count %d: give a number of messages from 1 on", s.count)
			}
			if s.json && s.raw {
				return usagef("--json and --raw: give one of them")
			}
			s.binary = !s.json && !s.raw && term.IsTerminal(int(os.Stdout.Fd()))
			s.begin(cmd)
			return s.run(cmd.Context(), args, func(t *topic) printer {
				return newMessages(t, len(args) > 1)
			})
		},
	}
	s.domain.add(cmd)
	cmd.Flags().IntVar(&s.count, "count", 0, "end after so many messages")
	cmd.Flags().BoolVar(&s.raw, "raw", false, "print messages as they are, and nothing between them")
	cmd.Flags().BoolVar(&s.json, "json", false, "print values as JSON, if their publisher has a schema")
	cmd.Flags().BoolVar(&s.config.Peek, "peek", false, "no publisher is to wait for this")
	cmd.Flags().Var((*historyFlag)(&s.config.History), "history", "print so many earlier messages first, of each publisher that still has them")
	cmd.Flags().Var(&s.timeout, "timeout", "end when no message has come for so long; with --count or --until-end that is code 6")
	cmd.Flags().BoolVar(&s.untilEnd, "until-end", false, "end when all publishers have gone, and all of their messages are printed")
	return cmd
}

// sub is what sub and logs have in common: topics that are followed.
type sub struct {
	domain   domainFlags
	config   pubsub.SubscriberConfig
	count    int
	limited  bool // to count
	raw      bool
	json     bool
	binary   bool // a terminal shows messages as they are
	timeout  patience
	untilEnd bool
	stderr   io.Writer

	untilIdle bool // end when all is printed that is there

	mu      sync.Mutex // guards what follows
	out     *bufio.Writer
	printed int
}

// printer prints what a topic has.
type printer interface {
	print(m pubsub.Message) error
	// lost is told of messages that are not there any more.
	lost(e *pubsub.LaggedError)
	// idle is told that there is nothing more just now.
	idle() error
}

// errUnread says that whoever reads what is printed has not done so.
var errUnread = errors.New("nobody reads the output")

func (s *sub) say(format string, args ...any) {
	fmt.Fprintf(s.stderr, "memlane: "+format+"\n", args...)
}

func (s *sub) begin(cmd *cobra.Command) {
	s.out, s.stderr = bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), cmd.ErrOrStderr()
}

func (s *sub) run(ctx context.Context, topics []string, printer func(*topic) printer) error {
	d, err := s.domain.open()
	if err != nil {
		return err
	}
	defer d.Close()
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make(chan error, len(topics))
	for _, name := range topics {
		t, err := s.subscribe(d, name)
		if err != nil {
			return err
		}
		t.printer = printer(t)
		f := follower{name: name, s: t.s, timeout: s.timeout, untilEnd: s.untilEnd, ends: !s.limited && !s.untilEnd,
			say: s.say, message: t.print, idle: t.pause, lost: t.lost}
		go func() {
			err := f.follow(running)
			if err != nil {
				cancel(err) // for all
			}
			results <- err
		}()
	}
	// Printing can take for ever, if nobody reads: that is left behind.
	var overdue <-chan time.Time
	for range topics {
		select {
		case <-results:
			continue
		case <-running.Done():
			if overdue == nil {
				overdue = time.After(2 * time.Second)
			}
		}
		select {
		case <-results:
		case <-overdue:
			return errors.Join(errUnread, context.Cause(running))
		}
	}
	err = context.Cause(running)
	s.mu.Lock()
	defer s.mu.Unlock()
	if flushErr := s.out.Flush(); flushErr != nil {
		return flushErr
	}
	var signaled interrupted
	switch {
	case err == nil, errors.Is(err, errDone):
		return nil
	case errors.As(err, &signaled) && !s.limited && !s.untilEnd:
		return nil // how following ends
	}
	return err
}

// topic is one of those that are printed.
type topic struct {
	*sub
	printer
	name string
	s    *pubsub.Subscriber
}

func (s *sub) subscribe(d *memlane.Domain, name string) (*topic, error) {
	t := &topic{sub: s, name: name}
	var err error
	t.s, err = pubsub.Subscribe(d, name, &s.config)
	switch {
	case err != nil || t.s.Publishers() > 0:
	case s.untilIdle:
		err = fmt.Errorf("topic %q of domain %q: %w", name, d.Name(), errNoPublisher)
	default:
		s.say("waiting for a publisher of %q", name)
	}
	return t, err
}

// errNoPublisher: what is there is to be printed, and nothing is. It matches fs.ErrNotExist.
var errNoPublisher error = noPublisher{}

type noPublisher struct{}

func (noPublisher) Error() string { return "nobody publishes it (see memlane ls)" }

func (noPublisher) Is(target error) bool { return target == fs.ErrNotExist }

// pause passes on what is printed, when there is nothing more just now.
func (t *topic) pause() error {
	if err := t.idle(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.out.Flush(); err != nil {
		return err
	}
	if t.untilIdle {
		return errDone
	}
	return nil
}

// put prints a line, in parts.
func (t *topic) put(parts ...[]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limited && t.printed == t.count {
		return errDone
	}
	for _, part := range parts {
		t.out.Write(part) // which says so below if it fails
	}
	if !t.raw {
		t.out.WriteByte('\n')
	}
	if _, err := t.out.Write(nil); err != nil {
		return err
	}
	if t.printed++; t.limited && t.printed == t.count {
		return errDone
	}
	return nil
}

// messages prints messages as they are, or values as JSON.
type messages struct {
	*topic
	prefix  []byte
	schemas map[uint64]*schema.Schema // of the publishers, with --json; nil: it has none
	decoded []byte                    // the last message, with --json
	warned  bool                      // that there are values which a terminal does not show
}

func newMessages(t *topic, several bool) *messages {
	m := &messages{topic: t, schemas: map[uint64]*schema.Schema{}}
	if several && !t.raw {
		m.prefix = []byte(t.name + "\t")
	}
	return m
}

func (p *messages) idle() error { return nil }

func (p *messages) lost(e *pubsub.LaggedError) {
	p.say("lost %d messages of publisher %016x of %q: too slow", e.Lost, e.Publisher, p.name)
}

func (p *messages) print(m pubsub.Message) error {
	if p.binary && !p.warned {
		if values, _ := p.s.Format(m.Publisher); values != nil {
			p.warned = true
			p.say("the messages of %q are binary values with a schema: --json shows what they mean", p.name)
		}
	}
	message := m.Data
	if p.json {
		var err error
		if message, err = p.decode(m); err != nil {
			p.say("message %d of publisher %016x of %q is not printed: %v", m.Sequence, m.Publisher, p.name, err)
			return nil
		}
	}
	return p.put(p.prefix, message)
}

// schemasMost is of how many publishers the schemas are remembered.
const schemasMost = 1024

// decode returns a message as JSON, until the next one, if its publisher has a schema; else
// as it is.
func (p *messages) decode(m pubsub.Message) ([]byte, error) {
	s, known := p.schemas[m.Publisher]
	if !known {
		if len(p.schemas) == schemasMost {
			clear(p.schemas)
		}
		s, _ = p.s.Format(m.Publisher)
		p.schemas[m.Publisher] = s
	}
	if s == nil {
		return m.Data, nil
	}
	var err error
	p.decoded, err = s.AppendJSON(p.decoded[:0], m.Data)
	return p.decoded, err
}
