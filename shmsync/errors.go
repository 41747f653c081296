package shmsync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/mmap"
)

// What can be wrong, for errors.Is. Each is found inside an [*Error].
var (
	// ErrOwnerDied: the process that held the mutex died, left or executed another
	// program. The caller holds the mutex now: what it guards may be half changed.
	// Repair it and call Consistent; unlocked without, it is unrecoverable.
	ErrOwnerDied = errors.New("its owner died holding it")
	// ErrUnrecoverable: a mutex was unlocked while what it guards was not
	// consistent. See Recover.
	ErrUnrecoverable = errors.New("what it guards was left inconsistent")
	// ErrBusy: a Try cannot have it at once.
	ErrBusy = errors.New("taken")
	// ErrNotOwner: this process does not hold the mutex.
	ErrNotOwner = errors.New("this process does not hold it")
	// ErrNotHeld: this process holds no permit of the semaphore.
	ErrNotHeld = errors.New("this process holds no permit")
	// ErrTooMany: more permits than a semaphore can have, or a process can hold.
	ErrTooMany = errors.New("too many permits")
	// ErrKind: the bytes have been used as a primitive of another kind.
	ErrKind = errors.New("of another kind")
	// ErrCorrupt: the bytes are not what any operation leaves behind.
	ErrCorrupt = errors.New("overwritten by something else")
	// ErrArea: the segment has no room for the area, or something else in it.
	ErrArea = errors.New("no area")
	// ErrName: not a name. Also fs.ErrInvalid.
	ErrName = fmt.Errorf("bad name: %w", fs.ErrInvalid)
	// ErrFull: there is no room for another name, or another process.
	ErrFull = errors.New("full")
	// ErrClosed: the segment was closed. It is os.ErrClosed.
	ErrClosed = os.ErrClosed
	// ErrForked: the caller is a forked child that has not executed a program.
	ErrForked = life.ErrForked
)

// Error says which operation failed on which primitive, why, and what the caller
// can do about it. Err is one of this package's errors, the context's cause,
// one of package mmap's, or what the kernel answered.
type Error struct {
	Op     string // the operation: "lock", "acquire", …
	Object string // what it was: its kind, its name or offset, and the segment
	Err    error  // why
	Fix    string // what to do; may be empty
}

func (e *Error) Error() string {
	s := "shmsync: " + e.Op + " " + e.Object + ": " + e.Err.Error()
	if e.Fix != "" {
		s += " (" + e.Fix + ")"
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// memoryError gives what has become of a region the words of this package.
func memoryError(err error) error {
	switch {
	case errors.Is(err, region.ErrRetired):
		return ErrClosed
	case errors.Is(err, region.ErrGone):
		return fmt.Errorf("%w: %w", mmap.ErrFault, err)
	}
	return err
}
