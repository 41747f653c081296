package pubsub

import (
	"context"
	"reflect"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/mmap"
)

// PublisherOf publishes values of one type, which lie in memory as they do in a Go
// program, and nothing else. T may be built from integers, floats, complex numbers,
// arrays and structs. Types with pointers are refused, and so is bool, because another
// process can store a byte that is neither true nor false: use a byte. The error
// names the field, and matches mmap.ErrType.
//
// Like a [Publisher] it is for one goroutine at a time.
type PublisherOf[T any] struct {
	bytes *Publisher
	views [][]byte // of the values of a batch
}

// PublishOf begins to publish a topic of values of a type: see [Publish]. The schema
// is that of schema.Of, and has its limits, unless the config has one.
func PublishOf[T any](d *memlane.Domain, topic string, c *PublisherConfig) (*PublisherOf[T], error) {
	var config PublisherConfig
	if c != nil {
		config = *c
	}
	var err error
	if config.Schema, err = schemaOf[T]("publish", topic, config.Schema); err != nil {
		return nil, err
	}
	p, err := Publish(d, topic, &config)
	if err != nil {
		return nil, err
	}
	return &PublisherOf[T]{bytes: p}, nil
}

// Topic returns the topic's name.
func (p *PublisherOf[T]) Topic() string { return p.bytes.Topic() }

// Publish publishes a copy of the value: see [Publisher.Publish]. If value is nil the
// error matches os.ErrInvalid.
func (p *PublisherOf[T]) Publish(ctx context.Context, value *T) error {
	b, err := mmap.BytesOf(value)
	if err != nil {
		return p.bytes.explain(err)
	}
	return p.bytes.Publish(ctx, b)
}

// TryPublish is Publish that does not wait: see [Publisher.TryPublish].
func (p *PublisherOf[T]) TryPublish(value *T) error {
	b, err := mmap.BytesOf(value)
	if err != nil {
		return p.bytes.explain(err)
	}
	return p.bytes.TryPublish(b)
}

// PublishBatch publishes copies of several values at once, all or none: see
// [Publisher.PublishBatch].
func (p *PublisherOf[T]) PublishBatch(ctx context.Context, values []T) error {
	defer p.forget()
	if err := p.view(values); err != nil {
		return err
	}
	return p.bytes.PublishBatch(ctx, p.views)
}

// TryPublishBatch is PublishBatch that does not wait: see [Publisher.TryPublishBatch].
func (p *PublisherOf[T]) TryPublishBatch(values []T) error {
	defer p.forget()
	if err := p.view(values); err != nil {
		return err
	}
	return p.bytes.TryPublishBatch(p.views)
}

// view has views be the bytes of the values, until forget.
func (p *PublisherOf[T]) view(values []T) error {
	for i := range values {
		b, err := mmap.BytesOf(&values[i])
		if err != nil {
			return p.bytes.explain(err)
		}
		p.views = append(p.views, b)
	}
	return nil
}

// forget lets the garbage collector have the values of a batch.
func (p *PublisherOf[T]) forget() {
	clear(p.views)
	p.views = p.views[:0]
}

// Subscribers returns how many there are.
func (p *PublisherOf[T]) Subscribers() int { return p.bytes.Subscribers() }

// WaitSubscribers waits until there are at least n subscribers: see
// [Publisher.WaitSubscribers].
func (p *PublisherOf[T]) WaitSubscribers(ctx context.Context, n int) error {
	return p.bytes.WaitSubscribers(ctx, n)
}

// Stats returns what the publisher has done so far: see [Publisher.Stats].
func (p *PublisherOf[T]) Stats() PublisherStats { return p.bytes.Stats() }

// Close ends the publisher: see [Publisher.Close].
func (p *PublisherOf[T]) Close() error { return p.bytes.Close() }

// LoanOf is a value in memory that subscribers will read in place. Copies of it are the
// same loan: see [Loan].
type LoanOf[T any] struct {
	bytes Loan
	value *T
}

// Loan takes memory for one value, to be filled in and published without a copy. It
// is not cleared, and may have an old message: set every field. There can be several
// loans; each is published or discarded, by the publisher's goroutine.
func (p *PublisherOf[T]) Loan(ctx context.Context) (LoanOf[T], error) {
	b, err := p.bytes.Loan(ctx, int(reflect.TypeFor[T]().Size()))
	if err != nil {
		return LoanOf[T]{}, err
	}
	value, err := mmap.ViewBytes[T](b.Bytes())
	if err != nil {
		b.Discard()
		return LoanOf[T]{}, p.bytes.explain(err)
	}
	return LoanOf[T]{b, value}, nil
}

// Value returns the value, which lies in shared memory, until the loan is published or
// discarded by this handle: after that it is nil. A copy of the handle still has it, and
// so has everybody when the publisher was closed: it must not be touched any more then.
func (l *LoanOf[T]) Value() *T { return l.value }

// Publish publishes the value. It waits as [Publisher.Publish] does. After an error
// other than [ErrClosed] the loan can still be published, or discarded.
func (l *LoanOf[T]) Publish(ctx context.Context) error {
	err := l.bytes.Publish(ctx, len(l.bytes.Bytes()))
	if len(l.bytes.Bytes()) == 0 {
		l.value = nil // the loan has ended
	}
	return err
}

// Discard gives the memory back, unpublished. Discarding a loan that was published
// does nothing.
func (l *LoanOf[T]) Discard() {
	l.bytes.Discard()
	l.value = nil
}

// Locked returns a publisher of the same values that any number of goroutines may use
// at once: see [Publisher.Locked].
func (p *PublisherOf[T]) Locked() *LockedPublisherOf[T] { return &LockedPublisherOf[T]{p: p} }

// LockedPublisherOf is a publisher of values that several goroutines share. One that
// waits for room keeps the others waiting too.
type LockedPublisherOf[T any] struct{ p *PublisherOf[T] }

// Publish is [PublisherOf.Publish].
func (l *LockedPublisherOf[T]) Publish(ctx context.Context, value *T) error {
	l.p.bytes.turns.Lock()
	defer l.p.bytes.turns.Unlock()
	return l.p.Publish(ctx, value)
}

// TryPublish is [PublisherOf.TryPublish].
func (l *LockedPublisherOf[T]) TryPublish(value *T) error {
	l.p.bytes.turns.Lock()
	defer l.p.bytes.turns.Unlock()
	return l.p.TryPublish(value)
}

// PublishBatch is [PublisherOf.PublishBatch].
func (l *LockedPublisherOf[T]) PublishBatch(ctx context.Context, values []T) error {
	l.p.bytes.turns.Lock()
	defer l.p.bytes.turns.Unlock()
	return l.p.PublishBatch(ctx, values)
}

// TryPublishBatch is [PublisherOf.TryPublishBatch].
func (l *LockedPublisherOf[T]) TryPublishBatch(values []T) error {
	l.p.bytes.turns.Lock()
	defer l.p.bytes.turns.Unlock()
	return l.p.TryPublishBatch(values)
}

// Close closes the publisher.
func (l *LockedPublisherOf[T]) Close() error { return l.p.Close() }
