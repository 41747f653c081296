// Package logtopic writes the records of log/slog to a topic, for log agents, sidecars and
// "memlane logs" (layer L8).
//
//	h, err := logtopic.NewHandler(domain, "logs", nil)
//	slog.SetDefault(slog.New(h))
//
// A record is a message: a JSON object, as spec/logs.md has it, which a reader needs no code
// of ours for. It is published when Handle returns: if the process is killed after that,
// readers still get it, whole and in order.
//
// # What is lost
//
// Logging never waits for a reader. One that is a whole ring of records behind loses the
// oldest, and is told how many: see [pubsub.LaggedError]. A reader that comes later gets
// what is still in the ring, if it asks for it, and if the process is still there.
//
// A record that cannot be published, because it is too large, because readers have borrowed
// all memory, or after Close, is dropped and counted: [Handler.Dropped]. Each further record
// says how many were dropped before it.
package logtopic

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// ContentType is what publishers of records say of their messages.
const ContentType = "application/json"

// Config is what can be set of a handler. A nil *Config, or 0, has the defaults. What is
// below 0 or too large is an error that matches os.ErrInvalid.
type Config struct {
	// Level is the least level that is logged; nil: slog.LevelInfo. It is asked for each
	// record.
	Level slog.Leveler

	// AddSource has each record say where in the source it was logged.
	AddSource bool

	// Program is what records say their program is; "": the last part of os.Args[0].
	Program string

	// Slots is how many records the ring has; 4096. SlotBytes is the size of each slot; 512:
	// records of up to SlotBytes - 16 bytes are in their slot, larger ones in the arena.
	// ArenaLimit is what that grows to; 256 MiB. A record can have half of it. See
	// pubsub.PublisherConfig.
	Slots, SlotBytes, ArenaLimit int
}

// Handler is a [slog.Handler] that writes to a topic. Any number of goroutines may use it,
// and those that were made of it by WithAttrs and WithGroup.
type Handler struct {
	topic  *topic
	attrs  []byte   // of WithAttrs, as they are in a record, in the groups that they are in
	open   int      // how many of these groups are not closed
	groups []string // of WithGroup that nothing is in yet
}

// topic is what all handlers that were made of one share.
type topic struct {
	level   slog.Leveler
	source  bool
	process []byte // what of each record says whose it is

	dropped atomic.Uint64 // changed with mu

	mu        sync.Mutex // of who publishes
	publisher *pubsub.Publisher
	closed    bool
}

// NewHandler makes a handler that publishes records to a topic. The errors are those of
// [pubsub.Publish].
func NewHandler(d *memlane.Domain, name string, c *Config) (*Handler, error) {
	if c == nil {
		c = &Config{}
	}
	or := func(n, usual int) int {
		if n == 0 {
			return usual
		}
		return n
	}
	p, err := pubsub.Publish(d, name, &pubsub.PublisherConfig{
		Policy:      pubsub.DropOldest,
		Slots:       or(c.Slots, 4096),
		SlotBytes:   or(c.SlotBytes, 512),
		ArenaLimit:  c.ArenaLimit,
		ContentType: ContentType,
	})
	if err != nil {
		return nil, err
	}
	t := &topic{level: c.Level, source: c.AddSource, publisher: p}
	if t.level == nil {
		t.level = slog.LevelInfo
	}
	program := c.Program
	if program == "" && len(os.Args) > 0 {
		program = filepath.Base(os.Args[0])
	}
	t.process = appendString([]byte(`,"program":`), program)
	t.process = strconv.AppendInt(append(t.process, `,"pid":`...), int64(os.Getpid()), 10)
	return &Handler{topic: t}, nil
}

// Close ends the topic's publisher; readers get what was logged before. Later records are
// dropped. Close it before the domain: a record that is being published while the domain
// is closed counts as dropped, though it may have been published. Closing it again does
// nothing.
func (h *Handler) Close() error {
	t := h.topic
	t.mu.Lock()
	t.closed = true // and nobody is just publishing
	t.mu.Unlock()
	return t.publisher.Close()
}

// Dropped returns how many records were not published. It may be called at any time.
func (h *Handler) Dropped() uint64 { return h.topic.dropped.Load() }

// Enabled says whether records of the level are logged.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.topic.level.Level()
}

// WithAttrs returns a handler whose records have these attributes too.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = with.appendAttrs(slices.Clip(h.attrs), attrs)
	if len(with.attrs) > len(h.attrs) {
		with.open, with.groups = h.open+len(h.groups), nil
	}
	return &with
}

// WithGroup returns a handler whose further attributes are in a group. With no name it is
// the same one.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.groups = append(slices.Clip(h.groups), name)
	return &with
}

// Handle publishes the record. An error says why it was dropped instead, and matches those
// of [pubsub.Publisher.Publish]. Whether the context has ended does not matter.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	buffer := buffers.Get().(*[]byte)
	// Outside of the lock: values may log themselves.
	b, err := h.topic.publish(h.appendRecord((*buffer)[:0], &r))
	if cap(b) <= bufferMost {
		*buffer = b
		buffers.Put(buffer)
	}
	if err != nil {
		return fmt.Errorf("logtopic: a record is dropped: %w", err)
	}
	return nil
}

// bufferMost is how large a record may be for its memory to be kept.
const bufferMost = 64 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 1024)
	return &b
}}

// publish ends the record that b is, publishes it, and returns its memory.
func (t *topic) publish(b []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Here it is certain which were dropped before. It is last, so that nothing in the
	// record can be taken for it.
	if n := t.dropped.Load(); n > 0 {
		b = strconv.AppendUint(append(b, `,"!dropped":`...), n, 10)
	}
	b = append(b, '}')
	err := error(pubsub.ErrClosed)
	if !t.closed {
		err = t.publisher.TryPublish(b)
	}
	if err != nil {
		t.dropped.Add(1)
	}
	return b, err
}

// appendRecord adds a record to b, but for its end.
func (h *Handler) appendRecord(b []byte, r *slog.Record) []byte {
	b = append(b, '{')
	if !r.Time.IsZero() {
		b = appendTime(append(b, `"time":`...), r.Time)
		b = append(b, ',')
	}
	b = append(b, `"level":`...)
	b = appendLevel(b, r.Level)
	b = append(b, h.topic.process...)
	if h.topic.source {
		b = appendSource(b, r)
	}
	b = appendString(append(b, `,"msg":`...), r.Message)
	b = append(b, h.attrs...)
	open := h.open
	if r.NumAttrs() > 0 {
		before := len(b)
		b = h.appendGroups(b)
		begin := len(b)
		r.Attrs(func(a slog.Attr) bool {
			b = appendAttr(b, a)
			return true
		})
		if len(b) > begin {
			open += len(h.groups)
		} else {
			b = b[:before]
		}
	}
	for range open {
		b = append(b, '}')
	}
	return b
}

// appendAttrs adds attributes, in the groups that nothing is in yet, which stay open. If
// there are none to be seen it adds nothing.
func (h *Handler) appendAttrs(b []byte, attrs []slog.Attr) []byte {
	before := len(b)
	b = h.appendGroups(b)
	begin := len(b)
	for _, a := range attrs {
		b = appendAttr(b, a)
	}
	if len(b) == begin {
		return b[:before]
	}
	return b
}

// appendGroups begins the groups that nothing is in yet.
func (h *Handler) appendGroups(b []byte) []byte {
	for _, name := range h.groups {
		b = append(appendKey(b, name), '{')
	}
	return b
}
