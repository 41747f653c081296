package mmap_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/mmap"
)

func TestReserve(t *testing.T) {
	f := newFile(t, 100)
	for _, size := range []int64{100, 10_000, 5000} {
		if err := mmap.Reserve(f, size); err != nil {
			t.Fatal(err)
		}
		st, err := sys.Fstat(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if want := max(size, st.Size); st.Size != want || st.Blocks*512 < want {
			t.Errorf("reserved %d: size %d with %d bytes allocated", size, st.Size, st.Blocks*512)
		}
	}
	wantError(t, mmap.Reserve(f, 0), []error{mmap.ErrLength}, "reserve", f.Name())
	wantError(t, mmap.Reserve(f, -1), []error{mmap.ErrLength}, "reserve")
	wantError(t, mmap.Reserve(nil, 1), []error{os.ErrInvalid}, "reserve")
	readOnly, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	wantError(t, mmap.Reserve(readOnly, 1), []error{syscall.EBADF}, "for writing")
	f.Close()
	wantError(t, mmap.Reserve(f, 1), []error{os.ErrClosed}, "reserve")
}

// reserveTooMuch tries on a tmpfs of 64 KiB, and past RLIMIT_FSIZE.
func reserveTooMuch(args []string) error {
	if err := syscall.Mount("tmpfs", args[0], "tmpfs", 0, "size=64k"); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(args[0], "f"))
	if err != nil {
		return err
	}
	try := func(size int64) {
		var space *mmap.SpaceError
		err := mmap.Reserve(f, size)
		st, statErr := f.Stat()
		if !errors.As(err, &space) || statErr != nil {
			fmt.Println(err, statErr)
			return
		}
		fmt.Println(errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG), space.Need, space.Have, st.Size())
	}
	try(1 << 20)
	try(64 << 10)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 128 << 10, Max: 128 << 10}); err != nil {
		return err
	}
	try(128<<10 + 1)
	return nil
}

func TestReserveWithoutRoom(t *testing.T) {
	const ns = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	proctest.RequireNamespaces(t, ns)
	got := proctest.Run(t, &proctest.Config{Namespaces: ns}, "reserve", t.TempDir())
	want := "true false 1048576 65536 0\n<nil> <nil>\nfalse true 131073 131072 65536"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPin(t *testing.T) {
	m := anonymous(t, pageSize, mmap.Read|mmap.Write, nil)
	addr := m.Addr()
	if err := m.Pin(); errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("needs mseal(2), Linux 6.10: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	m.Bytes()[0] = 1
	wantError(t, m.Protect(0, pageSize, mmap.None), []error{syscall.EPERM}, "sealed")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if line := mapsLine(t, addr); !strings.Contains(line, "rw-p") {
		t.Errorf("after Close: %q", line)
	}
	wantError(t, m.Pin(), []error{mmap.ErrClosed})
}

// reserveInGroup enters control group args[0] and reserves more memory than it
// may have, then less.
func reserveInGroup(args []string) error {
	if err := os.WriteFile(filepath.Join(args[0], "cgroup.procs"), []byte(fmt.Sprint(os.Getpid())), 0); err != nil {
		return err
	}
	fd, err := sys.Memfd("group", 0)
	if err != nil {
		return err
	}
	var space *mmap.SpaceError
	fmt.Println("too much:", errors.As(mmap.ReserveFD(fd, "memfd", 128<<20), &space))
	fmt.Println("in the limit:", mmap.ReserveFD(fd, "memfd", 16<<20))
	return nil
}

// Two processes make one file longer at the same time, one of them without
// success: it takes nothing from the other.
func TestReserveNeverShortens(t *testing.T) {
	const ns = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	proctest.RequireNamespaces(t, ns)
	if out := proctest.Run(t, &proctest.Config{Namespaces: ns}, "shorten", t.TempDir()); out != "never" {
		t.Errorf("got %q", out)
	}
}

func reserveAgainstAnother(args []string) error {
	if err := syscall.Mount("tmpfs", args[0], "tmpfs", 0, "size=1m"); err != nil {
		return err
	}
	for range 2000 {
		f, err := os.Create(filepath.Join(args[0], "f"))
		if err != nil {
			return err
		}
		var failing, other error
		var wg sync.WaitGroup
		wg.Go(func() { failing = mmap.Reserve(f, 1<<20+4096) })
		wg.Go(func() { other = mmap.Reserve(f, 128<<10) })
		wg.Wait()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if failing == nil || (other == nil && st.Size() != 128<<10) {
			fmt.Printf("the file has %d bytes after %v and %v\n", st.Size(), failing, other)
			return nil
		}
		f.Close()
	}
	fmt.Println("never")
	return nil
}
