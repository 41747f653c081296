//go:build linux && (amd64 || arm64)

package sys

import (
	"golang.org/x/sys/unix"
)

// Seqpacket returns a Unix socket that keeps messages apart (SOCK_SEQPACKET),
// non-blocking and close-on-exec.
func Seqpacket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// SeqpacketPair returns two of them that are connected to each other.
func SeqpacketPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// socketIn is the address of a name in a folder. An address ends at 108 bytes; a
// path can be longer, so it goes through the folder's descriptor.
func socketIn(dir int, name string) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: FDPath(dir) + "/" + name}
}

// BindIn is bind(2) of a Unix socket to a new name in a folder: EADDRINUSE if
// something has the name.
func BindIn(fd, dir int, name string) error { return unix.Bind(fd, socketIn(dir, name)) }

// Listen is listen(2).
func Listen(fd, backlog int) error { return unix.Listen(fd, backlog) }

// ConnectIn is connect(2) of a Unix socket to a name in a folder: ECONNREFUSED if
// nobody listens there, EAGAIN if too many wait to be accepted.
func ConnectIn(fd, dir int, name string) error {
	for {
		if err := unix.Connect(fd, socketIn(dir, name)); err != unix.EINTR {
			return err
		}
	}
}

// BoundIn reports whether a name in a folder is that of a SOCK_SEQPACKET socket
// that somebody has open. Whoever has it does not notice: a socket of another type
// is told EPROTOTYPE if there is one, ECONNREFUSED if there is none.
func BoundIn(dir int, name string) (bool, error) {
	p, err := NewProber()
	if err != nil {
		return false, err
	}
	defer p.Close()
	return p.BoundIn(dir, name)
}

// Prober is for many questions of [BoundIn], each of which costs half as much.
type Prober struct{ fd int }

// NewProber returns one; it has a descriptor.
func NewProber() (Prober, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return Prober{fd}, err
}

// BoundIn is [BoundIn].
func (p Prober) BoundIn(dir int, name string) (bool, error) {
	switch err := ConnectIn(p.fd, dir, name); err {
	case unix.EPROTOTYPE:
		return true, nil
	case unix.ECONNREFUSED, nil:
		return false, nil
	default:
		return false, err
	}
}

// Close closes it.
func (p Prober) Close() error { return unix.Close(p.fd) }

// Accept is accept4(2), non-blocking and close-on-exec: EAGAIN if nobody waits.
func Accept(fd int) (int, error) {
	for {
		conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != unix.EINTR {
			return conn, err
		}
	}
}

// Send sends one message with descriptors over a connected socket; it never
// blocks: EAGAIN if there is no room.
func Send(fd int, b []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		if err := unix.Sendmsg(fd, b, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != unix.EINTR {
			return err
		}
	}
}

// ControlSpace is the size of the buffer that [Receive] needs for so many
// descriptors.
func ControlSpace(fds int) int { return unix.CmsgSpace(4 * fds) }

// Received is one message.
type Received struct {
	Bytes      int   // 0: the other end is closed, or sent a message of no bytes
	FDs        []int // the caller's to close, close-on-exec
	Cut        bool  // it was longer than the buffer
	ControlCut bool  // there were more descriptors than had room, here or in this process
}

// Receive receives one message; it never blocks: EAGAIN if there is none.
func Receive(fd int, b, control []byte) (Received, error) {
	for {
		n, controlBytes, flags, _, err := unix.Recvmsg(fd, b, control, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Received{}, err
		}
		r := Received{Bytes: n, Cut: flags&unix.MSG_TRUNC != 0, ControlCut: flags&unix.MSG_CTRUNC != 0}
		if controlBytes == 0 {
			return r, nil
		}
		messages, err := unix.ParseSocketControlMessage(control[:controlBytes])
		for _, m := range messages {
			if fds, err := unix.ParseUnixRights(&m); err == nil {
				r.FDs = append(r.FDs, fds...)
			}
		}
		return r, err
	}
}

// Credentials say who is at the other end of a Unix socket: who connected, or who
// listened.
type Credentials struct {
	PID      int // in this process's namespace; 0 if it has none there
	UID, GID uint32
}

// PeerCredentials is SO_PEERCRED.
func PeerCredentials(fd int) (Credentials, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{int(c.Pid), c.Uid, c.Gid}, nil
}

// PeerPidfd returns a non-blocking pidfd of who is at the other end of a Unix
// socket, SO_PEERPIDFD: ENOPROTOOPT before Linux 6.5; ESRCH, EINVAL or ENODATA if
// that process has ended and nobody can have a pidfd of it any more.
func PeerPidfd(fd int) (int, error) {
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(pidfd) // as the kernel does by itself
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return -1, err
	}
	return pidfd, nil
}

// SetNonblock makes a descriptor non-blocking.
func SetNonblock(fd int) error { return unix.SetNonblock(fd, true) }

// Mkdirat is mkdirat(2).
func Mkdirat(dir int, name string, mode uint32) error { return unix.Mkdirat(dir, name, mode) }

// Rmdirat is unlinkat(2) for a folder: ENOTEMPTY if something is in it.
func Rmdirat(dir int, name string) error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) }

// Renameat is renameat(2) within a folder; what has the new name is replaced.
func Renameat(dir int, from, to string) error { return unix.Renameat(dir, from, dir, to) }

// Chmodat is fchmodat(2), which the umask does not touch.
func Chmodat(dir int, name string, mode uint32) error { return unix.Fchmodat(dir, name, mode, 0) }
