package pubsub

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/schema"
)

// PublisherConfig is what can be set of a publisher. A nil *PublisherConfig, or 0,
// has the defaults. What is below 0 or too large is an error that matches
// os.ErrInvalid, and says what the limit is.
type PublisherConfig struct {
	// Policy is what happens when a subscriber is a whole ring behind; by default
	// the oldest messages are dropped, for it alone.
	Policy Policy

	// Slots is how many messages the ring has, or batches; 1024. SlotBytes is the size
	// of each slot; 128. Messages of up to SlotBytes - 16 bytes are in their slot,
	// and travel with it; larger ones are in the arena. Both are rounded up to powers
	// of two.
	Slots, SlotBytes int

	// ArenaBytes is how large the arena is at first; 64 KiB. ArenaLimit is what it grows to
	// if that is needed; 256 MiB. Both are rounded up to powers of two. A message, or a
	// batch, can have half of the limit; and each subscriber can borrow an eighth of it at
	// once, so that larger messages are only received as copies.
	ArenaBytes, ArenaLimit int

	// Schema, or ContentType, says what the messages are. A subscriber that wants
	// others is refused; one that does not say what it wants gets all, and who says
	// nothing refuses nobody. So a publisher that says nothing is received from by all.
	//
	// Schema is how values lie in memory: see package schema. [PublishOf] sets it; one
	// that is given to it may have other names of fields than the type.
	Schema *schema.Schema

	// ContentType is a media type, such as
	//
	//	application/json
	//	application/protobuf; message=shop.Order
	//
	// of at most 1000 bytes. Those that differ in case, spaces, or the order of
	// parameters, are the same.
	ContentType string
}

func (c *PublisherConfig) ring() ring.Config {
	or := func(n, usual, least int) int {
		if n == 0 {
			n = usual
		}
		return powerOfTwo(max(n, least))
	}
	r := ring.Config{
		Slots:      or(c.Slots, 1024, ring.SlotsLeast),
		SlotBytes:  or(c.SlotBytes, 128, ring.SlotBytesLeast),
		ArenaBytes: or(c.ArenaBytes, 64<<10, ring.ArenaLeast),
		ArenaLimit: c.ArenaLimit,
		Policy:     ring.Policy(c.Policy),
	}
	if r.ArenaLimit == 0 {
		r.ArenaLimit = min(max(256<<20, 4*r.ArenaBytes), maxArena)
	}
	// It grows in powers of two, so that with another limit there would be a rest in the end
	// that no large message fits into.
	if r.ArenaLimit > r.ArenaBytes {
		r.ArenaLimit = powerOfTwo(r.ArenaLimit)
	}
	if r.Policy == 0 {
		r.Policy = ring.DropOldest
	}
	return r
}

func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// Publisher publishes the messages of a topic. It is for one goroutine at a time;
// [Publisher.Locked] is for several. Close may be called at any time.
type Publisher struct {
	domain *domain.Domain
	topic  string
	format ring.Format
	port   *meet.Port
	memory *memory.Memory
	writer *ring.Writer
	limit  int     // of the arena
	loans  tickets // of the publishing goroutine
	leaks  *leaks

	turns sync.Mutex // of those who share it: see Locked

	mu      sync.Mutex // taken after the writer's
	closed  bool
	chunks  []*memory.Memory // further ones of the arena; index i+1
	pending *pending         // one that not all know of yet
	peers   map[*meet.Remote]*peer
	parted  []*memory.Memory        // of peers that were lost because it was closed
	refused map[*meet.Remote]string // and why
	changed chan struct{}           // closed when somebody joins or leaves
	timing  bool                    // time is called now and then
}

// peer is a subscriber.
type peer struct {
	remote *meet.Remote
	member *ring.Member
	memory *memory.Memory // of its control segment
	slow   slowness
}

// pending is a chunk of the arena that was made, and is being announced.
type pending struct {
	memory *memory.Memory
	told   map[*meet.Remote]bool
}

// Publish begins to publish a topic, whose name has 1 to 200 bytes of UTF-8 without
// control characters. There may be several publishers of a topic: the messages of
// each are in order.
//
// When it returns, all subscribers that were there have been told, but for those that did
// not answer within 100 ms because they are stopped, or, though they are not, within a
// second; see [Publisher.WaitSubscribers].
func Publish(d *memlane.Domain, topic string, c *PublisherConfig) (*Publisher, error) {
	if c == nil {
		c = &PublisherConfig{}
	}
	fail := func(err error, fix string) (*Publisher, error) {
		limit, err := meet.Limited(err)
		return nil, &Error{"publish", topic, err, cmp.Or(limit, fix)}
	}
	rc, err := c.check()
	if err != nil {
		return fail(err, "see PublisherConfig")
	}
	m, err := memory.Create("memlane topic", rc.Bytes())
	if err != nil {
		return fail(err, "")
	}
	p := &Publisher{domain: domain.Of(d), topic: topic, format: rc.Format, memory: m, limit: rc.ArenaLimit, leaks: newLeaks(domain.Of(d)),
		peers: map[*meet.Remote]*peer{}, refused: map[*meet.Remote]string{}, changed: make(chan struct{})}
	if p.writer, err = ring.NewWriter(m.Region(), &rc, granter{p}); err != nil {
		m.Close()
		return fail(err, "")
	}
	p.port = &meet.Port{Kind: meet.Topic, Name: topic, Role: meet.Publisher, Handler: granter{p},
		Settings: settingsOf(rc.Policy, rc.Format).encode()}
	if err = p.domain.Own(p); err == nil {
		err = p.domain.Add(p.port)
	}
	if err != nil {
		p.domain.Disown(p)
		m.Close()
		return fail(err, "")
	}
	return p, nil
}

