package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// What can be wrong, for errors.Is. Each is found inside an [*Error].
var (
	// ErrExist: the name is taken.
	ErrExist = fs.ErrExist
	// ErrNotExist: no segment has the name.
	ErrNotExist = fs.ErrNotExist
	// ErrName: a name that no segment can have.
	ErrName = errors.New("bad name")
	// ErrSize: a size that no segment can have, or not the one that was expected.
	ErrSize = errors.New("bad size")
	// ErrUntrusted: what has the name is not a segment of a user who is
	// accepted: a symbolic link, a FIFO, a file of another user, or a file with
	// more than one name.
	ErrUntrusted = errors.New("not trusted")
	// ErrEmpty: the file has no size yet.
	ErrEmpty = errors.New("it has no size yet")
	// ErrNotSealed: a received segment is not a memfd with all four seals.
	ErrNotSealed = errors.New("not a memfd with the seals SHRINK, GROW, FUTURE_WRITE and SEAL")
	// ErrSparse: a received segment whose memory is not all reserved. Touching a
	// hole would be charged to the reader.
	ErrSparse = errors.New("not all of its memory is reserved")
	// ErrQuota: a received segment that is larger than the receiver allows.
	ErrQuota = errors.New("larger than allowed")
	// ErrProtocol: a message that is not one of Send.
	ErrProtocol = errors.New("not a message of Segment.Send")
)

// Error says which operation failed on which segment, why, and what the caller
// can do about it. Err is one of this package's errors, one of package mmap's,
// or what the kernel answered.
type Error struct {
	Op     string // the operation: "create", "attach", "receive", …
	Object string // the segment's path, or its label
	Err    error  // why
	Fix    string // what to do; may be empty
}

func (e *Error) Error() string {
	s := "segment: " + e.Op + " " + e.Object + ": " + e.Err.Error()
	if e.Fix != "" {
		s += " (" + e.Fix + ")"
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// checkName refuses names that are not one plain component of a path. A leading
// dot is for files that are being built.
func checkName(op, name string) error {
	why := ""
	switch {
	case name == "":
		why = "it is empty"
	case len(name) > 255:
		why = fmt.Sprintf("it has %d bytes, and file systems end at 255", len(name))
	case name[0] == '.':
		why = "it begins with a dot"
	}
	for _, r := range name {
		if r == '/' || r < ' ' || r == 0x7f {
			why = fmt.Sprintf("it contains %q", r)
			break
		}
	}
	if why == "" {
		return nil
	}
	return &Error{op, fmt.Sprintf("%q", name), fmt.Errorf("%w: %s", ErrName, why), "use letters, digits, dots, dashes; the folder is given apart"}
}

// isErrno reports whether err is one of the numbers.
func isErrno(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
