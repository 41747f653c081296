package meet

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

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
	// ErrLimit: a limit of this process, of the kernel or of the domain is reached. The fix
	// names the setting.
	ErrLimit = errors.New("a limit is reached")
	// ErrStarved: the peer has no descriptors or memory left. It is met again when it has.
	ErrStarved = errors.New("the peer has no descriptors or memory left")
)

// Starved reports whether an error is a want of this process: it may have no more
// descriptors, or the kernel gives it no more memory. No peer is to blame, and it may be
// over soon.
func Starved(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, errUnpollable)
}

// limits are the errors of the kernel's that say that a limit is reached, and what to do.
var limits = []struct {
	err error
	fix string
}{
	{syscall.EMFILE, "raise ulimit -n (RLIMIT_NOFILE), or close what is not needed"},
	{syscall.ENFILE, "raise fs.file-max, or close what is not needed"},
	{syscall.ENOMEM, "raise vm.max_map_count, give the control group or the machine more memory, or close what is not needed"},
	{syscall.ENOSPC, "the file system is full, of bytes or of files: remove something, or mount it with a larger size or nr_inodes"},
	{syscall.EDQUOT, "the user's quota of the file system is used up: raise it, or remove something"},
	{syscall.ETOOMANYREFS, "too many descriptors of this user are on their way to processes that do not read: raise ulimit -n (RLIMIT_NOFILE), or see which are stopped"},
	{errUnpollable, "raise fs.epoll.max_user_watches"},
}

// Limited returns which setting to change, and an error that matches [ErrLimit] too, if err
// is that of a limit of the kernel's; else nothing, and err, as if it matches already.
func Limited(err error) (fix string, _ error) {
	if errors.Is(err, ErrLimit) {
		return "", err
	}
	for _, l := range limits {
		if errors.Is(err, l.err) {
			return l.fix, fmt.Errorf("%w: %w", ErrLimit, err)
		}
	}
	return "", err
}

// errUnpollable is that the kernel does not tell when there is something to read.
var errUnpollable = errors.New("the kernel watches no more descriptors for this user")

// pollable returns an error if reading from a file cannot be waited for: package os makes a
// file of a descriptor in any case.
func pollable(f *os.File) error {
	if f.SetReadDeadline(time.Time{}) != nil {
		return errUnpollable
	}
	return nil
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
