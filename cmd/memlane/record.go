package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/cmd/memlane/internal/mcap"
	"github.com/memlane/memlane/pubsub"
	"github.com/spf13/cobra"
)

// flushTime is how long a message can be in the memory of the recorder alone. Half a second
// is left to write it.
const flushTime = time.Second / 2

// channelsMost is how many publishers have a channel of their own; further ones share one
// of each topic and format.
const channelsMost = 1 << 15

func newRecord() *cobra.Command {
	var r record
	cmd := &cobra.Command{
		Use:   "record TOPIC…",
		Short: "Record the messages of topics in a file",
		Long: `Record subscribes to topics, or with --all to all topics of the domain, also those
that come later, and writes their messages to a file of the format MCAP: with times, and
with what the publishers say that they are. It goes on until Ctrl-C, or until --count,
--duration or --until-end. "memlane replay" publishes them again, "memlane cat" prints
them, and so do Foxglove and other tools for MCAP; docs/RECORDING.md says what is stored.

A message is in the file a second after it was received, or sooner: that is lost if
the recorder is killed, and the file is as good for the rest. If the machine fails, what
the kernel had not written is lost too.

As with "memlane sub", a publisher may have dropped messages before they were recorded:
that is said, and is in the file, with their number. Under --policy block none are, because
the publisher waits; with --peek it does not wait for this one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.limited = cmd.Flags().Changed("count")
			switch {
			case r.limited && r.count < 1:
				return usagef("--count %d: give a number of messages from 1 on", r.count)
			case r.all && len(args) > 0:
				return usagef("--all and %q: give one of them", args)
			case !r.all && len(args) == 0:
				return usagef("no topic is given: name some, or all with --all")
			}
			if r.path == "" {
				r.path = time.Now().Format("memlane-20060102-150405.mcap")
			}
			r.stderr = cmd.ErrOrStderr()
			return r.run(cmd.Context(), args)
		},
	}
	r.domain.add(cmd)
	cmd.Flags().StringVar(&r.path, "output", "", "the `file`, which must not exist (default: memlane-DATE-TIME.mcap)")
	cmd.Flags().BoolVar(&r.all, "all", false, "all topics of the domain, also those that come later")
	cmd.Flags().Var(&r.duration, "duration", "end after so long")
	cmd.Flags().IntVar(&r.count, "count", 0, "end after so many messages")
	cmd.Flags().BoolVar(&r.untilEnd, "until-end", false, "end when all publishers have gone, and all of their messages are recorded")
	cmd.Flags().BoolVar(&r.config.Peek, "peek", false, "no publisher is to wait for this")
	cmd.Flags().Var((*historyFlag)(&r.config.History), "history", "record so many earlier messages first, of each publisher that still has them")
	cmd.Flags().BoolVar(&r.zstd, "zstd", false, "compress the file")
	cmd.ValidArgsFunction = r.domain.completeTopics
	return cmd
}

type record struct {
	domain   domainFlags
	path     string
	all      bool
	duration patience
	count    int
	limited  bool // to count
	untilEnd bool
	config   pubsub.SubscriberConfig
	zstd     bool
	stderr   io.Writer

	begun   time.Time
	running sync.WaitGroup
	known   map[string]bool // topics that are followed; of one goroutine

	mu       sync.Mutex // guards what follows
	writer   *mcap.Writer
	channels map[origin]uint16
	shared   map[string]uint16 // beyond channelsMost
	schemas  map[string]described
	lost     map[origin]uint64 // since that was written
	losses   uint64            // all
	bytes    int64
}

// origin is where messages come from.
type origin struct {
	topic     string
	publisher uint64
}

// described is a schema of the file.
type described struct {
	id       uint16
	encoding string // of messages that it describes
}

func (r *record) say(format string, args ...any) {
	fmt.Fprintf(r.stderr, "memlane: "+format+"\n", args...)
}

func (r *record) run(ctx context.Context, topics []string) error {
	d, err := r.domain.open()
	if err != nil {
		return err
	}
	defer d.Close()
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = r.into(ctx, d, file, topics)
	return errors.Join(err, file.Close())
}

// into records topics in a file, which it finishes whatever happens.
func (r *record) into(ctx context.Context, d *memlane.Domain, file *os.File, topics []string) error {
	var err error
	if r.writer, err = mcap.NewWriter(file, &mcap.WriterConfig{Library: "memlane", Zstd: r.zstd}); err != nil {
		return err
	}
	r.begun = time.Now()
	r.known = map[string]bool{}
	r.channels, r.shared = map[origin]uint16{}, map[string]uint16{}
	r.schemas, r.lost = map[string]described{}, map[origin]uint64{}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.duration.set {
		var stop context.CancelFunc
		running, stop = context.WithTimeoutCause(running, r.duration.limit, errDone)
		defer stop()
	}
	if r.all {
		topics, err = r.topics()
	}
	for _, name := range topics {
		if err == nil {
			err = r.follow(running, cancel, d, name, r.config)
		}
	}
	if err == nil {
		r.say("recording in %s", printable(r.path))
		if r.all && len(topics) == 0 {
			r.say("there is no topic yet")
		}
		err = r.wait(running, cancel, d)
	} else {
		cancel(err)
		r.running.Wait()
		os.Remove(r.path) // for nothing was recorded
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	finish := r.write()
	if finish == nil {
		finish = r.writer.Close()
	}
	if finish == nil {
		finish = file.Sync()
	}
	if finish != nil && !errors.Is(err, finish) {
		err = errors.Join(err, finish)
	}
	r.summary()
	return err
}

// wait writes what has come, now and then, until all topics end.
func (r *record) wait(running context.Context, cancel context.CancelCauseFunc, d *memlane.Domain) error {
	ended := make(chan struct{})
	if !r.all || r.untilEnd {
		go func() {
			r.running.Wait()
			close(ended)
		}()
	}
	tick := time.NewTicker(flushTime)
	defer tick.Stop()
	for ticks := 1; ; ticks++ {
		select {
		case <-ended:
			cancel(errDone)
		case <-running.Done():
		case <-tick.C:
			r.mu.Lock()
			err := r.write()
			r.mu.Unlock()
			if err == nil && r.all && ticks%2 == 0 {
				err = r.more(running, cancel, d)
			}
			if err == nil {
				continue
			}
			cancel(err)
		}
		break
	}
	r.running.Wait()
	err := context.Cause(running)
	var signaled interrupted
	switch {
	case errors.Is(err, errDone):
		return nil
	case errors.As(err, &signaled) && !r.limited && !r.duration.set && !r.untilEnd:
		return nil // how recording ends
	}
	return err
}

// topics returns the topics of the domain.
func (r *record) topics() ([]string, error) {
	list, err := r.domain.topics(r.domain.name)
	var names []string
	for _, t := range list {
		names = append(names, t.Name)
	}
	return names, err
}

// more follows the topics that have come since the last time, with all that there still is.
func (r *record) more(running context.Context, cancel context.CancelCauseFunc, d *memlane.Domain) error {
	topics, err := r.topics()
	for _, name := range topics {
		if err == nil && !r.known[name] {
			c := r.config
			c.History = pubsub.AllHistory
			err = r.follow(running, cancel, d, name, c)
		}
	}
	return err
}

// follow begins to record a topic.
func (r *record) follow(running context.Context, cancel context.CancelCauseFunc, d *memlane.Domain, name string, c pubsub.SubscriberConfig) error {
	r.known[name] = true
	s, err := pubsub.Subscribe(d, name, &c)
	if err != nil {
		return err
	}
	if s.Publishers() == 0 && !r.all {
		r.say("waiting for a publisher of %q", name)
	}
	f := &follower{name: name, s: s, untilEnd: r.untilEnd, say: r.say, idle: func() error { return nil }}
	f.message = func(m pubsub.Message) error { return r.message(f, m) }
	f.lost = func(e *pubsub.LaggedError) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.losses += e.Lost
		r.lost[origin{name, e.Publisher}] += e.Lost
	}
	r.running.Go(func() {
		err := f.follow(running)
		if err != nil && running.Err() == nil {
			cancel(err)
			return
		}
		// What was published before the end is recorded, unless it does not stop.
		rest, stop := context.WithTimeout(context.WithoutCancel(running), time.Second)
		defer stop()
		f.untilEnd = true
		f.idle = func() error { return errDone }
		if err := f.drain(rest); err != nil && !errors.Is(err, errDone) && rest.Err() == nil {
			cancel(err)
		}
	})
	return nil
}

// now returns the time as the clock says that the recording began with, so that nobody who
// sets it changes how far messages are apart.
func (r *record) now() uint64 { return uint64(r.begun.UnixNano() + int64(time.Since(r.begun))) }

// message records a message.
func (r *record) message(f *follower, m pubsub.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limited && r.writer.Statistics().Messages == uint64(r.count) {
		return errDone
	}
	from := origin{f.name, m.Publisher}
	channel, known := r.channels[from]
	if !known {
		var err error
		if channel, err = r.channel(f, m.Publisher); err != nil {
			return err
		}
		if len(r.channels) > 2*channelsMost {
			clear(r.channels) // those that share are found again
		}
		r.channels[from] = channel
	}
	now := r.now()
	if err := r.writer.Write(&mcap.Message{Channel: channel, Sequence: uint32(m.Sequence), LogTime: now, PublishTime: now, Data: m.Data}); err != nil {
		return err
	}
	r.bytes += int64(len(m.Data))
	if r.limited && r.writer.Statistics().Messages == uint64(r.count) {
		return errDone
	}
	return nil
}

// channel returns a channel for the messages of a publisher.
func (r *record) channel(f *follower, publisher uint64) (uint16, error) {
	values, contentType := f.s.Format(publisher)
	c := mcap.Channel{Topic: f.name, MessageEncoding: encodingOf(contentType), Metadata: map[string]string{ofDomain: r.domain.name}}
	format := contentType
	if contentType != "" {
		c.Metadata[ofContentType] = contentType
	}
	if values != nil {
		format = values.String()
		c.Metadata[ofSchema] = format
		d, known := r.schemas[format]
		if !known {
			d = described{encoding: "ros1"}
			text, ok := rosMessage(values)
			schemaEncoding := "ros1msg"
			if !ok {
				d.encoding, schemaEncoding, text = "x-memlane", "x-memlane", format
			}
			var err error
			if d.id, err = r.writer.AddSchema("memlane/S"+values.ID(), schemaEncoding, []byte(text)); err != nil {
				return 0, err
			}
			r.schemas[format] = d
		}
		c.SchemaID, c.MessageEncoding = d.id, d.encoding
	}
	if r.writer.Statistics().Channels < channelsMost {
		c.Metadata[ofPublisher] = hex(publisher)
		c.Metadata[ofPID] = strconv.Itoa(f.s.PID(publisher))
		return r.writer.AddChannel(c)
	}
	key := fmt.Sprintf("%q %s", f.name, format)
	id, known := r.shared[key]
	if !known {
		var err error
		if id, err = r.writer.AddChannel(c); err != nil {
			return 0, err
		}
		r.shared[key] = id
	}
	return id, nil
}

// write writes what has come, and what was lost. The caller holds mu.
func (r *record) write() error {
	for _, from := range slices.SortedFunc(maps.Keys(r.lost), func(a, b origin) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.publisher, b.publisher))
	}) {
		if err := r.writer.AddMetadata(mcap.Metadata{Name: lossesName, Values: map[string]string{
			"topic": from.topic, "publisher": hex(from.publisher), "lost": strconv.FormatUint(r.lost[from], 10), "time": strconv.FormatUint(r.now(), 10),
		}}); err != nil {
			return err
		}
	}
	clear(r.lost)
	return r.writer.Flush()
}

// summary says what was done. The caller holds mu.
func (r *record) summary() {
	s := r.writer.Statistics()
	r.say("%s messages, %s bytes in %s", humanize.Comma(int64(s.Messages)), humanize.Comma(r.bytes), printable(r.path))
	if r.losses > 0 {
		r.say("%s messages were lost: the recorder was too slow, or there was no room in the ring", humanize.Comma(int64(r.losses)))
	}
}
