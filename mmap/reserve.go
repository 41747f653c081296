package mmap

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// SpaceError says that a file system, or the process's limit on file sizes, has
// no room for what was asked. It matches syscall.ENOSPC, or syscall.EFBIG for
// the limit.
type SpaceError struct {
	Object string // the file
	Need   int64  // bytes that the file shall have in all
	Have   int64  // bytes that are free, beside what the file has already; -1 if not known
	Err    error  // what the kernel answered
}

func (e *SpaceError) Error() string {
	have := "an unknown number"
	if e.Have >= 0 {
		have = fmt.Sprint(e.Have)
	}
	fix := "make room on its file system, or ask for less"
	if errors.Is(e.Err, syscall.EFBIG) {
		fix = "raise ulimit -f, or ask for less"
	}
	return fmt.Sprintf("mmap: reserve %s: no room: %d bytes needed, %s free: %v (%s)", e.Object, e.Need, have, e.Err, fix)
}

// Unwrap returns Err.
func (e *SpaceError) Unwrap() error { return e.Err }

// reserveStep is how much is allocated by one call: a signal makes the kernel
// give back what an interrupted call had allocated, so that a very large one
// might never end.
const reserveStep = 256 << 20

// Reserve makes the file at least size bytes long and allocates them all. A
// file whose size was only set, with Truncate, consists of holes, and touching a
// hole for which there is no room is SIGBUS; after Reserve there are none. If
// there is no room it returns a [*SpaceError] and the file has the size it had.
// It never makes a file shorter.
//
// On a file system that cannot allocate in advance (some network ones), Reserve
// sets the size only.
func Reserve(f *os.File, size int64) error {
	if f == nil {
		return &Error{"reserve", "nil file", os.ErrInvalid, "open a file first"}
	}
	var reserveErr error
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { reserveErr = reserve(int(fd), f.Name(), size) })
	}
	if err != nil {
		return &Error{"reserve", f.Name(), fmt.Errorf("%w: %w", os.ErrClosed, err), "reserve before closing the file"}
	}
	return reserveErr
}

// ReserveFD is [Reserve] for a bare descriptor, which errors call name.
func ReserveFD(fd int, name string, size int64) error { return reserve(fd, name, size) }

func reserve(fd int, name string, size int64) error {
	if size <= 0 {
		return &Error{"reserve", name, fmt.Errorf("%w %d", ErrLength, size), "reserve at least one byte"}
	}
	st, err := sys.Fstat(fd)
	if err != nil {
		return &Error{"reserve", name, err, ""}
	}
	// Beyond RLIMIT_FSIZE the kernel sends SIGXFSZ, which ends the program.
	if limit, err := sys.FileSizeLimit(); err == nil && size > st.Size && uint64(size) > limit {
		return &SpaceError{name, size, int64(limit), syscall.EFBIG}
	}
	err = nil
	for at := int64(0); at < size && err == nil; {
		n := min(size-at, reserveStep)
		err = sys.Fallocate(fd, at, n)
		switch {
		case errors.Is(err, syscall.EINTR):
			err = nil // again
		case err == nil:
			at += n
		}
	}
	if errors.Is(err, syscall.EOPNOTSUPP) {
		if size <= st.Size {
			return nil
		}
		err = sys.Ftruncate(fd, size)
	}
	if err == nil {
		return nil
	}
	have := int64(-1)
	if fsys, fsErr := sys.Fstatfs(fd); fsErr == nil {
		have = fsys.Free
	}
	if now, statErr := sys.Fstat(fd); statErr == nil && now.Size > st.Size {
		if truncErr := sys.Ftruncate(fd, st.Size); truncErr == nil {
			if fsys, fsErr := sys.Fstatfs(fd); fsErr == nil {
				have = fsys.Free
			}
		}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.EDQUOT):
		return &SpaceError{name, size, have, err}
	case errors.Is(err, syscall.EBADF):
		return &Error{"reserve", name, err, "open the file for writing"}
	case errors.Is(err, syscall.EPERM):
		return &Error{"reserve", name, err, "the file is sealed or immutable: it keeps its size"}
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ESPIPE):
		return &Error{"reserve", name, err, "only regular files and memory files can be reserved"}
	}
	return &Error{"reserve", name, err, ""}
}
