package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
	"github.com/spf13/cobra"
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
			s.out, s.stderr = bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), cmd.ErrOrStderr()
			return s.run(cmd.Context(), args)
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

type sub struct {
	domain   domainFlags
	config   pubsub.SubscriberConfig
	count    int
	limited  bool // to count
	raw      bool
	json     bool
	timeout  patience
	untilEnd bool
	stderr   io.Writer

	mu      sync.Mutex // guards what follows
	out     *bufio.Writer
	printed int
}

// errUnread says that whoever reads what is printed has not done so.
var errUnread = errors.New("nobody reads the output")

func (s *sub) say(format string, args ...any) {
	fmt.Fprintf(s.stderr, "memlane: "+format+"\n", args...)
}

func (s *sub) run(ctx context.Context, topics []string) error {
	d, err := s.domain.open()
	if err != nil {
		return err
	}
	defer d.Close()
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make(chan error, len(topics))
	for _, name := range topics {
		t, err := s.subscribe(d, name, len(topics) > 1)
		if err != nil {
			return err
		}
		go func() {
			err := t.f.follow(running)
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
	f      follower
	prefix []byte

	schemas map[uint64]*schema.Schema // of the publishers, with --json; nil: it has none
	decoded []byte                    // the last message, with --json
}

func (s *sub) subscribe(d *memlane.Domain, name string, several bool) (*topic, error) {
	t := &topic{sub: s, schemas: map[uint64]*schema.Schema{}}
	t.f = follower{name: name, timeout: s.timeout, untilEnd: s.untilEnd, ends: !s.limited && !s.untilEnd,
		say: s.say, message: t.print, idle: s.flush}
	if several && !s.raw {
		t.prefix = []byte(name + "\t")
	}
	var err error
	t.f.s, err = pubsub.Subscribe(d, name, &s.config)
	if err == nil && t.f.s.Publishers() == 0 {
		s.say("waiting for a publisher of %q", name)
	}
	return t, err
}

// flush passes on what was printed.
func (s *sub) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Flush()
}

func (t *topic) print(m pubsub.Message) error {
	message := m.Data
	if t.json {
		var err error
		if message, err = t.decode(m); err != nil {
			t.say("message %d of publisher %016x of %q is not printed: %v", m.Sequence, m.Publisher, t.f.name, err)
			return nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limited && t.printed == t.count {
		return errDone
	}
	t.out.Write(t.prefix)
	_, err := t.out.Write(message)
	if !t.raw {
		err = t.out.WriteByte('\n')
	}
	if err != nil {
		return err
	}
	if t.printed++; t.limited && t.printed == t.count {
		return errDone
	}
	return nil
}

// schemasMost is of how many publishers the schemas are remembered.
const schemasMost = 1024

// decode returns a message as JSON, until the next one, if its publisher has a schema; else
// as it is.
func (t *topic) decode(m pubsub.Message) ([]byte, error) {
	s, known := t.schemas[m.Publisher]
	if !known {
		if len(t.schemas) == schemasMost {
			clear(t.schemas)
		}
		s, _ = t.f.s.Format(m.Publisher)
		t.schemas[m.Publisher] = s
	}
	if s == nil {
		return m.Data, nil
	}
	var err error
	t.decoded, err = s.AppendJSON(t.decoded[:0], m.Data)
	return t.decoded, err
}
