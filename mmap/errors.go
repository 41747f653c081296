package mmap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// kind is an error to test for with errors.Is; it also answers to the standard
// library's error for the same thing.
type kind struct {
	text string
	std  error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.std }

// What can be wrong, for errors.Is. Each is found inside an [*Error] or a
// [*FaultError], which say where it happened and what to do about it.
var (
	// ErrClosed: the mapping is closed. Also matches os.ErrClosed.
	ErrClosed error = &kind{"the mapping is closed", os.ErrClosed}
	// ErrLength: a length that nothing can be mapped with. Also fs.ErrInvalid.
	ErrLength error = &kind{"bad length", fs.ErrInvalid}
	// ErrOffset: an offset that no file has. Also fs.ErrInvalid.
	ErrOffset error = &kind{"bad offset", fs.ErrInvalid}
	// ErrRange: a range that is not inside the mapping. Also fs.ErrInvalid.
	ErrRange error = &kind{"range outside the mapping", fs.ErrInvalid}
	// ErrFlags: flags that contradict each other or are missing. Also
	// fs.ErrInvalid.
	ErrFlags error = &kind{"bad flags", fs.ErrInvalid}
	// ErrAlignment: an offset or address that the operation needs aligned.
	// Also fs.ErrInvalid.
	ErrAlignment error = &kind{"bad alignment", fs.ErrInvalid}
	// ErrType: a type that cannot be viewed in shared memory. Also
	// fs.ErrInvalid.
	ErrType error = &kind{"type cannot be viewed in mapped memory", fs.ErrInvalid}
	// ErrBeyondEOF: the file ends before the range to be mapped does.
	ErrBeyondEOF = errors.New("the file ends before the range")
	// ErrInUse: the fixed address is taken, or the mapping cannot move while
	// it is in use.
	ErrInUse = errors.New("in use")
	// ErrFault: mapped memory was touched that has no page behind it or
	// forbids the access. Every [*FaultError] matches it.
	ErrFault = errors.New("memory fault")
	// ErrNoBacking: the reason for a fault: the file was truncated, or its
	// file system has no room or failed.
	ErrNoBacking = errors.New("no page behind it: the file was cut short, or its file system is full or failed")
	// ErrUnmapped: the reason for a fault: nothing is mapped there any more.
	ErrUnmapped = errors.New("nothing is mapped there (used after Close?)")
	// ErrProtected: the reason for a fault: the protection forbids the access.
	// Also fs.ErrPermission.
	ErrProtected error = &kind{"the protection forbids this access", fs.ErrPermission}
)

// Error says which operation failed on which object, why, and what the caller
// can do about it. Err is one of this package's errors or what the kernel
// answered; errors.Is and errors.As look through to it.
type Error struct {
	Op     string // the operation: "map", "sync", "grow", …
	Object string // the file's name, "fd 7", or "anonymous memory"
	Err    error  // why
	Fix    string // what to do; may be empty
}

func (e *Error) Error() string {
	s := "mmap: " + e.Op + " " + e.Object + ": " + e.Err.Error()
	if e.Fix != "" {
		s += " (" + e.Fix + ")"
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// FaultError is a fault that was caught while mapped memory was touched:
// SIGBUS, when no page could be had, or SIGSEGV. It matches [ErrFault] and the
// reason in Err with errors.Is.
type FaultError struct {
	Op     string  // "view", "read", "write" or "guard"
	Object string  // the mapping's name; empty if [Guard] cannot know it
	Addr   uintptr // the address that was touched
	Offset int     // the same in bytes from the start of the mapping; -1 if not known
	Err    error   // ErrNoBacking, ErrUnmapped, ErrProtected or the kernel's answer
}

func (e *FaultError) Error() string {
	where := ""
	if e.Object != "" {
		where = fmt.Sprintf(" in %s at offset %d", e.Object, e.Offset)
	}
	fix := ""
	switch {
	case errors.Is(e.Err, ErrNoBacking):
		fix = " (make the file as long as the mapping, or make room, and map it again)"
	case errors.Is(e.Err, ErrProtected):
		fix = " (map it with that protection, or Protect it)"
	case errors.Is(e.Err, ErrUnmapped):
		fix = " (do not keep slices past Close; use View)"
	}
	return fmt.Sprintf("mmap: %s: memory fault%s, address %#x: %v%s", e.Op, where, e.Addr, e.Err, fix)
}

// Unwrap returns ErrFault and the reason.
func (e *FaultError) Unwrap() []error { return []error{ErrFault, e.Err} }
