package ring

import (
	"fmt"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
)

// Format is what a writer says of its messages.
type Format struct {
	Kind FormatKind
	Text string // 1 to FormatMost bytes, or none of FormatNone
}

// FormatKind is what the text of a [Format] is.
type FormatKind uint32

// The kinds of formats.
const (
	// FormatNone says nothing.
	FormatNone FormatKind = layout.FormatNone
	// FormatSchema is a schema, as package schema has it.
	FormatSchema FormatKind = layout.FormatSchema
	// FormatContentType is a media type.
	FormatContentType FormatKind = layout.FormatContentType
)

// FormatMost is how many bytes a text has at most.
const FormatMost = layout.FormatMost

// write writes it into a ring's memory, which is all zero: the text at an offset.
func (f Format) write(r *region.Region, at int) {
	if f.Kind == FormatNone {
		return
	}
	r.Uint32(layout.TopicFormatKindAt).Store(uint32(f.Kind))
	r.Uint32(layout.TopicFormatBytesAt).Store(uint32(len(f.Text)))
	copy(r.Bytes(at, len(f.Text)), f.Text)
}

// Format returns what the writer says of its messages. Errors match [ErrCorrupt].
func (v *View) Format() (Format, error) {
	kind := FormatKind(v.region.Uint32(layout.TopicFormatKindAt).Load())
	n, at := v.region.Uint32(layout.TopicFormatBytesAt).Load(), v.config.Bytes()
	switch {
	case kind == FormatNone && n == 0:
		return Format{}, nil
	case kind < FormatSchema || kind > FormatContentType || n < 1 || n > FormatMost || !v.region.Has(at, int(n), 1):
		return Format{}, fmt.Errorf("%w: a format of kind %d, of %d bytes", ErrCorrupt, kind, n)
	}
	return Format{kind, string(v.region.Bytes(at, int(n)))}, nil
}
