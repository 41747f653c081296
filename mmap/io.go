package mmap

import (
	"fmt"
	"io"
)

var (
	_ io.ReaderAt = (*Mapping)(nil)
	_ io.WriterAt = (*Mapping)(nil)
	_ io.Closer   = (*Mapping)(nil)
)

// ReadAt copies bytes out of the mapping, as io.ReaderAt describes: at the end
// of the mapping it returns what there is and io.EOF. A fault becomes a
// [*FaultError]; what p holds is then undefined, and n is 0.
func (m *Mapping) ReadAt(p []byte, off int64) (n int, err error) {
	err = m.view("read", func(b []byte) error {
		if off < 0 {
			return &Error{"read", m.name, fmt.Errorf("%w %d", ErrOffset, off), "offsets begin at 0"}
		}
		if off < int64(len(b)) {
			n = copy(p, b[off:])
		}
		if n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

// WriteAt copies bytes into the mapping, as io.WriterAt describes. What does
// not fit is not written at all: then n is 0 and the error matches ErrRange. A
// fault becomes a [*FaultError]; how much of p was stored is then unknown, and
// n is 0.
func (m *Mapping) WriteAt(p []byte, off int64) (n int, err error) {
	err = m.view("write", func(b []byte) error {
		if off < 0 {
			return &Error{"write", m.name, fmt.Errorf("%w %d", ErrOffset, off), "offsets begin at 0"}
		}
		if off > int64(len(b)) || len(p) > len(b)-int(off) {
			return &Error{"write", m.name, fmt.Errorf("%w: %d bytes at offset %d of %d", ErrRange, len(p), off, len(b)), "write less, or Grow the mapping first"}
		}
		n = copy(b[off:], p)
		return nil
	})
	return n, err
}
