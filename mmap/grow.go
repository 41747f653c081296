package mmap

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// Grow makes the mapping length bytes long. The file must be that long already:
// Truncate it first, then Grow; otherwise Grow fails with ErrBeyondEOF, unless
// the mapping was made with Config.BeyondEOF. Shared anonymous memory cannot
// grow.
//
// The mapping grows in place if the addresses behind it are free. Otherwise it
// moves, and every slice and typed view taken before is dead; if views or calls
// are in flight then, Grow fails with ErrInUse and changes nothing. To be
// independent of where it lies, take [Mapping.Bytes] again after Grow, or use
// [Mapping.View].
func (m *Mapping) Grow(length int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error, fix string) error { return &Error{"grow", m.name, err, fix} }
	switch {
	case m.closed:
		return fail(ErrClosed, "map it again")
	case length < len(m.data):
		return fail(fmt.Errorf("%w %d, and the mapping has %d", ErrLength, length, len(m.data)), "Grow does not shrink: map the smaller part again")
	case length > math.MaxInt-m.slack-m.pageSize:
		return fail(fmt.Errorf("%w %d", ErrLength, length), "the address space is smaller than that")
	}
	old := len(m.pages)
	size := roundUp(m.slack+length, m.pageSize)
	pages := m.pages
	if size > old {
		var err error
		pages, err = sys.Mremap(m.pages, size, 0)
		if errors.Is(err, syscall.ENOMEM) {
			if m.users > 0 {
				return fail(fmt.Errorf("%w: the addresses behind it are taken, and it cannot move while %d views or calls use it", ErrInUse, m.users), "grow when they have ended")
			}
			pages, err = sys.Mremap(m.pages, size, sys.MremapMayMove)
		}
		switch {
		case errors.Is(err, syscall.EFAULT):
			return fail(err, "parts of it have different protections or advice: make them the same first")
		case errors.Is(err, syscall.EINVAL):
			// Which also is the answer to a length over the address space.
			return fail(err, "the length is too large, or this kind of memory, such as reserved huge pages, cannot grow: map a new range")
		case errors.Is(err, syscall.EAGAIN):
			return fail(err, "it is locked in memory and would pass the limit: raise ulimit -l")
		case err != nil:
			return fail(err, "no address space or memory: grow less, or raise ulimit -v or the overcommit limit")
		}
		m.set(pages, len(m.data))
		if err := m.probe(pages); err != nil {
			// Shrinking keeps the address, so nothing that is valid dies.
			if shrunk, shrinkErr := sys.Mremap(pages, old, 0); shrinkErr == nil {
				m.set(shrunk, len(m.data))
			}
			return fail(fmt.Errorf("%w: %w", ErrBeyondEOF, err), fmt.Sprintf("Truncate the file to at least %d bytes from the mapping's start first; anonymous shared memory cannot grow: map a memfd", length))
		}
	}
	m.set(pages, length)
	return nil
}

// set makes pages the mapping's, with length bytes of it in use. The caller
// holds mu.
func (m *Mapping) set(pages []byte, length int) {
	m.pages = pages
	m.data = pages[m.slack : m.slack+length : m.slack+length]
}

// probe checks that the file reaches into the last page. It needs no
// descriptor: the kernel is asked to bring the page in, which it refuses with
// EFAULT where an access would raise SIGBUS. Pages that may not be read cannot
// be asked for; their users cannot touch them either.
func (m *Mapping) probe(pages []byte) error {
	if m.beyondEOF {
		return nil
	}
	err := sys.Madvise(pages[len(pages)-m.pageSize:], sys.MadvPopulateRead)
	if errors.Is(err, syscall.EFAULT) {
		return err
	}
	return nil
}
