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
// [Mapping.View]. A private mapping of a file never moves. A Grow that fails
// changes nothing.
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
	size := roundUp(m.slack+length, m.pageSize)
	pages := m.pages
	if size > len(m.pages) {
		if m.anonymous && m.sharing == Shared {
			return fail(ErrBeyondEOF, "anonymous shared memory has the size that it began with: map a memfd")
		}
		var err error
		if pages, err = m.extend(size, fail); err != nil {
			return err
		}
	}
	m.pages = pages
	m.data = pages[m.slack : m.slack+length : m.slack+length]
	return nil
}

// extend makes the kernel's mapping size bytes long and returns its pages. If it
// fails, nothing has changed. The caller holds mu.
func (m *Mapping) extend(size int, fail func(error, string) error) ([]byte, error) {
	explain := func(err error) error {
		switch {
		case errors.Is(err, errNoPages):
			return fail(fmt.Errorf("%w, or its file system has no room: %w", ErrBeyondEOF, err),
				fmt.Sprintf("Truncate the file first to at least %d bytes from where the mapping's first page begins, or Reserve them", size))
		case errors.Is(err, syscall.EPERM):
			return fail(err, "it is pinned: map a new range")
		case errors.Is(err, syscall.EFAULT):
			return fail(err, "parts of it have different protections or advice: make them the same first")
		case errors.Is(err, syscall.EINVAL):
			// Which also is the answer to a length over the address space.
			return fail(err, "the length is too large, or this kind of memory, such as reserved huge pages, cannot grow: map a new range")
		case errors.Is(err, syscall.EAGAIN):
			return fail(err, "it is locked in memory and would pass the limit: raise ulimit -l")
		}
		return fail(err, "no address space or memory: grow less, or raise ulimit -v or the overcommit limit")
	}
	pages, err := sys.Mremap(m.pages, size, 0)
	if err == nil {
		if err = m.probe(pages); err != nil {
			// Shrinking does not move, so nothing that is valid dies.
			if _, shrinkErr := sys.Mremap(pages, len(m.pages), 0); shrinkErr != nil {
				err = errors.Join(err, shrinkErr)
			}
			return nil, explain(err)
		}
		return pages, nil
	}
	if !errors.Is(err, syscall.ENOMEM) {
		return nil, explain(err)
	}
	// What lies behind it is taken: it must move.
	if m.users > 0 {
		return nil, fail(fmt.Errorf("%w: the addresses behind it are taken, and it cannot move while %d views or calls use it", ErrInUse, m.users), "grow when they have ended")
	}
	if !m.anonymous && !m.beyondEOF {
		if m.sharing == Private {
			return nil, fail(fmt.Errorf("%w: the addresses behind it are taken, and a private mapping of a file does not move", ErrInUse), "map the file again")
		}
		// Look at the end of the file through a second mapping of it, which the
		// kernel makes for an old size of 0, before anything moves.
		second, err := sys.Mremap(m.pages[:0], size, sys.MremapMayMove)
		if err == nil {
			err = m.probe(second)
			err = errors.Join(err, sys.Munmap(second))
		}
		if err != nil {
			return nil, explain(err)
		}
	}
	if pages, err = sys.Mremap(m.pages, size, sys.MremapMayMove); err != nil {
		return nil, explain(err)
	}
	return pages, nil
}

// errNoPages is what probe found.
var errNoPages = errors.New("there is no page at the new end")

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
		return errNoPages
	}
	return nil
}
