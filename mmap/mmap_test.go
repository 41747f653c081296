package mmap_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
)

func TestWrongInput(t *testing.T) {
	f := newFile(t, int64(pageSize))
	readOnly, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	writeOnly, err := os.OpenFile(f.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writeOnly.Close()
	closed := newFile(t, int64(pageSize))
	closed.Close()
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer w.Close()
	empty := newFile(t, 0)
	rw := mmap.Read | mmap.Write

	for name, tc := range map[string]struct {
		f       *os.File
		length  int
		prot    mmap.Prot
		c       *mmap.Config
		targets []error
		word    string // of the fix
	}{
		"zero length":         {f, 0, rw, nil, []error{mmap.ErrLength, fs.ErrInvalid}, "at least one byte"},
		"negative length":     {f, -1, rw, nil, []error{mmap.ErrLength}, "at least one byte"},
		"huge length":         {f, math.MaxInt, rw, nil, []error{mmap.ErrLength}, "address space"},
		"huge length sparse":  {f, 1 << 60, rw, &mmap.Config{BeyondEOF: true}, []error{syscall.ENOMEM}, "map less"},
		"length past the end": {f, pageSize + 1, rw, nil, []error{mmap.ErrBeyondEOF}, "Truncate the file to"},
		"empty file":          {empty, 1, rw, nil, []error{mmap.ErrBeyondEOF}, "Truncate"},
		"negative offset":     {f, 1, rw, &mmap.Config{Offset: -1}, []error{mmap.ErrOffset}, "begin at 0"},
		"offset past the end": {f, 1, rw, &mmap.Config{Offset: int64(pageSize)}, []error{mmap.ErrBeyondEOF}, "inside the file"},
		"huge offset":         {f, 1, rw, &mmap.Config{Offset: math.MaxInt64}, []error{mmap.ErrLength}, "no file"},
		"read-only writable":  {readOnly, pageSize, rw, nil, []error{fs.ErrPermission, syscall.EACCES}, "os.O_RDWR"},
		"write-only":          {writeOnly, pageSize, mmap.Write, nil, []error{fs.ErrPermission}, "os.O_RDWR"},
		"closed file":         {closed, 1, rw, nil, []error{os.ErrClosed}, "before closing"},
		"nil file":            {nil, 1, rw, nil, []error{os.ErrInvalid}, "open a file"},
		"folder":              {folder, 1, mmap.Read, nil, []error{syscall.ENODEV}, "regular file"},
		"pipe":                {pipe, 1, mmap.Read, nil, []error{syscall.ENODEV}, "regular file"},
		"unknown protection":  {f, 1, 64, nil, []error{mmap.ErrFlags}, "Read, Write and Exec"},
		"populate exec":       {f, 1, rw, &mmap.Config{Populate: mmap.Exec}, []error{mmap.ErrFlags}, "Read or Write"},
		"unknown huge":        {f, 1, rw, &mmap.Config{HugePages: 5}, []error{mmap.ErrFlags}, "Huge"},
		"fixed without addr":  {f, 1, rw, &mmap.Config{Fixed: true}, []error{mmap.ErrFlags}, "Addr"},
		"fixed unaligned":     {f, 1, rw, &mmap.Config{Fixed: true, Addr: 0x10_0000_0001}, []error{mmap.ErrAlignment}, "page size"},
		"populate unreadable": {f, 1, mmap.None, &mmap.Config{Populate: mmap.Read}, []error{syscall.EINVAL}, "protection"},
		"populate past the end": {f, 2 * pageSize, rw, &mmap.Config{BeyondEOF: true, Populate: mmap.Read},
			[]error{mmap.ErrNoBacking, syscall.EFAULT}, "make the file longer"},
	} {
		t.Run(name, func(t *testing.T) {
			object := "nil file"
			if tc.f != nil {
				object = tc.f.Name()
			}
			m, err := mmap.Map(tc.f, tc.length, tc.prot, mmap.Shared, tc.c)
			if m != nil {
				t.Error("a mapping came with the error")
			}
			wantError(t, err, tc.targets, object, tc.word)
		})
	}

	_, err = mmap.MapFD(-1, 1, rw, mmap.Shared, nil)
	wantError(t, err, []error{syscall.EBADF}, "fd -1", "open descriptor")
	_, err = mmap.MapAnonymous(1<<60, rw, mmap.Private, nil)
	wantError(t, err, []error{syscall.ENOMEM}, "anonymous memory", "map less")
	_, err = mmap.MapAnonymous(1, rw, mmap.Private, &mmap.Config{Offset: 1})
	wantError(t, err, []error{mmap.ErrOffset}, "begins at 0")
	_, err = mmap.MapAnonymous(0, rw, mmap.Private, nil)
	wantError(t, err, []error{mmap.ErrLength}, "at least one byte")
}

func TestReadOnlyFileCanBeMappedReadOrPrivate(t *testing.T) {
	f := newFile(t, int64(pageSize))
	readOnly, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	m, err := mmap.Map(readOnly, pageSize, mmap.Read, mmap.Shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = m.WriteAt([]byte("x"), 0)
	wantError(t, err, []error{mmap.ErrFault, mmap.ErrProtected, fs.ErrPermission}, f.Name())
	wantError(t, m.Protect(0, pageSize, mmap.Read|mmap.Write), []error{fs.ErrPermission}, "protect", "not open for that")
	p, err := mmap.Map(readOnly, pageSize, mmap.Read|mmap.Write, mmap.Private, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Bytes()[0] = 1
}

// mapExecOnNoexec runs in namespaces of its own, where it may mount.
func mapExecOnNoexec(args []string) error {
	if err := syscall.Mount("tmpfs", args[0], "tmpfs", syscall.MS_NOEXEC, ""); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(args[0], "code"))
	if err != nil {
		return err
	}
	if err := f.Truncate(int64(pageSize)); err != nil {
		return err
	}
	_, err = mmap.Map(f, pageSize, mmap.Read|mmap.Exec, mmap.Shared, nil)
	fmt.Println(errors.Is(err, fs.ErrPermission), err)
	m, err := mmap.Map(f, pageSize, mmap.Read, mmap.Shared, nil)
	if err != nil {
		return err
	}
	err = m.Protect(0, pageSize, mmap.Read|mmap.Exec)
	fmt.Println(errors.Is(err, fs.ErrPermission), err)
	return m.Close()
}

func TestExecOnNoexecMount(t *testing.T) {
	const ns = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	proctest.RequireNamespaces(t, ns)
	out := proctest.Run(t, &proctest.Config{Namespaces: ns}, "noexec", t.TempDir())
	lines := strings.Split(out, "\n")
	for i, word := range []string{"leave Exec out", "noexec"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], "true ") || !strings.Contains(lines[i], word) || !strings.Contains(lines[i], "/code") {
			t.Errorf("line %d of %q: want a permission error naming the file and %q", i, out, word)
		}
	}
}

