package pubsub

import (
	"context"
	"fmt"
	"iter"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/mmap"
)

// MessageOf is one message of a topic of values.
type MessageOf[T any] struct {
	// Value is a copy: it stays as it is.
	Value T
	// Publisher tells the publishers of a topic apart: no two have the same.
	Publisher uint64
	// Sequence is how many messages this publisher had published before.
	Sequence uint64
}

// SubscriberOf receives values of one type: see [PublisherOf]. Like a [Subscriber] it
// is for one goroutine at a time.
//
// Publishers of another type are refused. But one that publishes bytes and says
// nothing of their schema can send anything: a message of another size is an error
// that matches [ErrSchema], and receiving goes on.
type SubscriberOf[T any] struct {
	bytes *Subscriber
	value T      // of the message that is being received
	place []byte // its bytes
}

// SubscribeOf begins to receive a topic of values of a type: see [Subscribe]. The
// schema is that of schema.Of, unless the config has one.
func SubscribeOf[T any](d *memlane.Domain, topic string, c *SubscriberConfig) (*SubscriberOf[T], error) {
	var config SubscriberConfig
	if c != nil {
		config = *c
	}
	var err error
	if config.Schema, err = schemaOf[T]("subscribe to", topic, config.Schema); err != nil {
		return nil, err
	}
	s := &SubscriberOf[T]{}
	if s.place, err = mmap.BytesOf(&s.value); err != nil {
		return nil, &Error{"subscribe to", topic, err, ""}
	}
	if s.bytes, err = Subscribe(d, topic, &config); err != nil {
		return nil, err
	}
	return s, nil
}

// Topic returns the topic's name.
func (s *SubscriberOf[T]) Topic() string { return s.bytes.Topic() }

// Receive returns the next message, and waits for it: see [Subscriber.Receive].
func (s *SubscriberOf[T]) Receive(ctx context.Context) (MessageOf[T], error) {
	m, err := s.bytes.Receive(ctx)
	if err != nil {
		return MessageOf[T]{}, err
	}
	return s.copied(m)
}

// TryReceive returns the next message, or [ErrEmpty], exactly that value, if there is
// none.
func (s *SubscriberOf[T]) TryReceive() (MessageOf[T], error) {
	m, err := s.bytes.TryReceive()
	if err != nil {
		return MessageOf[T]{}, err
	}
	return s.copied(m)
}

// ReceiveBatch calls fn with messages until there is none, or fn returns false: see
// [Subscriber.ReceiveBatch].
func (s *SubscriberOf[T]) ReceiveBatch(ctx context.Context, fn func(MessageOf[T]) bool) (int, error) {
	m, err := s.Receive(ctx)
	for n := 0; ; n++ {
		switch {
		case n > 0 && err == ErrEmpty:
			return n, nil
		case err != nil:
			return n, err
		case !fn(m) || ctx.Err() != nil:
			return n + 1, nil
		}
		m, err = s.TryReceive()
	}
}

// All returns the messages as they come: see [Subscriber.All].
func (s *SubscriberOf[T]) All(ctx context.Context) iter.Seq2[MessageOf[T], error] {
	return func(yield func(MessageOf[T], error) bool) {
		for b, err := range s.bytes.All(ctx) {
			var m MessageOf[T]
			if err == nil {
				m, err = s.copied(b)
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// copied returns the message that a message of bytes is.
func (s *SubscriberOf[T]) copied(m Message) (MessageOf[T], error) {
	if len(m.Data) != len(s.place) {
		return MessageOf[T]{}, s.mismatch(m)
	}
	copy(s.place, m.Data)
	return MessageOf[T]{s.value, m.Publisher, m.Sequence}, nil
}

func (s *SubscriberOf[T]) mismatch(m Message) error {
	return s.bytes.explain(fmt.Errorf("%w: message %d of publisher %016x has %d bytes, and a %T %d",
		ErrSchema, m.Sequence, m.Publisher, len(m.Data), s.value, len(s.place)))
}

// BorrowedOf is a message that is read in place: see [Borrowed], and what it says of
// memory that is somebody else's.
type BorrowedOf[T any] struct {
	// Value is good until Release. It is only to be read.
	Value *T
	// Publisher and Sequence are those of a [MessageOf].
	Publisher, Sequence uint64

	bytes Borrowed
}

// Release gives the memory back: Value must not be touched any more. Any goroutine may
// call it. Releasing again does nothing.
func (b *BorrowedOf[T]) Release() {
	b.bytes.Release()
	*b = BorrowedOf[T]{}
}

// Borrow is Receive that does not copy values which are in the publisher's arena; small
// ones it copies: see [Subscriber.Borrow].
func (s *SubscriberOf[T]) Borrow(ctx context.Context) (BorrowedOf[T], error) {
	b, err := s.bytes.Borrow(ctx)
	if err != nil {
		return BorrowedOf[T]{}, err
	}
	return s.viewed(b)
}

// TryBorrow is Borrow that returns [ErrEmpty], exactly that value, if there is no
// message.
func (s *SubscriberOf[T]) TryBorrow() (BorrowedOf[T], error) {
	b, err := s.bytes.TryBorrow()
	if err != nil {
		return BorrowedOf[T]{}, err
	}
	return s.viewed(b)
}

// viewed returns the value that borrowed bytes are.
func (s *SubscriberOf[T]) viewed(b Borrowed) (BorrowedOf[T], error) {
	if len(b.Data) != len(s.place) {
		err := s.mismatch(b.Message)
		b.Release()
		return BorrowedOf[T]{}, err
	}
	value, err := mmap.ViewBytes[T](b.Data)
	if err != nil {
		b.Release()
		return BorrowedOf[T]{}, s.bytes.explain(fmt.Errorf("%w: %w", ErrSchema, err))
	}
	return BorrowedOf[T]{value, b.Publisher, b.Sequence, b}, nil
}

// Publishers returns how many publishers are received from: see
// [Subscriber.Publishers].
func (s *SubscriberOf[T]) Publishers() int { return s.bytes.Publishers() }

// Changes returns a channel that is closed when a publisher next comes or goes: see
// [Subscriber.Changes].
func (s *SubscriberOf[T]) Changes() <-chan struct{} { return s.bytes.Changes() }

// Stats returns what the subscriber has done so far: see [Subscriber.Stats].
func (s *SubscriberOf[T]) Stats() SubscriberStats { return s.bytes.Stats() }

// Close ends the subscriber: see [Subscriber.Close].
func (s *SubscriberOf[T]) Close() error { return s.bytes.Close() }
