package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// packetMost is how large one packet of a socket is. Larger messages are several:
// the kernel refuses packets of more than its buffers have.
const packetMost = 64 << 10

// socketAt is the descriptor at which a process finds its first socket.
const socketAt = 3

// descriptor is one end of a socket, on which calls block.
type descriptor int

// Read is one read.
func (d descriptor) Read(b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(d), b)
		if err == nil && n == 0 {
			err = io.EOF
		}
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}

// Write writes all.
func (d descriptor) Write(b []byte) (int, error) {
	at := 0
	for at < len(b) {
		n, err := syscall.Write(int(d), b[at:min(len(b), at+packetMost)])
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return at, err
		}
		at += max(n, 0)
	}
	return at, nil
}

// socket is one side of two that share a socket: of packets, or a stream with
// buffers at both ends.
type socket struct {
	task      *task
	fd        descriptor
	w         *bufio.Writer // nil if not buffered
	r         *bufio.Reader
	out, into []byte
	outs      [][]byte // several, for one way
}

func openSocket(t *task, at int) *socket {
	s := &socket{task: t, fd: descriptor(at), out: make([]byte, t.Size), into: make([]byte, t.Size), outs: messagesOf(t)}
	if t.Transport == bufferedTransport {
		s.w, s.r = bufio.NewWriterSize(s.fd, 64<<10), bufio.NewReaderSize(s.fd, 64<<10)
	}
	return s
}

// socketPair makes both ends.
func socketPair(transport string) (fds [2]int, err error) {
	kind := syscall.SOCK_SEQPACKET
	if transport == bufferedTransport {
		kind = syscall.SOCK_STREAM
	}
	return syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
}

func (s *socket) close() { syscall.Close(int(s.fd)) }

func (s *socket) send(v uint64) error {
	fill(s.out, v)
	return s.write(s.out)
}

func (s *socket) write(b []byte) (err error) {
	if s.w != nil {
		_, err = s.w.Write(b)
	} else {
		_, err = s.fd.Write(b)
	}
	return err
}

func (s *socket) flush() error {
	if s.w != nil {
		return s.w.Flush()
	}
	return nil
}

func (s *socket) take(v uint64) (over bool, err error) {
	if s.r != nil {
		_, err = io.ReadFull(s.r, s.into)
	} else {
		_, err = io.ReadFull(s.fd, s.into)
	}
	if err != nil {
		return false, err
	}
	return check(s.into, s.task.Size, v)
}

func (s *socket) pair() pair {
	send := func(v uint64) error {
		if err := s.send(v); err != nil {
			return err
		}
		return s.flush()
	}
	return pair{
		trip: func(v uint64) error {
			if err := send(v); err != nil {
				return err
			}
			_, err := s.take(v &^ final)
			return err
		},
		answer: func(v uint64) (over bool, err error) {
			if over, err = s.take(v); err != nil {
				return over, err
			}
			if over {
				v |= final
			}
			return over, send(v)
		},
		close: s.close,
	}
}

func (s *socket) oneWay() stream {
	return stream{
		put: func(v uint64, n int, over bool) error {
			for at := 0; at < n; at += len(s.outs) {
				v = fillAll(s.outs, v, over && at+len(s.outs) >= n)
				for _, m := range s.outs {
					if err := s.write(m); err != nil {
						return err
					}
				}
			}
			if over {
				return s.flush()
			}
			return nil
		},
		get: func(v uint64) (uint64, error) {
			for {
				over, err := s.take(v)
				v++
				if over || err != nil {
					return v, err
				}
			}
		},
		barrier: s.meet,
		close:   s.close,
	}
}

// meet is the end of a phase: the receiving side says that it has all.
func (s *socket) meet() error {
	if s.task.Side == 1 {
		_, err := s.fd.Write([]byte{1})
		return err
	}
	var b [1]byte
	_, err := s.fd.Read(b[:])
	if err == nil && b[0] != 1 {
		err = fmt.Errorf("the receiving side says %d", b[0])
	}
	return err
}