// storeIntoFullTmpfs fills a tmpfs of 64 KiB and touches a hole in it.
func storeIntoFullTmpfs(args []string) error {
	if err := syscall.Mount("tmpfs", args[0], "tmpfs", 0, "size=64k"); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(args[0], "sparse"))
	if err != nil {
		return err
	}
	const size = 256 << 10
	if err := f.Truncate(size); err != nil { // sparse: promises more than there is
		return err
	}
	m, err := mmap.Map(f, size, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return err
	}
	_, err = m.WriteAt(make([]byte, size), 0)
	fmt.Println(errors.Is(err, mmap.ErrFault), errors.Is(err, mmap.ErrNoBacking), err)
	err = m.Populate(0, size, mmap.Write)
	fmt.Println(errors.Is(err, mmap.ErrNoBacking), errors.Is(err, syscall.EFAULT), err)
	return m.Close()
}

func TestFullFileSystemIsAnErrorAndTheProcessLives(t *testing.T) {
	const ns = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	proctest.RequireNamespaces(t, ns)
	out := proctest.Run(t, &proctest.Config{Namespaces: ns}, "full", t.TempDir())
	lines := strings.Split(out, "\n")
	if len(lines) != 2 {
		t.Fatalf("helper printed %q", out)
	}
	for i, word := range []string{"address 0x", "make room"} {
		if !strings.HasPrefix(lines[i], "true true ") || !strings.Contains(lines[i], word) {
			t.Errorf("line %d: %q", i, lines[i])
		}
	}
}

