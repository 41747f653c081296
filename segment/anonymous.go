package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/mmap"
)

// seals are the four that make a memfd its owner's alone. FUTURE_WRITE leaves
// the mappings that exist, that is the owner's, and forbids every other way to
// change the bytes, punching holes included, which SHRINK and GROW do not; SEAL
// keeps the set as it is.
const seals = sys.SealShrink | sys.SealGrow | sys.SealFutureWrite | sys.SealSeal

// CreateAnonymous makes an anonymous segment of size bytes, maps it for reading
// and writing, and seals it: the mapping that is returned is the only thing
// that can ever write it. The label, of at most 55 bytes, is shown in /proc and
// told to whoever receives the segment.
//
// With reserved huge pages, size is rounded up to whole ones. Of c, Folder,
// Mode, Group, Owners and ReadOnly do not apply.
func CreateAnonymous(label string, size int, c *Config) (*Segment, error) {
	if c == nil {
		c = &Config{}
	}
	fail := func(err error, fix string) (*Segment, error) {
		return nil, &Error{"create", "anonymous " + label, err, fix}
	}
	if len(label) > labelBytes || strings.ContainsRune(label, 0) {
		return fail(fmt.Errorf("%w: the label has %d bytes or a zero among them", ErrName, len(label)), fmt.Sprintf("use at most %d bytes, none of them zero", labelBytes))
	}
	if size <= 0 {
		return fail(fmt.Errorf("%w: %d bytes", ErrSize, size), "a segment has at least one byte")
	}
	var hugeWhy error
	fd, length := -1, size
	if c.HugePages > mmap.HugeTransparent {
		fd, length, hugeWhy = hugeMemfd(label, size, int(c.HugePages))
	}
	if fd < 0 {
		var err error
		length = size
		if fd, err = sys.Memfd(label, 0); err != nil {
			return fail(err, "")
		}
		if err := mmap.ReserveFD(fd, "anonymous "+label, int64(length)); err != nil {
			sys.Close(fd)
			return fail(err, "")
		}
	}
	file := os.NewFile(uintptr(fd), "anonymous "+label)
	s, err := mapFD(fd, "anonymous "+label, length, mmap.Read|mmap.Write, c)
	if err != nil {
		file.Close()
		return fail(err, "")
	}
	s.file, s.hugeWhy = file, hugeWhy
	whole := false
	defer func() {
		if !whole { // Fill can panic too
			s.Close()
		}
	}()
	if c.Fill != nil {
		if err := s.View(c.Fill); err != nil {
			return fail(fmt.Errorf("fill it: %w", err), "")
		}
	}
	if err := sys.AddSeals(fd, seals); err != nil {
		return fail(fmt.Errorf("seal it: %w", err), "")
	}
	if err := s.pin(c); err != nil {
		return fail(err, "")
	}
	whole = true
	return s, nil
}

// hugeMemfd makes a memfd of reserved huge pages, all of them allocated; fd is
// -1 and why says the reason if the pool has not enough.
func hugeMemfd(label string, size, shift int) (fd, length int, why error) {
	page := 1 << shift
	if size > math.MaxInt-page {
		return -1, 0, fmt.Errorf("%w: %d bytes", ErrSize, size)
	}
	length = (size + page - 1) &^ (page - 1)
	fd, err := sys.Memfd(label, shift)
	if err == nil {
		if err = mmap.ReserveFD(fd, "anonymous "+label, int64(length)); err == nil {
			return fd, length, nil
		}
		sys.Close(fd)
	}
	return -1, 0, fmt.Errorf("no reserved huge pages: %w (see vm.nr_hugepages)", err)
}

// The message of Send: magic, length of the label, label, zeros. The descriptor
// comes with its first byte.
const (
	magic        = "memlane\x01"
	labelBytes   = 55
	messageBytes = len(magic) + 1 + labelBytes
)

// Send hands an anonymous segment of this process over to the process at the
// other end of a Unix socket, a stream or a SOCK_SEQPACKET one, which calls
// [Receive]. It can be sent any number of times.
//
// A context that can end uses the socket's deadline, so set none beside it, and
// let one Send at a time write to a socket. If it ends in the middle of a
// message, which on a stream it can, the error matches [ErrProtocol] too.
func (s *Segment) Send(ctx context.Context, conn *net.UnixConn) error {
	fail := func(err error, fix string) error { return &Error{"send", s.Name(), err, fix} }
	if conn == nil {
		return fail(fmt.Errorf("no connection: %w", os.ErrInvalid), "dial first")
	}
	if s.path != "" {
		return fail(errors.New("it has a name"), "attach to it by name; only anonymous segments are sent")
	}
	file, err := s.File()
	if err != nil {
		return err
	}
	// Our own duplicate: a Close meanwhile cannot put another file under the
	// number that is sent.
	defer file.Close()
	message := make([]byte, messageBytes)
	label := strings.TrimPrefix(s.Name(), "anonymous ")
	n := copy(message, magic)
	message[n] = byte(len(label))
	copy(message[n+1:], label)
	sent := 0
	err = within(ctx, conn.SetWriteDeadline, func() (err error) {
		sent, _, err = conn.WriteMsgUnix(message, syscall.UnixRights(int(file.Fd())), nil)
		for err == nil && sent < messageBytes {
			var more int
			more, err = conn.Write(message[sent:])
			sent += more
		}
		return err
	})
	if err != nil && sent > 0 {
		err = fmt.Errorf("%w: %d of %d bytes were sent: %w", ErrProtocol, sent, messageBytes, err)
	}
	if err != nil {
		return fail(err, "")
	}
	return nil
}

