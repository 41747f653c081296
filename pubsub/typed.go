package pubsub

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"reflect"
	"strings"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/mmap"
)

// PublisherOf publishes values of one type, which lie in memory as they do in a Go program.
// T may be built from integers, floats, complex numbers, arrays and structs. Types
// with pointers are refused, and so is bool, because another process can store a
// byte that is neither true nor false: use a byte. The error names the field, and
// matches mmap.ErrType.
type PublisherOf[T any] struct{ *Publisher }

// PublishOf begins to publish a topic of values of a type. The schema is that of
// [SchemaOf], unless the config has one.
func PublishOf[T any](d *memlane.Domain, topic string, c *PublisherConfig) (*PublisherOf[T], error) {
	if err := mmap.CheckType[T](); err != nil {
		return nil, &Error{"publish", topic, err, "use integers, floats, arrays and structs of them; a byte instead of a bool"}
	}
	if c == nil {
		c = &PublisherConfig{}
	}
	config := *c
	if config.Schema == "" {
		config.Schema = SchemaOf[T]()
	}
	p, err := Publish(d, topic, &config)
	if err != nil {
		return nil, err
	}
	return &PublisherOf[T]{p}, nil
}

// Publish publishes a copy of the value: see [Publisher.Publish].
func (p *PublisherOf[T]) Publish(ctx context.Context, v *T) error {
	b, err := mmap.BytesOf(v)
	if err != nil {
		return p.explain(err)
	}
	return p.Publisher.Publish(ctx, b)
}

// TryPublish publishes a copy of the value: see [Publisher.TryPublish].
func (p *PublisherOf[T]) TryPublish(v *T) error {
	b, err := mmap.BytesOf(v)
	if err != nil {
		return p.explain(err)
	}
	return p.Publisher.TryPublish(b)
}

// SubscriberOf receives values of one type: see [PublisherOf].
type SubscriberOf[T any] struct{ *Subscriber }

// SubscribeOf begins to receive a topic of values of a type. The schema is that of
// [SchemaOf], unless the config has one.
func SubscribeOf[T any](d *memlane.Domain, topic string, c *SubscriberConfig) (*SubscriberOf[T], error) {
	if err := mmap.CheckType[T](); err != nil {
		return nil, &Error{"subscribe to", topic, err, "use integers, floats, arrays and structs of them; a byte instead of a bool"}
	}
	if c == nil {
		c = &SubscriberConfig{}
	}
	config := *c
	if config.Schema == "" {
		config.Schema = SchemaOf[T]()
	}
	s, err := Subscribe(d, topic, &config)
	if err != nil {
		return nil, err
	}
	return &SubscriberOf[T]{s}, nil
}

// Receive receives a copy of the next value: see [Subscriber.Receive]. A message of
// another size is an error, and receiving goes on.
func (s *SubscriberOf[T]) Receive(ctx context.Context) (v T, err error) {
	m, err := s.Subscriber.Receive(ctx)
	if err != nil {
		return v, err
	}
	return v, s.copy(&v, m)
}

// TryReceive receives a copy of the next value: see [Subscriber.TryReceive].
func (s *SubscriberOf[T]) TryReceive() (v T, err error) {
	m, err := s.Subscriber.TryReceive()
	if err != nil {
		return v, err
	}
	return v, s.copy(&v, m)
}

func (s *SubscriberOf[T]) copy(v *T, m Message) error {
	b, err := mmap.BytesOf(v)
	if err == nil && len(b) != len(m.Data) {
		err = fmt.Errorf("%w: a message of %d bytes instead of %d", ErrSchema, len(m.Data), len(b))
	}
	if err != nil {
		return s.explain(err)
	}
	copy(b, m.Data)
	return nil
}

// All returns the values as they come: see [Subscriber.All].
func (s *SubscriberOf[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for m, err := range s.Subscriber.All(ctx) {
			var v T
			if err == nil {
				err = s.copy(&v, m)
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// SchemaOf describes how a value of the type lies in memory: the names of its fields,
// their types, and where each begins; of a very long one, the beginning and a hash.
func SchemaOf[T any]() string {
	var b strings.Builder
	describe(&b, reflect.TypeFor[T]())
	if b.Len() > maxSchema {
		sum := sha256.Sum256([]byte(b.String()))
		return fmt.Sprintf("%.900s... %x", b.String(), sum)
	}
	return b.String()
}

func describe(b *strings.Builder, t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		fmt.Fprintf(b, "%d{", t.Size())
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(b, "%s@%d:", f.Name, f.Offset)
			describe(b, f.Type)
			b.WriteByte(';')
		}
		b.WriteByte('}')
	case reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		describe(b, t.Elem())
	default:
		b.WriteString(t.Kind().String())
	}
}
