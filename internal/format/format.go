// Package format is what is said of a topic's messages: that they are values with a
// schema, or have a content type, or nothing (layer L5). It compares what the two sides
// say, and takes apart what others have written.
package format

import (
	"errors"
	"fmt"
	"mime"
	"os"
	"strings"

	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/schema"
)

// contentTypeMost is how many bytes a content type has at most.
const contentTypeMost = 1000

// Of returns the format of who has a schema or a content type, or neither. What is wrong
// with them matches os.ErrInvalid.
func Of(s *schema.Schema, contentType string) (ring.Format, error) {
	switch {
	case s != nil && contentType != "":
		return ring.Format{}, fmt.Errorf("%w: a Schema, which values of a type always have, and the ContentType %.100q; want one of them", os.ErrInvalid, contentType)
	case s != nil:
		return ring.Format{Kind: ring.FormatSchema, Text: s.String()}, nil
	case contentType == "":
		return ring.Format{}, nil
	}
	text, err := mediaType(contentType)
	if err != nil {
		return ring.Format{}, fmt.Errorf("%w: ContentType %w", os.ErrInvalid, err)
	}
	return ring.Format{Kind: ring.FormatContentType, Text: text}, nil
}

// mediaType returns the one way in which a content type is written, of those that mean
// the same: as for letters' case, spaces, and the order of parameters.
func mediaType(s string) (string, error) {
	if len(s) > contentTypeMost {
		return "", fmt.Errorf("has %d bytes; want at most %d", len(s), contentTypeMost)
	}
	base, params, err := mime.ParseMediaType(s)
	if err == nil && !strings.Contains(base, "/") {
		err = errors.New("no subtype")
	}
	if err != nil {
		return "", fmt.Errorf("is %.100q; want a media type, such as application/json: %w", s, err)
	}
	text := mime.FormatMediaType(base, params)
	if text == "" || len(text) > contentTypeMost {
		return "", fmt.Errorf("is %.100q; want one of at most %d bytes when it is written in full", s, contentTypeMost)
	}
	return text, nil
}

// reasonMost is about how long the reason of a refusal is at most: it goes into one
// message, of 3 KiB.
const reasonMost = 2000

// Difference returns why a subscriber whose format has another hash does not suit the
// publisher's; "" if it does, because it is another text for the same. The subscriber's
// text is what it likes, or missing.
func Difference(publisher, subscriber ring.Format) string {
	if publisher.Kind == ring.FormatSchema && subscriber.Kind == ring.FormatSchema {
		here, err := schema.Parse([]byte(publisher.Text))
		there, theirs := schema.Parse([]byte(subscriber.Text))
		if err = errors.Join(err, theirs); err == nil {
			return sentence(schema.Differences(here, there))
		}
	}
	has, wants := name(publisher), name(subscriber)
	if has == wants && publisher.Kind == ring.FormatContentType {
		return ""
	}
	return fmt.Sprintf("the publisher's messages are %s, and the subscriber wants %s", has, wants)
}

// sentence says in one what is different between a publisher's schema and a subscriber's.
func sentence(differences []schema.Difference) string {
	has := func(what string) string {
		if what == "" {
			return "none"
		}
		return fmt.Sprintf("%.100s", what)
	}
	var b strings.Builder
	for i, d := range differences {
		field := "the whole"
		if d.Field != "" {
			field = fmt.Sprintf("field %.300s", d.Field)
		}
		part := fmt.Sprintf("%s: the publisher has %s, the subscriber %s", field, has(d.A), has(d.B))
		if i > 0 {
			if b.Len()+len(part) > reasonMost {
				fmt.Fprintf(&b, "; and %d more differences", len(differences)-i)
				break
			}
			b.WriteString("; ")
		}
		b.WriteString(part)
	}
	return b.String()
}

// name returns in a few words what a format is; the same for two that are the same.
func name(f ring.Format) string {
	if f.Text == "" {
		return "another format, which it does not show"
	}
	if f.Kind == ring.FormatContentType {
		text, err := mediaType(f.Text)
		if err != nil {
			return "a content type that cannot be read"
		}
		return text
	}
	s, err := schema.Parse([]byte(f.Text))
	if err != nil {
		return fmt.Sprintf("values of a schema that cannot be read (%.300v)", err)
	}
	return fmt.Sprintf("values of %d bytes (schema %s)", s.Size(), s.ID())
}

// Decode returns what a format says that somebody else has written: a schema, or a content
// type; neither if it says nothing that can be read.
func Decode(f ring.Format) (*schema.Schema, string) {
	switch f.Kind {
	case ring.FormatSchema:
		if s, err := schema.Parse([]byte(f.Text)); err == nil {
			return s, ""
		}
	case ring.FormatContentType:
		if text, err := mediaType(f.Text); err == nil {
			return nil, text
		}
	}
	return nil, ""
}
