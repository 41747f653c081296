package mmap_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/mmap"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // helpers run as other users, from files made here
	proctest.Main(m, map[string]proctest.Helper{
		"peer":    peer,
		"fault":   faultWithoutGuard,
		"noexec":  mapExecOnNoexec,
		"lock":    lockTooMuch,
		"group":   reserveInGroup,
		"shorten": reserveAgainstAnother,
		"reserve": reserveTooMuch,
		"full":    storeIntoFullTmpfs,
	})
}

// peer maps args[0] shared and writable, says at which address, and obeys:
// "get OFF N" prints bytes, "put OFF TEXT" stores them, "read OFF N" reads the
// file with read(2) instead.
func peer(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := mmap.Map(f, int(st.Size()), mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	fmt.Printf("%#x\n", m.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var cmd, what string
		var off, n int
		fmt.Sscan(in.Text(), &cmd, &off, &what)
		n, _ = strconv.Atoi(what)
		switch cmd {
		case "get":
			fmt.Printf("%q\n", m.Bytes()[off:off+n])
		case "put":
			copy(m.Bytes()[off:], what)
			fmt.Println("done")
		case "read":
			b := make([]byte, n)
			if _, err := f.ReadAt(b, int64(off)); err != nil {
				return err
			}
			fmt.Printf("%q\n", b)
		}
	}
	return nil
}

// newFile makes a file of size bytes, open for reading and writing.
func newFile(t testing.TB, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// requireLockable skips the test where the user may not lock so many bytes.
func requireLockable(t *testing.T, n int) {
	t.Helper()
	if limit, err := sys.MemlockLimit(); err == nil && limit < uint64(n) && os.Geteuid() != 0 {
		t.Skipf("needs ulimit -l of %d bytes or more; it is %d", n, limit)
	}
}

func mapShared(t testing.TB, f *os.File, length int, c *mmap.Config) *mmap.Mapping {
	t.Helper()
	m, err := mmap.Map(f, length, mmap.Read|mmap.Write, mmap.Shared, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func anonymous(t testing.TB, length int, prot mmap.Prot, c *mmap.Config) *mmap.Mapping {
	t.Helper()
	m, err := mmap.MapAnonymous(length, prot, mmap.Private, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// wantError checks that err matches every target, is an *Error or *FaultError,
// and that its text has each of the words: operation, object and fix.
func wantError(t testing.TB, err error, targets []error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v", targets)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %q is not %q", err, target)
		}
	}
	var e *mmap.Error
	var fe *mmap.FaultError
	if !errors.As(err, &e) && !errors.As(err, &fe) {
		t.Errorf("error %q is a %T; want *Error or *FaultError", err, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

// mapsLine returns the line of /proc/self/maps for what is mapped at addr, which
// the kernel may have merged with its neighbours; "" if nothing is.
func mapsLine(t testing.TB, addr uintptr) string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(maps) {
		var begin, end uintptr
		if _, err := fmt.Sscanf(string(line), "%x-%x", &begin, &end); err == nil && begin <= addr && addr < end {
			return strings.TrimSpace(string(line))
		}
	}
	return ""
}
