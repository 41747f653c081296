package segment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
)

// attackSealed gets a sealed memfd as descriptor 3, and tries everything that
// could change its bytes or size, one by one. It prints what each attempt
// answered.
func attackSealed([]string) error {
	const fd, page = 3, 4096
	say := func(what string, err error) { fmt.Printf("%s: %v\n", what, err) }
	rw := mmap.Read | mmap.Write
	tryMap := func(what string, fd int) {
		m, err := mmap.MapFD(fd, page, rw, mmap.Shared, nil)
		if err == nil {
			m.Bytes()[0] = 'X'
			m.Close()
		}
		say(what, unwrapErrno(err))
	}
	all := func(how string, fd int) {
		_, err := syscall.Pwrite(fd, []byte("X"), 0)
		say(how+" write", err)
		say(how+" truncate to less", syscall.Ftruncate(fd, 1))
		say(how+" truncate to more", syscall.Ftruncate(fd, 1<<20))
		say(how+" punch a hole", sys.PunchHole(fd, 0, page))
		say(how+" allocate more", sys.Fallocate(fd, 0, 1<<20))
		tryMap(how+" map writable", fd)
		say(how+" add a seal", sys.AddSeals(fd, 8))
		m, err := mmap.MapFD(fd, page, mmap.Read, mmap.Shared, nil)
		if err != nil {
			say(how+" map for reading", err)
			return
		}
		say(how+" protect writable", unwrapErrno(m.Protect(0, page, rw)))
		say(how+" remove through the mapping", unwrapErrno(m.Advise(0, page, mmap.Remove)))
		m.Close()
	}
	all("passed", fd)
	again, err := os.OpenFile("/proc/self/fd/3", os.O_RDWR, 0)
	say("open again for writing", err)
	if err == nil {
		all("reopened", int(again.Fd()))
		again.Close()
	}
	truncated, err := os.OpenFile("/proc/self/fd/3", os.O_RDWR|os.O_TRUNC, 0)
	if err == nil {
		truncated.Close()
	}
	say("open again and truncate", unwrapErrno(err))
	// A private mapping can be written, and changes nothing for anybody.
	m, err := mmap.MapFD(fd, page, rw, mmap.Private, nil)
	if err != nil {
		return err
	}
	m.Bytes()[0] = 'X'
	return m.Close()
}