func TestRanges(t *testing.T) {
	requireLockable(t, 32*pageSize)
	f := newFile(t, int64(4*pageSize))
	m := mapShared(t, f, 3*pageSize, &mmap.Config{Offset: 10})
	ops := map[string]func(off, n int) error{
		"sync":     func(off, n int) error { return m.Sync(off, n, mmap.SyncWait) },
		"protect":  func(off, n int) error { return m.Protect(off, n, mmap.Read|mmap.Write) },
		"advise":   func(off, n int) error { return m.Advise(off, n, mmap.WillNeed) },
		"lock":     m.Lock,
		"unlock":   m.Unlock,
		"populate": func(off, n int) error { return m.Populate(off, n, mmap.Write) },
		"resident": func(off, n int) error { _, err := m.Resident(off, n); return err },
	}
	for name, op := range ops {
		for _, r := range [][2]int{{0, 0}, {0, 1}, {5, 0}, {pageSize - 11, 2}, {1, 3*pageSize - 1}, {3 * pageSize, 0}} {
			if err := op(r[0], r[1]); err != nil {
				t.Errorf("%s %v: %v", name, r, err)
			}
		}
		for _, r := range [][2]int{{-1, 1}, {0, -1}, {0, 3*pageSize + 1}, {3 * pageSize, 1}, {1, math.MaxInt}, {math.MaxInt, 1}, {math.MinInt, math.MaxInt}} {
			wantError(t, op(r[0], r[1]), []error{mmap.ErrRange, fs.ErrInvalid}, name, f.Name(), "inside the mapping")
		}
	}
	m.Close()
	for name, op := range ops {
		wantError(t, op(0, 1), []error{mmap.ErrClosed, os.ErrClosed}, name, f.Name())
	}
	_, err := m.ReadAt(make([]byte, 1), 0)
	wantError(t, err, []error{mmap.ErrClosed})
	_, err = m.WriteAt(make([]byte, 1), 0)
	wantError(t, err, []error{mmap.ErrClosed})
	wantError(t, m.View(func([]byte) error { t.Error("view of a closed mapping"); return nil }), []error{mmap.ErrClosed})
	wantError(t, m.Grow(5*pageSize), []error{mmap.ErrClosed}, "grow")
	_, err = mmap.At[uint64](m, 0)
	wantError(t, err, []error{mmap.ErrClosed})
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestLockAndPopulateBringPagesIn(t *testing.T) {
	requireLockable(t, 32*pageSize)
	count := func(m *mmap.Mapping) (n int) {
		t.Helper()
		resident, err := m.Resident(0, m.Len())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resident {
			if r {
				n++
			}
		}
		return n
	}
	m := anonymous(t, 8*pageSize, mmap.Read|mmap.Write, nil)
	if n := count(m); n != 0 {
		t.Errorf("%d pages resident before anything was touched", n)
	}
	if err := m.Populate(0, 2*pageSize, mmap.Write); err != nil {
		t.Fatal(err)
	}
	if n := count(m); n != 2 {
		t.Errorf("%d pages resident after populating 2", n)
	}
	if err := m.Lock(3*pageSize, pageSize); err != nil {
		t.Fatal(err)
	}
	if n := count(m); n != 3 {
		t.Errorf("%d pages resident after locking another", n)
	}
	for name, c := range map[string]*mmap.Config{"Populate": {Populate: mmap.Write}, "Lock": {Lock: true}} {
		if n := count(anonymous(t, 8*pageSize, mmap.Read|mmap.Write, c)); n != 8 {
			t.Errorf("%d of 8 pages resident with Config.%s", n, name)
		}
	}
}

// lockTooMuch locks more than RLIMIT_MEMLOCK allows.
func lockTooMuch([]string) error {
	const rlimitMemlock = 8
	if err := syscall.Setrlimit(rlimitMemlock, &syscall.Rlimit{Cur: uint64(pageSize), Max: uint64(pageSize)}); err != nil {
		return err
	}
	m, err := mmap.MapAnonymous(4*pageSize, mmap.Read, mmap.Private, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	fmt.Println(m.Lock(0, m.Len()))
	_, err = mmap.MapAnonymous(4*pageSize, mmap.Read, mmap.Private, &mmap.Config{Lock: true})
	fmt.Println(err)
	return nil
}

func TestLockLimit(t *testing.T) {
	out := proctest.Run(t, &proctest.Config{AsNobody: true}, "lock")
	want := fmt.Sprintf("mmap: lock anonymous memory: cannot allocate memory (raise ulimit -l (RLIMIT_MEMLOCK), now %d bytes", pageSize)
	lines := strings.Split(out, "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], want) || !strings.HasPrefix(lines[1], want) {
		t.Errorf("got %q; want twice %q", lines, want)
	}
}

func TestAdvise(t *testing.T) {
	m := anonymous(t, 4*pageSize, mmap.Read|mmap.Write, nil)
	b := m.Bytes()
	for _, a := range []mmap.Advice{mmap.Normal, mmap.Random, mmap.Sequential, mmap.WillNeed, mmap.DontFork, mmap.DoFork, mmap.WipeOnFork, mmap.KeepOnFork, mmap.DontDump, mmap.DoDump, mmap.Cold, mmap.PopulateRead, mmap.PopulateWrite} {
		if err := m.Advise(0, m.Len(), a); err != nil {
			t.Errorf("%v: %v", a, err)
		}
		if parsed, err := mmap.ParseAdvice(a.String()); err != nil || parsed != a {
			t.Errorf("ParseAdvice(%q) = %v, %v", a, parsed, err)
		}
	}
	b[0], b[pageSize] = 1, 2
	if err := m.Advise(0, pageSize, mmap.DontNeed); err != nil {
		t.Fatal(err)
	}
	if b[0] != 0 || b[pageSize] != 2 {
		t.Errorf("DontNeed on the first page left %d, %d; want 0, 2", b[0], b[pageSize])
	}
	wantError(t, m.Advise(0, pageSize+1, mmap.DontNeed), []error{mmap.ErrAlignment}, "whole pages")
	wantError(t, m.Advise(1, pageSize, mmap.Free), []error{mmap.ErrAlignment}, "whole pages")
	if b[pageSize] != 2 {
		t.Error("a refused advice destroyed bytes")
	}
	wantError(t, m.Advise(0, pageSize, 9999), []error{mmap.ErrFlags}, "Advice constants")
	wantError(t, m.Advise(0, pageSize, mmap.Remove), nil, "advise remove", "anonymous memory")
	if _, err := mmap.ParseAdvice("nonsense"); !errors.Is(err, mmap.ErrFlags) {
		t.Errorf("ParseAdvice of nonsense: %v", err)
	}

	f := newFile(t, int64(2*pageSize))
	part := mapShared(t, f, pageSize, &mmap.Config{Offset: 100})
	wantError(t, part.Advise(0, part.Len(), mmap.Remove), []error{mmap.ErrAlignment}, "whole pages")
}

func TestGrow(t *testing.T) {
	f := newFile(t, int64(pageSize))
	m := mapShared(t, f, pageSize, nil)
	copy(m.Bytes(), "kept")
	wantError(t, m.Grow(3*pageSize), []error{mmap.ErrBeyondEOF}, "grow", f.Name(), "Truncate")
	if m.Len() != pageSize || string(m.Bytes()[:4]) != "kept" {
		t.Fatalf("after a refused Grow: %d bytes, %q", m.Len(), m.Bytes()[:4])
	}
	if err := f.Truncate(int64(100 * pageSize)); err != nil {
		t.Fatal(err)
	}
	f.Close() // Grow needs no descriptor
	for _, length := range []int{pageSize, pageSize + 1, 3 * pageSize, 100 * pageSize} {
		if err := m.Grow(length); err != nil {
			t.Fatal(err)
		}
		b := m.Bytes()
		b[length-1] = 7
		if len(b) != length || cap(b) != length || string(b[:4]) != "kept" {
			t.Errorf("grown to %d: %d bytes, %q", length, len(b), b[:4])
		}
	}
	wantError(t, m.Grow(10), []error{mmap.ErrLength}, "does not shrink")
	wantError(t, m.Grow(math.MaxInt), []error{mmap.ErrLength}, "grow")
	wantError(t, m.Grow(127<<40), []error{syscall.ENOMEM}, "grow", "address space")

	shared, err := mmap.MapAnonymous(pageSize, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	wantError(t, shared.Grow(2*pageSize), []error{mmap.ErrBeyondEOF}, "memfd")
	private := anonymous(t, pageSize, mmap.Read|mmap.Write, nil)
	if err := private.Grow(2 * pageSize); err != nil {
		t.Errorf("private anonymous memory: %v", err)
	}
}

func TestGrowDoesNotMoveUnderAView(t *testing.T) {
	const addr = 0x12_0000_0000
	f := newFile(t, int64(4*pageSize))
	m := mapShared(t, f, pageSize, &mmap.Config{Addr: addr, Fixed: true})
	// What lies behind it forces a move.
	anonymous(t, pageSize, mmap.Read, &mmap.Config{Addr: addr + uintptr(pageSize), Fixed: true})
	err := m.View(func(b []byte) error {
		b[0] = 9
		wantError(t, m.Grow(2*pageSize), []error{mmap.ErrInUse}, "grow", "view")
		b[0]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Grow(2 * pageSize); err != nil {
		t.Fatal(err)
	}
	if m.Addr() == addr || m.Bytes()[0] != 10 {
		t.Errorf("at %#x with %d", m.Addr(), m.Bytes()[0])
	}
}

// A Grow that fails, also when it would have had to move, leaves every slice
// valid.
func TestFailedGrowChangesNothing(t *testing.T) {
	const addr = 0x14_0000_0000
	for i, sharing := range []mmap.Sharing{mmap.Shared, mmap.Private} {
		at := addr + uintptr(i)<<32
		f := newFile(t, int64(pageSize))
		m, err := mmap.Map(f, pageSize, mmap.Read|mmap.Write, sharing, &mmap.Config{Addr: at, Fixed: true})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		anonymous(t, pageSize, mmap.Read, &mmap.Config{Addr: at + uintptr(pageSize), Fixed: true})
		b := m.Bytes()
		b[0] = 5
		want := mmap.ErrBeyondEOF
		if sharing == mmap.Private {
			want = mmap.ErrInUse // it would have to move, and does not
		}
		wantError(t, m.Grow(2*pageSize), []error{want}, "grow", f.Name())
		if m.Addr() != at || m.Len() != pageSize {
			t.Errorf("now at %#x with %d bytes", m.Addr(), m.Len())
		}
		if err := mmap.Guard(func() error { b[0]++; return nil }); err != nil || m.Bytes()[0] != 6 {
			t.Errorf("a slice from before: %v", err)
		}
	}
	none, err := mmap.MapAnonymous(pageSize, mmap.None, mmap.Shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	wantError(t, none.Grow(2*pageSize), []error{mmap.ErrBeyondEOF}, "memfd")
}

func TestViewHoldsTheMappingOpen(t *testing.T) {
	m := anonymous(t, pageSize, mmap.Read|mmap.Write, nil)
	addr := m.Addr()
	want := errors.New("what fn returns")
	err := m.View(func(b []byte) error {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		b[0] = 1 // still mapped
		if mapsLine(t, addr) == "" {
			t.Error("unmapped under a view")
		}
		return want
	})
	if err != want {
		t.Errorf("View returned %v", err)
	}
	if line := mapsLine(t, addr); line != "" {
		t.Errorf("still mapped after the last view: %s", line)
	}
}

func TestCloseAmongCalls(t *testing.T) {
	for range 200 {
		m := anonymous(t, pageSize, mmap.Read|mmap.Write, nil)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				p := make([]byte, 64)
				for {
					if _, err := m.WriteAt(p, 0); err != nil {
						if !errors.Is(err, mmap.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		runtime.Gosched()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestReaderAtWriterAt(t *testing.T) {
	f := newFile(t, 1000)
	m := mapShared(t, f, 1000, nil)
	content := []byte(strings.Repeat("0123456789", 100))
	if n, err := m.WriteAt(content, 0); n != 1000 || err != nil {
		t.Fatal(n, err)
	}
	if err := iotest.TestReader(io.NewSectionReader(m, 0, 1000), content); err != nil {
		t.Error(err)
	}
	if n, err := m.ReadAt(make([]byte, 10), 995); n != 5 || err != io.EOF {
		t.Errorf("read over the end: %d, %v", n, err)
	}
	if n, err := m.ReadAt(make([]byte, 10), math.MaxInt64); n != 0 || err != io.EOF {
		t.Errorf("read far past the end: %d, %v", n, err)
	}
	_, err := m.ReadAt(make([]byte, 1), -1)
	wantError(t, err, []error{mmap.ErrOffset}, "read")
	for _, off := range []int64{995, 1000, 1001, math.MaxInt64} {
		n, err := m.WriteAt([]byte("abcdefghij"), off)
		wantError(t, err, []error{mmap.ErrRange}, "write", f.Name(), "Grow")
		if n != 0 {
			t.Errorf("wrote %d bytes", n)
		}
	}
	if got := string(m.Bytes()[990:]); got != "0123456789" {
		t.Errorf("a refused write left %q", got)
	}
	_, err = m.WriteAt(nil, -1)
	wantError(t, err, []error{mmap.ErrOffset}, "write")
}

func TestHugePagesReportTheirFallback(t *testing.T) {
	for _, h := range []mmap.HugePages{mmap.HugeTransparent, mmap.Huge2MiB, mmap.Huge1GiB} {
		m := anonymous(t, 3<<20, mmap.Read|mmap.Write, &mmap.Config{HugePages: h})
		got, why := m.HugePages()
		if (got == h) != (why == nil) {
			t.Errorf("asked for %v, got %v, because %v", h, got, why)
		}
		m.Bytes()[3<<20-1] = 1
		if got == h && h != mmap.HugeTransparent && m.PageSize() != 1<<h {
			t.Errorf("%v with pages of %d bytes", h, m.PageSize())
		}
	}
	f := newFile(t, 4<<20)
	if got, why := mapShared(t, f, 4<<20, &mmap.Config{HugePages: mmap.HugeTransparent}).HugePages(); (got == mmap.HugeNone) != (why != nil) {
		t.Errorf("a file, asked for transparent ones: got %v, because %v", got, why)
	}
	got, why := mapShared(t, f, 4<<20, &mmap.Config{HugePages: mmap.Huge2MiB}).HugePages()
	if got == mmap.Huge2MiB || why == nil {
		t.Errorf("a file outside hugetlbfs: got %v, because %v", got, why)
	}
}
