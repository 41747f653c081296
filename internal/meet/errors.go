package meet

import (
	"errors"
	"os"
	"syscall"

	"github.com/memlane/memlane/internal/life"
)

// What can be wrong, for errors.Is. Each is found inside an [*Error], but for those
// of [Remote.Send], which are bare.
var (
	// ErrClosed: the node was closed.
	ErrClosed = os.ErrClosed
	// ErrForked: the caller is a forked child that has not executed a program.
	ErrForked = life.ErrForked
	// ErrName: a name that no port can have.
	ErrName = errors.New("bad name")
	// ErrTooLong: settings, a body or files beyond the limits.
	ErrTooLong = errors.New("too long")
	// ErrUntrusted: the domain's folder is somebody else's, or others may write in it.
	ErrUntrusted = errors.New("not trusted")
	// ErrBusy: the peer has not read what was sent before, and there is no more room.
	// It may be stopped.
	ErrBusy = errors.New("the peer does not read")
	// ErrGone: the peer, its port, or the own port is not there any more.
	ErrGone = errors.New("gone")
	// ErrVersion: the peer's versions of the protocol and ours have none in common.
	ErrVersion = errors.New("no common version of the protocol")
	// ErrProtocol: a peer sent what spec/protocol.md does not allow.
	ErrProtocol = errors.New("not of the protocol")
	// ErrForeign: a peer of a user who is not accepted.
	ErrForeign = errors.New("of a user who is not accepted")
	// ErrDuplicate: there is a connection of the pair already.
	ErrDuplicate = errors.New("a second connection")
	// ErrQuota: a peer has more of something than it may, or has asked more without
	// reading the answers.
	ErrQuota = errors.New("more than allowed")
	// ErrDropped: the peer was dropped, here or there, for what it sent.
	ErrDropped = errors.New("dropped")
	// ErrStarved: the peer has no descriptors or memory left. It is met again when it has.
	ErrStarved = errors.New("the peer has no descriptors or memory left")
)

// Starved reports whether an error is a want of this process: it may have no more
// descriptors, or the kernel gives it no more memory. No peer is to blame, and it may be
// over soon.
func Starved(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// Error says which operation failed on what, why, and what the caller can do about
// it.
type Error struct {
	Op     string // "open", "add", …
	Object string // the folder, or the port
	Err    error  // why
	Fix    string // what to do; may be empty
}

func (e *Error) Error() string {
	s := "meet: " + e.Op + " " + e.Object + ": " + e.Err.Error()
	if e.Fix != "" {
		s += " (" + e.Fix + ")"
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