// unwrapErrno returns the errno inside err, for a text that does not change.
func unwrapErrno(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func anonymous(t testing.TB, size int, c *segment.Config) *segment.Segment {
	t.Helper()
	s, err := segment.CreateAnonymous("test", size, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSealedAgainstASecondProcessOfTheSameUser(t *testing.T) {
	s := anonymous(t, 8192, &segment.Config{Fill: fill})
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := proctest.Run(t, &proctest.Config{Files: []*os.File{f}}, "attack")
	perm, acces := syscall.EPERM.Error(), syscall.EACCES.Error()
	want := ""
	for _, how := range []string{"passed", "reopened"} {
		if how == "reopened" {
			want += "open again for writing: <nil>\n"
		}
		for _, what := range []string{"write", "truncate to less", "truncate to more", "punch a hole", "allocate more", "map writable", "add a seal"} {
			want += how + " " + what + ": " + perm + "\n"
		}
		want += how + " protect writable: " + acces + "\n"
		want += how + " remove through the mapping: " + acces + "\n"
	}
	want += "open again and truncate: " + perm
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	wantFilled(t, s.Bytes(), 8192)
	// The owner's mapping still writes, and may not destroy either.
	s.Bytes()[0] = 77
	wantError(t, s.Advise(0, 4096, mmap.Remove), []error{syscall.EPERM})
	fd := int(f.Fd())
	for what, err := range map[string]error{
		"truncate": sys.Ftruncate(fd, 0),
		"punch":    sys.PunchHole(fd, 0, 4096),
		"seal":     sys.AddSeals(fd, 8),
	} {
		if err != syscall.EPERM {
			t.Errorf("the owner: %s: %v", what, err)
		}
	}
}

// What the test above relies on can fail: without FUTURE_WRITE a hole can be
// punched, and without any seal everything works.
func TestSealsAreWhatProtects(t *testing.T) {
	for name, tc := range map[string]struct {
		seals       int
		punch, size error
	}{
		"none":                   {0, nil, nil},
		"without FUTURE_WRITE":   {sys.SealShrink | sys.SealGrow | sys.SealSeal, nil, syscall.EPERM},
		"without SHRINK or GROW": {sys.SealFutureWrite | sys.SealSeal, syscall.EPERM, nil},
	} {
		fd := memfd(t, 8192, 8192, tc.seals)
		if err := sys.PunchHole(fd, 0, 4096); err != tc.punch {
			t.Errorf("%s: punch a hole: %v, want %v", name, err, tc.punch)
		}
		if err := sys.Ftruncate(fd, 4096); err != tc.size {
			t.Errorf("%s: truncate: %v, want %v", name, err, tc.size)
		}
	}
}

// memfd makes one by hand.
func memfd(t testing.TB, size, reserved int64, seals int) int {
	t.Helper()
	fd, err := sys.Memfd("by hand", 0)
	if err == nil {
		t.Cleanup(func() { sys.Close(fd) })
		err = sys.Ftruncate(fd, size)
	}
	if err == nil && reserved > 0 {
		err = sys.Fallocate(fd, 0, reserved)
	}
	if err == nil {
		err = sys.AddSeals(fd, seals)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// memfdWithBlocksBehindItsEnd has as many blocks as bytes, and none where the
// bytes are.
func memfdWithBlocksBehindItsEnd(t testing.TB) int {
	t.Helper()
	fd := memfd(t, 65536, 0, 0)
	err := sys.FallocateKeepSize(fd, 65536, 65536)
	if err == nil {
		err = sys.AddSeals(fd, four)
	}
	st, statErr := sys.Fstat(fd)
	if err != nil || statErr != nil || st.Blocks*512 < st.Size {
		t.Fatal(err, statErr, st)
	}
	return fd
}

// memfdWithAHoleAmongData is written at both ends and has blocks behind them.
func memfdWithAHoleAmongData(t testing.TB) int {
	t.Helper()
	fd := memfd(t, 65536, 0, 0)
	for _, at := range []int64{0, 65535} {
		if _, err := syscall.Pwrite(fd, []byte("x"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(sys.FallocateKeepSize(fd, 65536, 65536), sys.AddSeals(fd, four)); err != nil {
		t.Fatal(err)
	}
	return fd
}

const four = sys.SealShrink | sys.SealGrow | sys.SealFutureWrite | sys.SealSeal

func TestSendAndReceive(t *testing.T) {
	for name, kind := range map[string]int{"stream": syscall.SOCK_STREAM, "seqpacket": syscall.SOCK_SEQPACKET} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, kind)
			s := anonymous(t, 10_000, &segment.Config{Fill: fill})
			for range 3 { // any number of times
				if err := s.Send(background, a); err != nil {
					t.Fatal(err)
				}
				r, err := segment.Receive(background, b, 1<<20, &segment.Config{Prefault: true})
				if err != nil {
					t.Fatal(err)
				}
				wantFilled(t, r.Bytes(), 10_000)
				if !strings.Contains(r.Name(), `"test"`) {
					t.Errorf("its label is lost: %s", r.Name())
				}
				s.Bytes()[0]++
				if r.Bytes()[0] != s.Bytes()[0] {
					t.Error("the receiver does not see what the owner writes")
				}
				s.Bytes()[0] = 1
				_, err = r.WriteAt([]byte("x"), 0)
				wantError(t, err, []error{mmap.ErrProtected})
				wantError(t, r.Protect(0, 1, mmap.Read|mmap.Write), []error{os.ErrPermission})
				wantError(t, r.Send(background, b), nil, "by its owner")
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			s.Close()
			wantError(t, s.Send(background, a), []error{mmap.ErrClosed})
			a.Close()
			if _, err := segment.Receive(background, b, 1, nil); err == nil {
				t.Error("received from a closed socket")
			}
		})
	}
}

func TestReceiveRefuses(t *testing.T) {
	plain, err := os.Create(t.TempDir() + "/plain")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.Truncate(4096)
	readEnd, writeEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer readEnd.Close()
	defer writeEnd.Close()
	good := func() int { return memfd(t, 8192, 8192, four) }
	message := func(label string) []byte {
		m := make([]byte, 64)
		copy(m, "memlane\x01")
		m[8] = byte(len(label))
		copy(m[9:], label)
		return m
	}
	long := message("x")
	long[8] = 56
	for name, tc := range map[string]struct {
		message []byte
		fds     []int
		want    error
	}{
		"a file":            {message(""), []int{int(plain.Fd())}, segment.ErrNotSealed},
		"a pipe":            {message(""), []int{int(readEnd.Fd())}, segment.ErrNotSealed},
		"no seals":          {message(""), []int{memfd(t, 8192, 8192, 0)}, segment.ErrNotSealed},
		"no SHRINK":         {message(""), []int{memfd(t, 8192, 8192, four&^sys.SealShrink)}, segment.ErrNotSealed},
		"no GROW":           {message(""), []int{memfd(t, 8192, 8192, four&^sys.SealGrow)}, segment.ErrNotSealed},
		"no FUTURE_WRITE":   {message(""), []int{memfd(t, 8192, 8192, four&^sys.SealFutureWrite)}, segment.ErrNotSealed},
		"no SEAL":           {message(""), []int{memfd(t, 8192, 8192, four&^sys.SealSeal)}, segment.ErrNotSealed},
		"sparse":            {message(""), []int{memfd(t, 8192, 0, four)}, segment.ErrSparse},
		"a hole":            {message(""), []int{memfd(t, 8192, 4096, four)}, segment.ErrSparse},
		"blocks elsewhere":  {message(""), []int{memfdWithBlocksBehindItsEnd(t)}, segment.ErrSparse},
		"a hole among data": {message(""), []int{memfdWithAHoleAmongData(t)}, segment.ErrSparse},
		"empty":             {message(""), []int{memfd(t, 0, 0, four)}, segment.ErrSize},
		"over the quota":    {message(""), []int{memfd(t, 65536+1, 65536+1, four)}, segment.ErrQuota},
		"no descriptor":     {message(""), nil, segment.ErrProtocol},
		"two descriptors":   {message(""), []int{good(), good()}, segment.ErrProtocol},
		"many":              {message(""), []int{good(), good(), good(), good(), good(), good(), good(), good(), good(), good(), good(), good()}, segment.ErrProtocol},
		"garbage":           {bytes.Repeat([]byte("x"), 64), []int{good()}, segment.ErrProtocol},
		"short":             {message("")[:10], []int{good()}, segment.ErrProtocol},
		"long label":        {long, []int{good()}, segment.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			a, b := pair(t, syscall.SOCK_SEQPACKET)
			if _, _, err := a.WriteMsgUnix(tc.message, syscall.UnixRights(tc.fds...), nil); err != nil {
				t.Fatal(err)
			}
			// Prefault must not fill the holes that are looked for.
			s, err := segment.Receive(background, b, 65536, &segment.Config{Prefault: strings.Contains(name, "hole") || strings.Contains(name, "blocks")})
			if s != nil {
				t.Error("a segment came with the error")
			}
			wantError(t, err, []error{tc.want}, "receive")
			a.Close()
			b.Close()
			if after := openFiles(t); after != before {
				t.Errorf("%d descriptors are open, %d were", after, before)
			}
		})
	}
	// The same checks for a descriptor that came in another way.
	_, err = segment.Open(plain, 1<<20, nil)
	wantError(t, err, []error{segment.ErrNotSealed}, plain.Name())
	_, err = segment.Open(nil, 1, nil)
	wantError(t, err, []error{os.ErrInvalid})
	f, err := anonymous(t, 4096, &segment.Config{Fill: fill}).File()
	if err != nil {
		t.Fatal(err)
	}
	o, err := segment.Open(f, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	f.Close()
	wantFilled(t, o.Bytes(), 4096)
	_, err = segment.Open(f, 4096, nil)
	wantError(t, err, []error{os.ErrClosed})
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestReceiveInPieces(t *testing.T) {
	a, b := pair(t, syscall.SOCK_STREAM)
	m := make([]byte, 64)
	copy(m, "memlane\x01\x03abc")
	if _, _, err := a.WriteMsgUnix(m[:5], syscall.UnixRights(memfd(t, 4096, 4096, four)), nil); err != nil {
		t.Fatal(err)
	}
	go a.Write(m[5:])
	s, err := segment.Receive(background, b, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.Contains(s.Name(), `"abc"`) {
		t.Errorf("label: %s", s.Name())
	}
}

// Options of the receiver's own socket do not get in the way, or leak.
func TestReceiveWithCredentials(t *testing.T) {
	a, b := pair(t, syscall.SOCK_SEQPACKET)
	raw, err := b.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const soPassPidfd = 76 // since Linux 6.5
	raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1)
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soPassPidfd, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := anonymous(t, 4096, nil)
	before := openFiles(t)
	for range 5 {
		if err := s.Send(background, a); err != nil {
			t.Fatal(err)
		}
		r, err := segment.Receive(background, b, 4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	_, b := pair(t, syscall.SOCK_SEQPACKET)
	reason := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(background)
	go cancel(reason)
	_, err := segment.Receive(ctx, b, 1, nil)
	wantError(t, err, []error{reason}, "receive")
	_, err = segment.Receive(ctx, b, 1, nil)
	wantError(t, err, []error{reason})
	wantError(t, anonymous(t, 1, nil).Send(ctx, b), []error{reason})
	a, c := pair(t, syscall.SOCK_SEQPACKET)
	if err := anonymous(t, 1, nil).Send(background, a); err != nil {
		t.Fatal(err)
	}
	live, stop := context.WithCancel(background)
	defer stop()
	s, err := segment.Receive(live, c, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	// A socket on which a Receive was cancelled can be used on.
	x, y := pair(t, syscall.SOCK_SEQPACKET)
	gone, end := context.WithCancel(background)
	go end()
	if _, err := segment.Receive(gone, y, 1, nil); err == nil {
		t.Fatal("received nothing")
	}
	if err := anonymous(t, 1, nil).Send(background, x); err != nil {
		t.Fatal(err)
	}
	if s, err = segment.Receive(background, y, 1<<20, nil); err != nil {
		t.Fatalf("after a cancelled Receive: %v", err)
	}
	s.Close()
	// One that is cancelled in the middle of a message says that it is.
	p, q := pair(t, syscall.SOCK_STREAM)
	half, stop2 := context.WithCancel(background)
	if _, err := p.Write([]byte("memlane\x01")); err != nil {
		t.Fatal(err)
	}
	go stop2()
	_, err = segment.Receive(half, q, 1, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the middle: %v", err)
	}
}

// listFiles prints what its descriptors are.
func listFiles([]string) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		fmt.Println(target)
	}
	return nil
}

// Descriptors of both sides do not reach programs that are started meanwhile.
func TestCloseOnExec(t *testing.T) {
	a, b := pair(t, syscall.SOCK_SEQPACKET)
	s := anonymous(t, 4096, nil)
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Send(background, a); err != nil {
		t.Fatal(err)
	}
	// Received by hand as Receive does it, to have a descriptor to look at.
	message, oob := make([]byte, 64), make([]byte, 64)
	_, oobn, _, _, err := b.ReadMsgUnix(message, oob)
	if err != nil {
		t.Fatal(err)
	}
	control, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := syscall.ParseUnixRights(&control[0])
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fds[0])
	if out := proctest.Run(t, nil, "offered"); strings.Contains(out, "memfd") {
		t.Errorf("a child has %s", out)
	}
	if inherit := proctest.Run(t, &proctest.Config{Files: []*os.File{f}}, "offered"); !strings.Contains(inherit, "memfd") {
		t.Errorf("the check does not see a descriptor that is passed on purpose: %s", inherit)
	}
}

func TestOwnerGoneDataStays(t *testing.T) {
	a, b := pair(t, syscall.SOCK_SEQPACKET)
	s := anonymous(t, 4096, &segment.Config{Fill: fill})
	if err := s.Send(background, a); err != nil {
		t.Fatal(err)
	}
	s.Close()
	r, err := segment.Receive(background, b, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wantFilled(t, r.Bytes(), 4096)
}
