package segment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
)

var pageSize = os.Getpagesize()

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // helpers run as other users, from files made here
	proctest.Main(m, map[string]proctest.Helper{
		"create":  createWhenTold,
		"hold":    holdSegment,
		"full":    createOnFullTmpfs,
		"attack":  attackSealed,
		"squat":   squat,
		"offered": listFiles,
		"swap":    swap,
	})
}

const raceSize = 3 * 4096

// fill writes a content that can be told from a part of it.
func fill(b []byte) error {
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return nil
}

func wantFilled(t *testing.T, b []byte, size int) {
	t.Helper()
	want := make([]byte, size)
	fill(want)
	if !bytes.Equal(b, want) {
		t.Errorf("the segment of %d bytes is not whole", len(b))
	}
}

// createWhenTold creates segment args[1] in folder args[0] when a line comes in,
// again for each line, and prints how it went. With args[2] "hidden" it builds
// as on file systems without O_TMPFILE.
func createWhenTold(args []string) error {
	segment.WithoutTmpfile(len(args) > 2 && args[2] == "hidden")
	fmt.Println("ready")
	var line string
	for {
		if _, err := fmt.Scanln(&line); err != nil {
			return nil
		}
		if len(args) > 2 && args[2] == "mutant" {
			if err := createNaively(filepath.Join(args[0], args[1]+line)); err != nil {
				return err
			}
			continue
		}
		s, err := segment.Create(args[1]+line, raceSize, &segment.Config{Folder: args[0], Fill: fill})
		switch {
		case err == nil:
			fmt.Println("created")
			s.Close()
		case errors.Is(err, segment.ErrExist):
			fmt.Println("exists")
		default:
			return err
		}
	}
}

// createNaively makes a segment as most programs do, under its name from the
// beginning: the mutant that the kill test must find.
func createNaively(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(raceSize); err != nil {
		return err
	}
	m, err := mmap.Map(f, raceSize, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.View(fill)
}

// holdSegment attaches to args[1] in folder args[0] and keeps it until its input
// ends.
func holdSegment(args []string) error {
	s, err := segment.Attach(args[1], &segment.Config{Folder: args[0], ReadOnly: len(args) > 2})
	if err != nil {
		return err
	}
	fmt.Println("attached")
	io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

// createOnFullTmpfs mounts a tmpfs of args[1] on args[0] and asks for more.
func createOnFullTmpfs(args []string) error {
	if err := syscall.Mount("tmpfs", args[0], "tmpfs", 0, "size="+args[1]); err != nil {
		return err
	}
	var fsys syscall.Statfs_t
	if err := syscall.Statfs(args[0], &fsys); err != nil {
		return err
	}
	free := int(fsys.Bavail) * int(fsys.Bsize)
	c := &segment.Config{Folder: args[0]}
	_, err := segment.Create("big", free+pageSize, c)
	var space *mmap.SpaceError
	fmt.Println(errors.As(err, &space), errors.Is(err, syscall.ENOSPC), space != nil && space.Need == int64(free+pageSize) && space.Have == int64(free))
	_, err = segment.Attach("big", c)
	fmt.Println(errors.Is(err, segment.ErrNotExist))
	// All of it is still there, to the last byte.
	s, err := segment.Create("whole", free, &segment.Config{Folder: args[0], Prefault: true})
	if err != nil {
		return err
	}
	b := s.Bytes()
	for i := range b {
		b[i] = 1
	}
	// A file with holes that another program made: attaching says so at once.
	if err := os.Truncate(filepath.Join(args[0], "whole"), int64(pageSize)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(args[0], "sparse"), nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(filepath.Join(args[0], "sparse"), int64(2*free)); err != nil {
		return err
	}
	_, err = segment.Attach("sparse", c)
	fmt.Println(errors.As(err, &space), errors.Is(err, syscall.ENOSPC))
	return nil
}

// folder returns a folder on a tmpfs if there is one, as segments usually have.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func create(t testing.TB, name string, size int, c *segment.Config) *segment.Segment {
	t.Helper()
	s, err := segment.Create(name, size, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// wantError checks that err matches every target and says every word.
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
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

// pair returns the two ends of a Unix socket.
func pair(t testing.TB, kind int) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

var background = context.Background()

// vmFlags returns the flags that the kernel shows for the mapping at addr.
func vmFlags(t *testing.T, addr uintptr) string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(smaps), fmt.Sprintf("%x-", addr))
	_, flags, ok2 := strings.Cut(rest, "VmFlags:")
	if !ok || !ok2 {
		t.Fatalf("no mapping at %#x in smaps", addr)
	}
	line, _, _ := strings.Cut(flags, "\n")
	return line + " "
}

// squat plants what could mislead another user in folder args[0], and prints the
// names of what it could plant.
func squat(args []string) error {
	at := func(name string) string { return filepath.Join(args[0], name) }
	planted := map[string]error{
		"link": os.Symlink(at("precious"), at("link")),
		"fifo": syscall.Mkfifo(at("fifo"), 0o666),
		"file": os.WriteFile(at("file"), append([]byte("planted"), make([]byte, 4089)...), 0o666),
		// Another user's file under a second name: with protected_hardlinks the
		// kernel refuses.
		"second": os.Link(at("precious"), at("second")),
	}
	os.Symlink(at("real"), at("to-real"))
	os.Mkdir(at("theirs"), 0o777)
	os.Chmod(at("fifo"), 0o666)
	os.Chmod(at("file"), 0o666)
	if planted["file"] != nil {
		return planted["file"]
	}
	for name, err := range planted {
		if err == nil {
			fmt.Println(name)
		}
	}
	return nil
}

// swap gives "name" in folder args[0] in turn to a segment, a link, a FIFO, a
// folder, a second name of another file and nothing, until it is killed.
func swap(args []string) error {
	at := func(name string) string { return filepath.Join(args[0], name) }
	for turn := 0; ; turn++ {
		next := at("next")
		var err error
		switch turn % 6 {
		case 0, 2:
			var s *segment.Segment
			if s, err = segment.Create("next", raceSize, &segment.Config{Folder: args[0], Fill: fill}); err == nil {
				s.Close()
			}
		case 1:
			err = os.Symlink(at("precious"), next)
		case 3:
			err = syscall.Mkfifo(next, 0o600)
		case 4:
			err = os.Link(at("precious"), next)
		case 5:
			os.Remove(at("name"))
			continue
		}
		if err == nil {
			err = os.Rename(next, at("name"))
		}
		if err != nil {
			return err
		}
		if turn == 0 {
			fmt.Println("swapping")
		}
	}
}