// Receive takes a segment that another process sends over a Unix socket and maps
// it for reading. The sender is not trusted: what comes is refused unless it is a
// memfd with all four seals ([ErrNotSealed]), of at most quota bytes
// ([ErrQuota]), with all of them reserved ([ErrSparse]). After an error that
// matches [ErrProtocol] the socket is out of step: close it.
//
// A context that can end uses the socket's deadline, so set none beside it, and
// let one Receive at a time read from a socket.
//
// Of c, only HugePages, Prefault and Pin apply.
func Receive(ctx context.Context, conn *net.UnixConn, quota int64, c *Config) (*Segment, error) {
	fail := func(err error) (*Segment, error) {
		return nil, &Error{"receive", "segment from a Unix socket", err, ""}
	}
	if conn == nil {
		return fail(fmt.Errorf("no connection: %w", os.ErrInvalid))
	}
	message := make([]byte, messageBytes)
	// Room for some descriptors more than the one that is wanted, so that they
	// are seen and closed, and for what a socket option of the caller's adds;
	// the kernel drops what exceeds it.
	oob := make([]byte, syscall.CmsgSpace(8*4)+syscall.CmsgSpace(syscall.SizeofUcred)+syscall.CmsgSpace(4))
	var n, oobn, flags int
	err := within(ctx, conn.SetReadDeadline, func() (err error) {
		// Package net asks for MSG_CMSG_CLOEXEC.
		n, oobn, flags, _, err = conn.ReadMsgUnix(message, oob)
		return err
	})
	fds, fdsErr := descriptors(oob[:oobn])
	defer func() {
		for _, fd := range fds {
			sys.Close(fd)
		}
	}()
	// A stream may deliver the message in pieces; a packet is whole or wrong.
	if err == nil && n > 0 && n < messageBytes && conn.LocalAddr().Network() == "unix" {
		err = within(ctx, conn.SetReadDeadline, func() error {
			for n < messageBytes {
				more, err := conn.Read(message[n:])
				n += more
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	label := message[len(magic)+1:]
	switch {
	case err != nil && n > 0:
		return fail(fmt.Errorf("%w: %d of %d bytes came: %w", ErrProtocol, n, messageBytes, err))
	case err != nil:
		return fail(err)
	case n == 0:
		return fail(net.ErrClosed)
	case n != messageBytes || string(message[:len(magic)]) != magic || int(message[len(magic)]) > labelBytes:
		return fail(ErrProtocol)
	case fdsErr != nil || flags&(syscall.MSG_CTRUNC|syscall.MSG_TRUNC) != 0 || len(fds) != 1:
		return fail(fmt.Errorf("%w: %d descriptors instead of one", ErrProtocol, len(fds)))
	}
	label = label[:message[len(magic)]]
	return accept(fds[0], fmt.Sprintf("received %q", label), quota, c)
}

// descriptors takes the descriptors out of control messages. What the socket's
// SO_PASSCRED and SO_PASSPIDFD add is let go.
func descriptors(oob []byte) ([]int, error) {
	const scmPidfd = 4
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		if m.Header.Level != syscall.SOL_SOCKET {
			continue
		}
		switch m.Header.Type {
		case syscall.SCM_RIGHTS:
			more, rightsErr := syscall.ParseUnixRights(&m)
			fds = append(fds, more...)
			err = errors.Join(err, rightsErr)
		case scmPidfd:
			if len(m.Data) >= 4 {
				sys.Close(int(binary.NativeEndian.Uint32(m.Data)))
			}
		}
	}
	return fds, err
}

// Open maps for reading the anonymous segment behind a descriptor that came in
// another way than over a socket, with the checks of [Receive]. The file stays
// the caller's.
func Open(f *os.File, quota int64, c *Config) (*Segment, error) {
	if f == nil {
		return nil, &Error{"open", "nil file", os.ErrInvalid, ""}
	}
	var s *Segment
	var acceptErr error
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { s, acceptErr = accept(int(fd), f.Name(), quota, c) })
	}
	if err != nil {
		return nil, &Error{"open", f.Name(), fmt.Errorf("%w: %w", os.ErrClosed, err), "open the segment before closing the file"}
	}
	return s, acceptErr
}

// accept checks a descriptor of somebody else's and maps it. Sealed, what was
// checked stays true: the size cannot change, and no memory can be given back.
func accept(fd int, object string, quota int64, c *Config) (*Segment, error) {
	if c == nil {
		c = &Config{}
	}
	fail := func(err error, fix string) (*Segment, error) {
		return nil, &Error{"receive", object, err, fix}
	}
	// Only memfds can have seals other than SEAL.
	got, err := sys.Seals(fd)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrNotSealed, err), "the sender must make it with CreateAnonymous, or seal its memfd after mapping it")
	}
	if got&seals != seals {
		return fail(fmt.Errorf("%w: it has %#x of %#x", ErrNotSealed, got&seals, seals), "the sender must make it with CreateAnonymous, or seal its memfd after mapping it")
	}
	st, err := sys.Fstat(fd)
	switch {
	case err != nil:
		return fail(err, "")
	case !st.Regular():
		return fail(ErrNotSealed, "")
	case st.Size <= 0:
		return fail(fmt.Errorf("%w: %d bytes", ErrSize, st.Size), "")
	case st.Size > quota:
		return fail(fmt.Errorf("%w: %d bytes, the quota is %d", ErrQuota, st.Size, quota), "allow more, or have it made smaller")
	case st.Blocks < (st.Size+511)/512:
		return fail(fmt.Errorf("%w: %d of %d bytes", ErrSparse, st.Blocks*512, st.Size), "the sender must reserve it with fallocate before sealing")
	}
	// Prefault comes after the check: it would fill the holes that are looked for.
	unfaulted := *c
	unfaulted.Prefault = false
	s, err := mapFD(fd, object, int(st.Size), mmap.Read, &unfaulted)
	if err == nil {
		err = checkReserved(fd, s, &st)
		if err == nil && c.Prefault {
			err = s.Populate(0, s.Len(), mmap.Read)
		}
		if err == nil {
			err = s.pin(c)
		}
		if err != nil {
			s.Close()
		}
	}
	if err != nil {
		return fail(err, "")
	}
	return s, nil
}

