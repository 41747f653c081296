package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
	"github.com/spf13/cobra"
)

// batchBytes is how much of its input pub publishes at once at most.
const batchBytes = 16 << 10

// domainFlags are those of all commands about domains.
type domainFlags struct {
	name   string
	config memlane.Config
}

func (d *domainFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.name, "domain", "default", "the domain")
	cmd.Flags().StringVar(&d.config.Folder, "folder", "", "the folder of the domains (default: the user's private one)")
	cmd.Flags().IntSliceVar(&d.config.Owners, "owner", nil, "accept processes of this user id too; may be repeated")
	cmd.RegisterFlagCompletionFunc("domain", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names, _ := inspect.Domains(&d.config)
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func (d *domainFlags) open() (*memlane.Domain, error) { return memlane.Open(d.name, &d.config) }

// looker returns one of topics of the domain, of all if none are named.
func (d *domainFlags) looker(topics []string, patient bool) *live.Looker {
	return &live.Looker{Domain: d.name, Config: &d.config, Topics: topics, Patient: patient}
}

// addAll is add for commands that are about all domains of the folder, or one.
func (d *domainFlags) addAll(cmd *cobra.Command) {
	d.add(cmd)
	cmd.Flags().Lookup("domain").DefValue = ""
	cmd.Flags().Lookup("domain").Usage = "only this domain (default: all of the folder)"
}

// domains returns the names of the domains that a command is about.
func (d *domainFlags) domains(cmd *cobra.Command) ([]string, error) {
	if cmd.Flags().Changed("domain") {
		return []string{d.name}, nil
	}
	return inspect.Domains(&d.config)
}

// topics returns the topics of a domain.
func (d *domainFlags) topics(name string) ([]inspect.Topic, error) {
	return inspect.Topics(name, &d.config)
}

// participants returns who takes part in a domain.
func (d *domainFlags) participants(name string) ([]inspect.Participant, error) {
	return inspect.Participants(name, &d.config)
}

// completeTopics completes the name of a topic.
func (d *domainFlags) completeTopics(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	topics, _ := d.topics(d.name)
	for _, t := range topics {
		names = append(names, t.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// policyFlag is --policy.
type policyFlag pubsub.Policy

func (p *policyFlag) Type() string { return "block|drop-oldest" }
func (p *policyFlag) String() string {
	if pubsub.Policy(*p) == pubsub.DropOldest {
		return "drop-oldest"
	}
	return "block"
}

func (p *policyFlag) Set(text string) error {
	switch text {
	case "block":
		*p = policyFlag(pubsub.Block)
	case "drop-oldest":
		*p = policyFlag(pubsub.DropOldest)
	default:
		return errors.New("give block, which waits for slow subscribers, or drop-oldest, which has them lose messages")
	}
	return nil
}

func newPub() *cobra.Command {
	p := pub{policy: policyFlag(pubsub.Block)}
	cmd := &cobra.Command{
		Use:   "pub TOPIC [FILE…]",
		Short: "Publish lines as messages of a topic",
		Long: `Pub publishes the lines of standard input, or of files, as messages of a topic;
with --whole each file, or all of standard input, is one message. Who subscribes
to the topic in the same domain, with "memlane sub" or with package pubsub, gets
them, in order.

It waits for a first subscriber. Under --policy block, which is the default, it
then waits for every subscriber that is 1024 messages or batches behind, until it
goes on, leaves or dies. Under drop-oldest it never waits: such a subscriber
loses the oldest messages, and is told how many.

Lines that are there at once are published together; no line waits for another.
With --schema each line is a value as JSON, as "memlane sub --json" prints it, and is
published as the bytes that the schema says: subscribers of that type get it. A file has
the schema, which "memlane info TOPIC" shows of a topic that has one, and spec/schema.md
describes. A line that is no such value ends pub, after those before it.

Subscribers get everything even if pub has ended, but not if they come after that.
At the end it says on standard error what it has done.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.limited = cmd.Flags().Changed("count")
			if p.limited && p.count < 1 {
				return usagef("--count %d: give a number of messages from 1 on", p.count)
			}
			if p.rate < 0 || math.IsNaN(p.rate) || math.IsInf(p.rate, 0) || cmd.Flags().Changed("rate") && p.rate == 0 {
				return usagef("--rate %g: give a number of messages a second, more than 0", p.rate)
			}
			if p.schemaFile != "" && (p.whole || p.contentType != "") {
				return usagef("--schema goes with neither --whole nor --content-type")
			}
			p.stderr = cmd.ErrOrStderr()
			return p.run(cmd.Context(), args[0], args[1:])
		},
	}
	p.domain.add(cmd)
	cmd.Flags().BoolVar(&p.whole, "whole", false, "each file, or all of standard input, is one message")
	cmd.Flags().Float64Var(&p.rate, "rate", 0, "publish at most so many messages a second")
	cmd.Flags().IntVar(&p.count, "count", 0, "end after so many messages")
	cmd.Flags().Var(&p.policy, "policy", "what happens when a subscriber is slow")
	cmd.Flags().StringVar(&p.schemaFile, "schema", "", "lines are values as JSON, of the schema in this file")
	cmd.Flags().StringVar(&p.contentType, "content-type", "", "what the messages are, such as application/json: subscribers that want another type are refused")
	cmd.Flags().BoolVar(&p.noWait, "no-wait", false, "do not wait for a first subscriber")
	cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions([]string{"block", "drop-oldest"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type pub struct {
	domain  domainFlags
	policy  policyFlag
	whole   bool
	rate    float64 // messages a second; 0: no limit
	count   int
	limited bool // to count
	noWait  bool
	stderr  io.Writer

	schemaFile, contentType string
	schema                  *schema.Schema // nil: messages are lines
	lines                   int            // that were read, with a schema

	p         *pubsub.Publisher
	begun     time.Time
	next      time.Time // when the next message is due, with a rate
	published int
	bytes     int64
}

// errEnough ends the reading of the input: --count is reached.
var errEnough = errors.New("enough")

func (p *pub) say(format string, args ...any) {
	fmt.Fprintf(p.stderr, "memlane: "+format+"\n", args...)
}

func (p *pub) run(ctx context.Context, topic string, files []string) error {
	d, err := p.domain.open()
	if err != nil {
		return err
	}
	defer d.Close()
	if p.schemaFile != "" {
		text, err := os.ReadFile(p.schemaFile)
		if err != nil {
			return err
		}
		if p.schema, err = schema.Parse(text); err != nil {
			return fmt.Errorf("%s: %w", p.schemaFile, err)
		}
	}
	c := pubsub.PublisherConfig{Policy: pubsub.Policy(p.policy), Schema: p.schema, ContentType: p.contentType}
	if p.whole {
		c.ArenaLimit = arenaFor(files)
	}
	if p.p, err = pubsub.Publish(d, topic, &c); err != nil {
		return err
	}
	defer p.p.Close()
	if pubsub.Policy(p.policy) == pubsub.Block {
		p.say("publishing %q; waits for slow subscribers (--policy block)", topic)
	} else {
		p.say("publishing %q; slow subscribers lose the oldest messages (--policy drop-oldest)", topic)
	}
	if !p.noWait {
		if p.p.Subscribers() == 0 {
			p.say("waiting for a first subscriber")
		}
		if err := p.p.WaitSubscribers(ctx, 1); err != nil {
			return err
		}
	}
	in := openInput(files)
	defer in.close()
	p.begun = time.Now()
	if p.whole {
		err = in.whole(ctx, func(content []byte) error { return p.publish(ctx, [][]byte{content}) })
	} else {
		err = in.lines(ctx, func(lines [][]byte) error {
			lines, bad := p.encode(lines)
			if err := p.publish(ctx, lines); err != nil {
				return err
			}
			return bad
		})
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	p.summary()
	return err
}

// arenaFor returns an arena that the largest of some files fits into several times.
func arenaFor(files []string) int {
	var most int64
	for _, name := range files {
		if st, err := os.Stat(name); err == nil {
			most = max(most, st.Size())
		}
	}
	return int(min(max(256<<20, 4*most), 1<<40))
}

// encode returns the messages that lines mean, up to one that means none, and why.
func (p *pub) encode(lines [][]byte) ([][]byte, error) {
	if p.schema == nil {
		return lines, nil
	}
	var messages [][]byte
	for _, line := range lines {
		p.lines++
		m, err := p.schema.AppendMessage(nil, line)
		if err != nil {
			return messages, fmt.Errorf("line %d: %w", p.lines, err)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// publish publishes messages, in batches, at the rate that was asked for.
func (p *pub) publish(ctx context.Context, messages [][]byte) error {
	if p.limited {
		messages = messages[:min(len(messages), p.count-p.published)]
	}
	for len(messages) > 0 {
		n, size := 0, 0
		for n < len(messages) && (n == 0 || size+len(messages[n]) <= batchBytes) {
			size += len(messages[n]) + 12 // as a short one takes in a batch
			n++
		}
		if p.rate > 0 {
			due, err := p.due(ctx, n)
			if err != nil {
				return err
			}
			n = due
		}
		if err := p.p.PublishBatch(ctx, messages[:n]); err != nil {
			return err
		}
		for _, m := range messages[:n] {
			p.bytes += int64(len(m))
		}
		p.published += n
		messages = messages[n:]
	}
	if p.limited && p.published == p.count {
		return errEnough
	}
	return nil
}

// due waits until a message is due, and returns how many are, at most so many. What
// was not there in time is not made up for.
func (p *pub) due(ctx context.Context, most int) (int, error) {
	every := time.Duration(float64(time.Second) / p.rate)
	if late := time.Since(p.next); late > time.Second {
		p.next = time.Now()
	}
	if wait := time.Until(p.next); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	n := 1
	if every > 0 {
		n = min(most, 1+int(time.Since(p.next)/every))
	}
	p.next = p.next.Add(time.Duration(float64(n) * float64(time.Second) / p.rate))
	return n, nil
}

// summary says what was done.
func (p *pub) summary() {
	took := time.Since(p.begun)
	p.say("%s messages, %s bytes in %.3f s: %s messages/s; waited %s times for a subscriber",
		humanize.Comma(int64(p.published)), humanize.Comma(p.bytes), took.Seconds(),
		humanize.Comma(int64(float64(p.published)/took.Seconds())), humanize.Comma(int64(p.p.Stats().Blocked)))
}
