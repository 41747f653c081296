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
	"github.com/memlane/memlane/schema"
	"github.com/spf13/cobra"
)

// flushTime is how long a message can be in the memory of the recorder alone. Half a second
// is left to write it.
const flushTime = time.Second / 2

// watchTime is how long it takes with --all to notice a new topic.
const watchTime = time.Second / 5

// channelsMost is how many publishers have a channel of their own; further ones share one
// of each topic and format.
const channelsMost = 1 << 15

// sourcesMost is how many publishers are remembered. Who is met again is another one.
const sourcesMost = 1 << 14

func newRecord() *cobra.Command {
	var r record
	cmd := &cobra.Command{
		Use:   "record TOPIC…",
		Short: "Record the messages of topics in a file",
		Long: `Record subscribes to topics, or with --all to all topics of the domain, also those
that come later, and writes their messages to a file of the format MCAP: with times, and
with what the publishers say that they are. It goes on until Ctrl-C, or until --count,
--duration or --until-end. "memlane replay" publishes them again, "memlane cat" prints
them, and other tools for MCAP can read them; docs/RECORDING.md says what is stored.

A message is in the file a second after it was received, or sooner: that is lost if
the recorder is killed, and the file is as good for the rest. If the machine fails, what
the kernel had not written is lost too.

As with "memlane sub", a publisher may have dropped messages before they were recorded:
that is said, and is in the file, with their number. Under --policy block none are, because
the publisher waits; with --peek it does not wait for this one. Of a topic that comes
later, which --all notices within a fifth of a second, it gets what is still there.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.limited = cmd.Flags().Changed("count")
			switch {
			case r.limited && r.count < 1:
				return usagef("--count %d: give a number of messages from 1 on", r.count)
			case r.all && len(args) > 0:
				return usagef("--all and %q: give one of them", args)
			case r.all && r.untilEnd:
				return usagef("--all and --until-end: give one of them")
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
	running sync.WaitGroup  // those who receive
	known   map[string]bool // topics that are followed; of who watches

	// Of the goroutine that writes.
	writer   *mcap.Writer
	channels map[*source]uint16
	shared   map[string]uint16 // beyond channelsMost
	schemas  map[string]described
	spare    *batch
	losses   uint64
	bytes    int64

	ready chan struct{} // there is much to write

	mu       sync.Mutex // guards what follows
	room     sync.Cond  // in filling, or failed
	filling  *batch
	received int
	lost     map[origin]uint64 // what is not written yet
	failed   error             // of who writes
}

// batch is messages that were received, and are to be written: so those who receive need
// not wait for the disk.
type batch struct {
	data     []byte
	messages []received
}

// batchMost is from how many bytes on a batch takes no more, and they do wait.
const batchMost = 64 << 20

// received is a message of a batch.
type received struct {
	from     *source
	sequence uint32
	time     uint64
	end      int // of its data
}

// source is a publisher.
type source struct {
	origin
	pid         int
	values      *schema.Schema
	contentType string
}

// origin is who publishes what.
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
	r.begun, r.known, r.ready = time.Now(), map[string]bool{}, make(chan struct{}, 1)
	r.channels, r.shared, r.schemas = map[*source]uint16{}, map[string]uint16{}, map[string]described{}
	r.room.L, r.filling, r.spare, r.lost = &r.mu, &batch{}, &batch{}, map[origin]uint64{}
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
	if err != nil {
		r.fail(err)
		cancel(err)
		r.running.Wait()
		os.Remove(r.path) // for nothing was recorded
		return err
	}
	r.say("recording in %s", printable(r.path))
	if r.all && len(topics) == 0 {
		r.say("there is no topic yet")
	}
	if r.all {
		r.running.Go(func() { r.watch(running, cancel, d) })
	}
	finish := r.write(cancel)
	if finish == nil {
		finish = r.writer.Close()
	}
	if finish == nil {
		finish = file.Sync()
	}
	r.summary()
	if finish != nil {
		return finish
	}
	err = context.Cause(running)
	var signaled interrupted
	switch {
	case errors.Is(err, errDone):
		return nil
	case errors.As(err, &signaled) && !r.limited && !r.duration.set && !r.untilEnd:
		return nil // how recording ends
	}
	return err
}

// write writes what is received, until there will be nothing more.
func (r *record) write(cancel context.CancelCauseFunc) error {
	ended := make(chan struct{})
	go func() {
		r.running.Wait()
		close(ended)
	}()
	tick := time.NewTicker(flushTime)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ended:
			return r.writeBatch()
		case <-r.ready:
			err = r.writeBatch()
		case <-tick.C:
			if err = r.writeBatch(); err == nil {
				err = r.writer.Flush()
			}
		}
		if err != nil {
			r.fail(err)
			cancel(err)
		}
	}
}

// fail has those who receive end.
func (r *record) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	r.room.Broadcast()
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

// watch follows the topics that come later, with all that there still is of them.
func (r *record) watch(running context.Context, cancel context.CancelCauseFunc, d *memlane.Domain) {
	c := r.config
	c.History = pubsub.AllHistory
	for sleep(running, watchTime) == nil {
		topics, err := r.topics()
		if err != nil {
			cancel(err)
		}
		for _, name := range topics {
			if r.known[name] {
				continue
			}
			if err := r.follow(running, cancel, d, name, c); err != nil {
				r.say("%v; it is tried again", err)
			}
		}
	}
}

// follow begins to record a topic.
func (r *record) follow(running context.Context, cancel context.CancelCauseFunc, d *memlane.Domain, name string, c pubsub.SubscriberConfig) error {
	s, err := pubsub.Subscribe(d, name, &c)
	if err != nil {
		return err
	}
	r.known[name] = true
	if s.Publishers() == 0 && !r.all {
		r.say("waiting for a publisher of %q", name)
	}
	f := &follower{name: name, s: s, untilEnd: r.untilEnd, say: r.say, idle: func() error { return nil }}
	sources := map[uint64]*source{}
	f.message = func(m pubsub.Message) error {
		from := sources[m.Publisher]
		if from == nil {
			if len(sources) == sourcesMost {
				clear(sources)
			}
			from = &source{origin: origin{name, m.Publisher}, pid: s.PID(m.Publisher)}
			from.values, from.contentType = s.Format(m.Publisher)
			sources[m.Publisher] = from
		}
		return r.message(from, m)
	}
	f.lost = func(e *pubsub.LaggedError) {
		f.sayLost(e)
		r.mu.Lock()
		defer r.mu.Unlock()
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

// message has a message written.
func (r *record) message(from *source, m pubsub.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.filling.data) >= batchMost && r.failed == nil {
		r.room.Wait()
	}
	switch {
	case r.failed != nil:
		return r.failed
	case r.limited && r.received == r.count:
		return errDone
	}
	b := r.filling
	b.data = append(b.data, m.Data...)
	b.messages = append(b.messages, received{from, uint32(m.Sequence), r.now(), len(b.data)})
	if len(b.data) >= 1<<20 || len(b.messages) >= 1<<14 {
		select {
		case r.ready <- struct{}{}:
		default:
		}
	}
	if r.received++; r.limited && r.received == r.count {
		return errDone
	}
	return nil
}

// writeBatch writes what was received, and what was lost meanwhile.
func (r *record) writeBatch() error {
	r.mu.Lock()
	b, lost := r.filling, r.lost
	r.filling, r.lost = r.spare, map[origin]uint64{}
	r.room.Broadcast()
	r.mu.Unlock()
	err := r.writeMessages(b)
	if err == nil {
		err = r.writeLosses(lost)
	}
	if r.spare = (&batch{b.data[:0], b.messages[:0]}); cap(b.data) > 8<<20 {
		r.spare = &batch{}
	}
	return err
}

func (r *record) writeMessages(b *batch) error {
	at := 0
	for _, m := range b.messages {
		channel, known := r.channels[m.from]
		if !known {
			var err error
			if channel, err = r.channel(m.from); err != nil {
				return err
			}
			if len(r.channels) == sourcesMost {
				clear(r.channels)
			}
			r.channels[m.from] = channel
		}
		if err := r.writer.Write(&mcap.Message{Channel: channel, Sequence: m.sequence, LogTime: m.time, PublishTime: m.time, Data: b.data[at:m.end]}); err != nil {
			return err
		}
		r.bytes += int64(m.end - at)
		at = m.end
	}
	return nil
}

// channel returns a channel for the messages of a publisher.
func (r *record) channel(from *source) (uint16, error) {
	c := mcap.Channel{Topic: from.topic, MessageEncoding: encodingOf(from.contentType), Metadata: map[string]string{ofDomain: r.domain.name}}
	format := from.contentType
	if format != "" {
		c.Metadata[ofContentType] = format
	}
	if from.values != nil {
		d, err := r.describe(from.values)
		if err != nil {
			return 0, err
		}
		format = from.values.String()
		c.SchemaID, c.MessageEncoding, c.Metadata[ofSchema] = d.id, d.encoding, format
	}
	if r.writer.Statistics().Channels < channelsMost {
		c.Metadata[ofPublisher], c.Metadata[ofPID] = hex(from.publisher), strconv.Itoa(from.pid)
		return r.writer.AddChannel(c)
	}
	key := fmt.Sprintf("%q %s", from.topic, format)
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

// describe returns a schema of the file for values.
func (r *record) describe(values *schema.Schema) (described, error) {
	d, known := r.schemas[values.String()]
	if known {
		return d, nil
	}
	d.encoding = "ros1"
	text, ok := rosMessage(values)
	schemaEncoding := "ros1msg"
	if !ok {
		d.encoding, schemaEncoding, text = "x-memlane", "x-memlane", values.String()
	}
	var err error
	if d.id, err = r.writer.AddSchema("memlane/S"+values.ID(), schemaEncoding, []byte(text)); err == nil {
		r.schemas[values.String()] = d
	}
	return d, err
}

// writeLosses writes what was lost of whom.
func (r *record) writeLosses(lost map[origin]uint64) error {
	for _, from := range slices.SortedFunc(maps.Keys(lost), func(a, b origin) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.publisher, b.publisher))
	}) {
		r.losses += lost[from]
		if err := r.writer.AddMetadata(mcap.Metadata{Name: lossesName, Values: map[string]string{
			"topic": from.topic, "publisher": hex(from.publisher), "lost": strconv.FormatUint(lost[from], 10), "time": strconv.FormatUint(r.now(), 10),
		}}); err != nil {
			return err
		}
	}
	return nil
}

// summary says what was done.
func (r *record) summary() {
	s := r.writer.Statistics()
	r.say("%s messages, %s bytes in %s", humanize.Comma(int64(s.Messages)), humanize.Comma(r.bytes), printable(r.path))
	if r.losses > 0 {
		r.say("%s messages were lost: the recorder was too slow for them, which publishers with the policy Block, or with more slots, prevent", humanize.Comma(int64(r.losses)))
	}
}