// checkReserved finds out whether every page of a sealed segment exists. The
// number of blocks does not say so: some can lie behind the end of the file. The
// kernel tells where data is; what it calls a hole is either none, or memory that
// was reserved and never touched.
func checkReserved(fd int, s *Segment, st *sys.Stat) error {
	size := st.Size
	for at := int64(0); at < size; {
		hole, err := sys.NextHole(fd, at)
		if err != nil {
			return err
		}
		if s.PageSize() > os.Getpagesize() {
			hole = 0 // hugetlbfs calls everything data
		}
		if hole >= size {
			return nil
		}
		next, err := sys.NextData(fd, hole)
		if errors.Is(err, syscall.ENXIO) || s.PageSize() > os.Getpagesize() {
			next, err = size, nil
		}
		if err != nil {
			return err
		}
		if err := checkHole(fd, s, st, int(hole), int(next-hole)); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// checkHole looks whether there are pages where no data is.
func checkHole(fd int, s *Segment, st *sys.Stat, at, length int) error {
	// The kernel has no better word for it (mincore and cachestat tell apart what
	// was touched, not what exists). Bringing pages in that exist allocates
	// nothing, so an allocation shows one that did not. A step is what a sender
	// can charge to the receiver before he is found out.
	step := max(256<<10, s.PageSize())
	for done := 0; done < length; done += step {
		if err := s.Populate(at+done, min(step, length-done), mmap.Read); err != nil {
			return err
		}
		now, err := sys.Fstat(fd)
		if err != nil {
			return err
		}
		if now.Blocks != st.Blocks {
			return fmt.Errorf("%w: there is a hole at offset %d or soon after", ErrSparse, at+done)
		}
	}
	return nil
}

// within runs fn, which waits on a connection, and ends its wait when ctx ends.
// A context that cannot end costs nothing.
func within(ctx context.Context, setDeadline func(time.Time) error, fn func() error) error {
	if ctx.Done() == nil {
		return fn()
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		setDeadline(time.Unix(1, 0)) // long past
		close(ended)
	})
	err := fn()
	if !stop() {
		<-ended
		setDeadline(time.Time{})
		if err != nil {
			return context.Cause(ctx)
		}
	}
	return err
}

// Remove takes the name of a named segment away, if it is still this segment's;
// see the function [Remove]. It must be called before Close: a file that nobody
// holds can be deleted, and another can look like it then. Should somebody
// replace the name between the look and the removal, the other file loses it.
func (s *Segment) Remove() error {
	if s.path == "" {
		return &Error{"remove", s.Name(), ErrNotExist, "an anonymous segment has no name; it ends with its last user"}
	}
	if s.Bytes() == nil {
		return &Error{"remove", s.Name(), mmap.ErrClosed, "remove it before Close, or by its name"}
	}
	dir, err := s.config.open("remove")
	if err != nil {
		return err
	}
	defer dir.close()
	return remove(dir, filepath.Base(s.path), s.config, s)
}
