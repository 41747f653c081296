package pubsub

import (
	"fmt"
	"os"

	"github.com/memlane/memlane/internal/format"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/schema"
)

// What the messages are: a schema, a content type, or nothing that was said. Both sides
// tell each other the hash; the text of a publisher's is in its segment, where who only
// looks finds it too, and that of a subscriber's comes with its link, if the hashes differ.

// schemaOf returns the schema for values of a type: the given one, which may have other
// names, if there is one.
func schemaOf[T any](op, topic string, given *schema.Schema) (*schema.Schema, error) {
	fail := func(err error, fix string) (*schema.Schema, error) { return nil, &Error{op, topic, err, fix} }
	if err := mmap.CheckType[T](); err != nil {
		return fail(err, "use integers, floats, arrays and structs of them; a byte instead of a bool")
	}
	s, err := schema.Of[T]()
	switch {
	case given != nil && s != nil && given.Size() != s.Size():
		return fail(fmt.Errorf("%w: Schema is of %d bytes, and a %T has %d", os.ErrInvalid, given.Size(), *new(T), s.Size()), "give none, or that of the type with other names")
	case given != nil:
		return given, nil
	case err != nil:
		return fail(err, "use shorter names, or arrays; or give bytes a ContentType")
	}
	return s, nil
}

// textMemory returns memory that has a text, to be sent.
func textMemory(text string) (*memory.Memory, error) {
	m, err := memory.Create("memlane format", len(text))
	if err == nil {
		copy(m.Region().Bytes(0, len(text)), text)
	}
	return m, err
}

// textOf returns the text that another process has in memory.
func textOf(f *os.File) (string, error) {
	m, err := memory.Open(f, ring.FormatMost)
	if err != nil {
		return "", err
	}
	defer m.Close()
	return string(m.Region().Bytes(0, m.Region().Len())), nil
}

// Format returns what a publisher says of its messages, whose Publisher is that number: a
// schema, by which they can be decoded, or a content type, or neither. It is the publisher's
// word; no message need keep to it. Format may be called at any time, and knows a publisher
// until the call after that for its last message.
func (s *Subscriber) Format(publisher uint64) (values *schema.Schema, contentType string) {
	for _, src := range *s.sources.Load() {
		if src.id != publisher {
			continue
		}
		if v, err := ring.NewView(src.memory.Region()); err == nil {
			if f, err := v.Format(); err == nil {
				return format.Decode(f)
			}
		}
	}
	return nil, ""
}
