package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/spf13/cobra"
)

// rateJSON is how hz and bw -o json show a topic, one object a line.
type rateJSON struct {
	Topic    string    `json:"topic"`
	At       time.Time `json:"at"`
	Seconds  float64   `json:"seconds"`  // since the time before
	Messages uint64    `json:"messages"` // published in that time
	Bytes    uint64    `json:"bytes"`
	Hz       float64   `json:"messages_per_second"`
	Bw       float64   `json:"bytes_per_second"`
}

const rateWords = `

It counts, and does not subscribe: publishers count what they publish, and this reads
their memory, so that it is exact at any rate, nobody waits for it, and nobody is slower
for it. What publishers have published that come and end, or are killed, within an interval
is in it; of a topic that nobody took part in before, from the second interval on.`

func newHz() *cobra.Command {
	return newRate(&cobra.Command{
		Use:   "hz [TOPIC…]",
		Short: "Show how many messages a second are published",
		Long: `Hz shows, for each interval until Ctrl-C, how many messages a second were published to
topics, or to each topic of the domain, by all of their publishers; and of all intervals
so far the mean, the least and the most.` + rateWords,
	}, "MESSAGES/S", func(r *rateJSON) float64 { return r.Hz }, func(v float64) string { return perUnit(v) })
}

func newBw() *cobra.Command {
	return newRate(&cobra.Command{
		Use:   "bw [TOPIC…]",
		Short: "Show how many bytes a second are published",
		Long: `Bw shows, for each interval until Ctrl-C, how many bytes of messages a second were
published to topics, or to each topic of the domain, by all of their publishers; of all
intervals so far the mean, the least and the most; and how large a message was.` + rateWords,
	}, "BYTES/S", func(r *rateJSON) float64 { return r.Bw }, func(v float64) string { return humanize.IBytes(uint64(math.Round(v))) + "/s" })
}

// perUnit shows a rate: of slow ones the part behind the point counts.
func perUnit(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.2f", v)
	}
	return humanize.Comma(int64(math.Round(v)))
}

// rate is hz and bw.
type rate struct {
	domain   domainFlags
	output   format
	interval patience
	count    int
	title    string
	value    func(*rateJSON) float64
	shown    func(float64) string
	out      io.Writer
	lines    int
	spans    map[string]*extent // by topic
}

// extent is what the intervals of a topic had.
type extent struct {
	sum, seconds float64
	least, most  float64
}

func newRate(cmd *cobra.Command, title string, value func(*rateJSON) float64, shown func(float64) string) *cobra.Command {
	r := rate{output: "table", interval: patience{time.Second, true}, title: title, value: value, shown: shown, spans: map[string]*extent{}}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.interval.limit <= 0 {
			return usagef("--interval %v: give a time such as 1s", r.interval.limit)
		}
		if r.count < 1 && cmd.Flags().Changed("count") {
			return usagef("--count %d: give a number of intervals from 1 on", r.count)
		}
		r.out = cmd.OutOrStdout()
		return r.run(cmd.Context(), args)
	}
	r.domain.add(cmd)
	r.output.add(cmd)
	cmd.Flags().Var(&r.interval, "interval", "how long each is")
	cmd.Flags().IntVar(&r.count, "count", 0, "end after so many intervals")
	cmd.ValidArgsFunction = r.domain.completeTopics
	return cmd
}

func (r *rate) run(ctx context.Context, topics []string) error {
	l := r.domain.looker(topics, false)
	if _, err := l.Look(); err != nil { // who is named has to be there when it begins
		return err
	}
	d, err := r.domain.open()
	if err != nil {
		return err
	}
	defer d.Close()
	before := map[string]reading{}
	for n := 0; ; n++ {
		names := topics
		if len(names) == 0 {
			there, err := r.domain.topics(r.domain.name)
			if err != nil {
				return err
			}
			for _, t := range there {
				names = append(names, t.Name)
			}
		}
		if err := r.read(d, names, before); err != nil {
			return err
		}
		if r.count > 0 && n == r.count {
			return nil
		}
		select {
		case <-time.After(r.interval.limit):
		case <-ctx.Done():
			return nil // how it ends
		}
	}
}

// reading is what a meter said last, and when.
type reading struct {
	meter *inspect.Meter
	at    time.Time
	inspect.Published
}

// read shows what was published since the last time, and begins to count at topics that
// are new.
func (r *rate) read(d *memlane.Domain, names []string, before map[string]reading) error {
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
		if before[name].meter == nil {
			meter, err := inspect.NewMeter(d, name)
			if err != nil {
				return err
			}
			before[name] = reading{meter: meter, at: time.Now()}
			continue
		}
		earlier := before[name]
		now := reading{earlier.meter, time.Now(), earlier.meter.Published()}
		before[name] = now
		if err := r.show(name, now, earlier); err != nil {
			return err
		}
	}
	for name, earlier := range before {
		if there[name] {
			continue
		}
		// Nobody takes part any more: its last ones, then nothing.
		now := reading{earlier.meter, time.Now(), earlier.meter.Published()}
		if now.Published == earlier.Published {
			delete(before, name)
			if err := earlier.meter.Close(); err != nil {
				return err
			}
			continue
		}
		before[name] = now
		if err := r.show(name, now, earlier); err != nil {
			return err
		}
	}
	return nil
}

// headEvery is how many lines there are between two headings.
const headEvery = 40

func (r *rate) show(topic string, now, before reading) error {
	j := rateJSON{Topic: topic, At: now.at, Seconds: now.at.Sub(before.at).Seconds(), Messages: now.Messages - min(before.Messages, now.Messages), Bytes: now.Bytes - min(before.Bytes, now.Bytes)} // a broken publisher counts backwards
	j.Hz, j.Bw = float64(j.Messages)/j.Seconds, float64(j.Bytes)/j.Seconds
	if r.output.json() {
		return json.NewEncoder(r.out).Encode(&j)
	}
	s := r.spans[topic]
	v := r.value(&j)
	if s == nil {
		s = &extent{least: v, most: v}
		r.spans[topic] = s
	}
	s.sum, s.seconds = s.sum+v*j.Seconds, s.seconds+j.Seconds
	s.least, s.most = min(s.least, v), max(s.most, v)
	if r.lines%headEvery == 0 {
		fmt.Fprintf(r.out, "%-8s  %14s  %14s  %14s  %14s  %10s  TOPIC\n", "TIME", r.title, "MEAN", "LEAST", "MOST", "MESSAGE")
	}
	r.lines++
	size := "-"
	if j.Messages > 0 {
		size = humanize.IBytes(j.Bytes / j.Messages)
	}
	_, err := fmt.Fprintf(r.out, "%-8s  %14s  %14s  %14s  %14s  %10s  %s\n", j.At.Format(time.TimeOnly),
		r.shown(v), r.shown(s.sum/s.seconds), r.shown(s.least), r.shown(s.most), size, printable(topic))
	return err
}
