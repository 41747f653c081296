package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/cmd/memlane/internal/mcap"
	"github.com/memlane/memlane/pubsub"
	"github.com/spf13/cobra"
)

func newReplay() *cobra.Command {
	p := replay{policy: policyFlag(pubsub.Block), rate: 1}
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Publish the messages of a recording again",
		Long: `Replay publishes the messages of a recording, a file of the format MCAP that "memlane
record" or another tool has written, in the order in which they were recorded and as far
apart; --rate 2x is twice as fast, and 0 as fast as possible. They have the schema and the
content type that they had.

There is one publisher for each topic and what its messages are, also if there were
several. It waits for a first subscriber of any of the topics. Under --policy block, which is
the default, it waits for subscribers that are slow; under drop-oldest these lose messages.
What is late by more than a second is not made up for.

Of a recording whose end is missing, all is published that is there. If anything else is
wrong with it, that is said, the code is 1, and what can be read is published all the same.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.stderr = cmd.ErrOrStderr()
			err := p.run(cmd.Context(), args[0])
			var signaled interrupted
			if p.loop && errors.As(err, &signaled) {
				return nil // how that ends
			}
			return err
		},
	}
	p.domain.add(cmd)
	p.flags.add(cmd)
	cmd.Flags().Var(&p.rate, "rate", "how many times as fast as it was; 0: as fast as possible")
	cmd.Flags().BoolVar(&p.loop, "loop", false, "begin again at the end, until Ctrl-C")
	cmd.Flags().BoolVar(&p.noWait, "no-wait", false, "do not wait for a first subscriber")
	cmd.Flags().Var(&p.policy, "policy", "what happens when a subscriber is slow")
	return cmd
}

type replay struct {
	domain domainFlags
	flags  recordingFlags
	policy policyFlag
	rate   rateFlag
	loop   bool
	noWait bool
	stderr io.Writer

	r          *recording
	publishers map[uint16]*pubsub.Publisher // by channel
	published  int
	bytes      int64
}

func (p *replay) say(format string, args ...any) {
	fmt.Fprintf(p.stderr, "memlane: "+format+"\n", args...)
}

func (p *replay) run(ctx context.Context, path string) error {
	var err error
	if p.r, err = p.flags.open(path, p.say); err != nil {
		return err
	}
	defer p.r.close()
	d, err := p.domain.open()
	if err != nil {
		return err
	}
	defer d.Close()
	distinct, err := p.publish(d, path)
	if err != nil {
		return err
	}
	if !p.noWait {
		if err := p.wait(ctx, distinct); err != nil {
			return err
		}
	}
	begun := time.Now()
	err = p.play(ctx, path)
	p.say("%s messages, %s bytes in %.3f s", humanize.Comma(int64(p.published)), humanize.Comma(p.bytes), time.Since(begun).Seconds())
	return err
}

// play publishes the recording, as often as that is to be.
func (p *replay) play(ctx context.Context, path string) error {
	whole := p.r.Damage() == nil || errors.Is(p.r.Damage(), mcap.ErrUnfinished)
	for first := true; first || p.loop && p.published > 0; first = false {
		good, err := p.once(ctx, path)
		if err != nil {
			return err
		}
		whole = whole && good
	}
	if !whole {
		return fmt.Errorf("%s: %w", printable(path), errPartly)
	}
	return nil
}

// publish begins to publish the topics of the recording. It returns the publishers.
func (p *replay) publish(d *memlane.Domain, path string) (distinct []*pubsub.Publisher, err error) {
	p.publishers = map[uint16]*pubsub.Publisher{}
	same := map[string]*pubsub.Publisher{}
	for _, c := range p.r.channels {
		values, contentType, err := p.r.formatOf(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", printable(path), err)
		}
		key := fmt.Sprintf("%q %q", c.Topic, contentType)
		if values != nil {
			key += values.String()
		}
		if same[key] == nil {
			pub, err := pubsub.Publish(d, c.Topic, &pubsub.PublisherConfig{Policy: pubsub.Policy(p.policy), Schema: values,
				ContentType: contentType, ArenaLimit: arenaFor([]string{path})})
			if err != nil {
				return nil, err
			}
			same[key] = pub
			distinct = append(distinct, pub)
		}
		p.publishers[c.ID] = same[key]
	}
	return distinct, nil
}

// wait waits for a first subscriber.
func (p *replay) wait(ctx context.Context, publishers []*pubsub.Publisher) error {
	if len(publishers) == 0 {
		return nil
	}
	p.say("waiting for a first subscriber")
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	results := make(chan error, len(publishers))
	for _, pub := range publishers {
		go func() { results <- pub.WaitSubscribers(waiting, 1) }()
	}
	return <-results
}

// once publishes the whole recording, and says whether all of it could be read.
func (p *replay) once(ctx context.Context, path string) (whole bool, err error) {
	whole = true
	var first uint64 // LogTime
	var begun time.Time
	for m, err := range p.r.Messages(p.r.selection) {
		if err != nil {
			p.say("%s: %v", printable(path), err)
			whole = false
			continue
		}
		if begun.IsZero() {
			first, begun = m.LogTime, time.Now()
		}
		if p.rate > 0 {
			after := time.Duration(min(float64(m.LogTime-first)/float64(p.rate), math.MaxInt64/2))
			wait := after - time.Since(begun)
			if wait < -time.Second {
				begun = time.Now().Add(-after)
			}
			if err := sleep(ctx, wait); err != nil {
				return false, err
			}
		}
		if err := p.publishers[m.Channel].Publish(ctx, m.Data); err != nil {
			return false, err
		}
		p.published++
		p.bytes += int64(len(m.Data))
	}
	return whole, nil
}

// sleep waits so long, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