// Topic returns the topic's name.
func (p *Publisher) Topic() string { return p.topic }

// Publish publishes a copy of the message. Under [Block] it waits for a subscriber
// that is a whole ring behind, until the context ends; otherwise it never waits. With a
// context that has ended it publishes nothing, and returns that error.
//
// After an error the message was not published; only with one that matches
// [ErrClosed] it may have been. Errors match [ErrTooLarge], [ErrArenaFull], ErrClosed,
// and the context's cause.
func (p *Publisher) Publish(ctx context.Context, message []byte) error {
	if err := cause(ctx); err != nil {
		return p.explain(err)
	}
	return p.explain(p.writer.Publish(ctx, message))
}

// TryPublish is [Publisher.Publish] that does not wait, and returns an error that
// matches [ErrFull] instead.
func (p *Publisher) TryPublish(message []byte) error {
	return p.explain(p.writer.TryPublish(message))
}

// PublishBatch publishes copies of several messages at once: every subscriber gets
// all of them, one after the other, or none. It is much faster than one by one. Only of
// a batch of more than 64 KiB a subscriber can lose the rest, and is told so, if the
// connection is lost in its middle, or 128 others leave between two of its calls.
func (p *Publisher) PublishBatch(ctx context.Context, messages [][]byte) error {
	if err := cause(ctx); err != nil {
		return p.explain(err)
	}
	return p.explain(p.writer.PublishBatch(ctx, messages))
}

// TryPublishBatch is [Publisher.PublishBatch] that does not wait.
func (p *Publisher) TryPublishBatch(messages [][]byte) error {
	return p.explain(p.writer.TryPublishBatch(messages))
}

// explain gives an error its operation and object. Nil stays nil, at no cost.
func (p *Publisher) explain(err error) error {
	if err == nil {
		return nil
	}
	return p.explained("publish", err)
}

func (p *Publisher) explained(op string, err error) error {
	fix := ""
	switch {
	case errors.Is(err, ErrTooLarge):
		fix = "make PublisherConfig.ArenaLimit twice as large as the message, or the message smaller"
	case errors.Is(err, ErrArenaFull):
		fix = "publish or discard loans; have subscribers release what they borrow; make PublisherConfig.ArenaLimit larger"
	case errors.Is(err, ErrFull):
		fix = "try again later, or wait with Publish"
	default:
		fix, err = meet.Limited(err)
	}
	return &Error{op, p.topic, err, fix}
}

// Subscribers returns how many there are, those that peek too.
func (p *Publisher) Subscribers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.peers)
}

// WaitSubscribers waits until there are at least n subscribers: what is published
// then, they get. Those that only look on, with SubscriberConfig.Peek, do not count. If
// the context ends before, the error matches its cause, and [ErrRefused] if some are
// there but were refused, with the reason.
func (p *Publisher) WaitSubscribers(ctx context.Context, n int) error {
	if cause(ctx) != nil {
		return p.missing(ctx, n)
	}
	for {
		p.mu.Lock()
		have, changed, closed := p.count(), p.changed, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return &Error{"wait for subscribers of", p.topic, ErrClosed, ""}
		case have >= n:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p.missing(ctx, n)
		}
	}
}

// count returns how many subscribers there are that do not peek. The caller holds mu.
func (p *Publisher) count() int {
	n := 0
	for _, peer := range p.peers {
		if peer.member.Gates() {
			n++
		}
	}
	return n
}

func (p *Publisher) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// notify lets WaitSubscribers look again. The caller holds mu.
func (p *Publisher) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close ends the publisher. Subscribers get what was published before. A call in
// flight ends with an error that matches [ErrClosed]; loans must not be touched any
// more. Closing it again does nothing.
func (p *Publisher) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.notify()
	p.mu.Unlock()
	p.writer.Close()
	err := p.domain.Remove(p.port)
	p.domain.Disown(p)
	// Nobody of meet's calls us any more.
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := []error{err, p.memory.Close()}
	for _, c := range p.chunks {
		errs = append(errs, c.Close())
	}
	if p.pending != nil {
		errs = append(errs, p.pending.memory.Close())
	}
	// Only now, when a call in flight cannot overwrite anything any more.
	for _, m := range p.parted {
		errs = append(errs, m.Close())
	}
	p.parted = nil
	if err := errors.Join(errs...); err != nil {
		return &Error{"close the publisher of", p.topic, err, ""}
	}
	if err := p.leaks.err("loans"); err != nil {
		return &Error{"close the publisher of", p.topic, err, "publish or discard each loan before"}
	}
	return nil
}
