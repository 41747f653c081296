package mmap

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// SpaceError says that a file system, or the process's limit on file sizes, has
// no room for what was asked. It matches syscall.ENOSPC, or syscall.EFBIG for
// the limit.
type SpaceError struct {
	Object string // the file
	Need   int64  // bytes that the file shall have in all
	Have   int64  // bytes that are free, beside what the file has already; -1 if not known
	Err    error  // what the kernel answered
}

func (e *SpaceError) Error() string {
	have := "an unknown number"
	if e.Have >= 0 {
		have = fmt.Sprint(e.Have)
	}
	fix := "make room on its file system, or ask for less"
	if errors.Is(e.Err, syscall.EFBIG) {
		fix = "raise ulimit -f, or ask for less"
	}
	return fmt.Sprintf("mmap: reserve %s: no room: %d bytes needed, %s free: %v (%s)", e.Object, e.Need, have, e.Err, fix)
}

// Unwrap returns Err.
func (e *SpaceError) Unwrap() error { return e.Err }

// reserveStep is how much is allocated by one call. On a tmpfs, kernels before
// 6.11 give everything back that a call interrupted by a signal had allocated; a
// profiler sends one every 10 ms, in which this much is done with ease.
const reserveStep = 4 << 20

// Reserve makes the file at least size bytes long and allocates them all. A
// file whose size was only set, with Truncate, consists of holes, and touching a
// hole for which there is no room is SIGBUS; after Reserve there are none. If
// there is no room it returns a [*SpaceError] and the file has the size it had;
// what it could allocate before may stay allocated. It never makes a file
// shorter, whatever others do to it at the same time. Where the file is memory (a tmpfs, a memfd),
// more than the machine or the control group still has is refused before any is
// taken, because taking it would have the kernel kill a program.
//
// On a file system that cannot allocate in advance (some network ones), Reserve
// sets the size only.
func Reserve(f *os.File, size int64) error {
	if f == nil {
		return &Error{"reserve", "nil file", os.ErrInvalid, "open a file first"}
	}
	var reserveErr error
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { reserveErr = reserve(int(fd), f.Name(), size) })
	}
	if err != nil {
		return &Error{"reserve", f.Name(), fmt.Errorf("%w: %w", os.ErrClosed, err), "reserve before closing the file"}
	}
	return reserveErr
}

// ReserveFD is [Reserve] for a bare descriptor, which errors call name.
func ReserveFD(fd int, name string, size int64) error { return reserve(fd, name, size) }

func reserve(fd int, name string, size int64) error {
	if size <= 0 {
		return &Error{"reserve", name, fmt.Errorf("%w %d", ErrLength, size), "reserve at least one byte"}
	}
	st, err := sys.Fstat(fd)
	if err != nil {
		return &Error{"reserve", name, err, ""}
	}
	// Beyond RLIMIT_FSIZE the kernel sends SIGXFSZ, which ends the program.
	if limit, err := sys.FileSizeLimit(); err == nil && size > st.Size && uint64(size) > limit {
		return &SpaceError{name, size, int64(limit), syscall.EFBIG}
	}
	// Ask before taking: allocating step by step until nothing is left would
	// hurt every other program, and running out of memory gets one killed.
	if need := size - st.Blocks*512; need > 0 {
		if have := free(fd); have >= 0 && need > have {
			return &SpaceError{name, size, have, syscall.ENOSPC}
		}
	}
	err = nil
	for at := int64(0); at < size && err == nil; at += reserveStep {
		err = retry(func() error { return sys.FallocateKeepSize(fd, at, min(size-at, reserveStep)) })
	}
	// The size comes last, and in a way that can only make the file longer:
	// somebody else may have done so meanwhile, and have it mapped.
	if err == nil && size > st.Size {
		err = retry(func() error { return sys.Fallocate(fd, size-1, 1) })
	}
	if errors.Is(err, syscall.EOPNOTSUPP) {
		if size <= st.Size {
			return nil
		}
		err = sys.Ftruncate(fd, size)
	}
	if err == nil {
		return nil
	}
	have := free(fd)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.EDQUOT):
		return &SpaceError{name, size, have, err}
	case errors.Is(err, syscall.EBADF):
		return &Error{"reserve", name, err, "open the file for writing"}
	case errors.Is(err, syscall.EPERM):
		return &Error{"reserve", name, err, "the file is sealed or immutable: it keeps its size"}
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ESPIPE):
		return &Error{"reserve", name, err, "only regular files and memory files can be reserved"}
	}
	return &Error{"reserve", name, err, ""}
}

// retry makes a call again that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// free returns how many bytes can still be allocated in the file system of fd,
// or -1. Files of a tmpfs, and memfds, are memory too: there the machine's and
// the control group's limits count beside the file system's own.
func free(fd int) int64 {
	fsys, err := sys.Fstatfs(fd)
	if err != nil || fsys.HugeTLB {
		return -1 // a pool of huge pages answers for itself
	}
	have := int64(math.MaxInt64)
	if fsys.Size > 0 {
		have = fsys.Free
	}
	if fsys.Memory {
		have = min(have, freeMemory(), freeInGroup())
	}
	if have == math.MaxInt64 {
		return -1
	}
	return have
}

// freeMemory returns what /proc/meminfo says can still be had without killing
// anybody, swap included; math.MaxInt64 if it says nothing.
func freeMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return math.MaxInt64
	}
	available, ok := numberOf(string(text), "MemAvailable:") // kB
	if !ok {
		return math.MaxInt64
	}
	swap, _ := numberOf(string(text), "SwapFree:")
	return (available + swap) << 10
}

// numberOf returns the number that follows a name at the beginning of a line.
func numberOf(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			digits, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			n, err := strconv.ParseInt(digits, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// freeInGroup returns what the memory limits of the process's control group and
// of those above it leave; math.MaxInt64 where there are none. What a group has
// in its page cache and can drop counts as free. Inside a container the process
// sees its own group as the top.
func freeInGroup() int64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return math.MaxInt64
	}
	have := int64(math.MaxInt64)
	for line := range strings.Lines(string(text)) {
		// number:controllers:path, see cgroups(7)
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				have = min(have, freeInBranch(top, parts[2], "memory.max", "memory.current", "file"))
			}
		case slices.Contains(strings.Split(parts[1], ","), "memory"):
			have = min(have, freeInBranch("/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"))
		}
	}
	return have
}

// freeInBranch looks at the group below top and at each one above it.
func freeInBranch(top, group, limitName, usageName, cacheName string) int64 {
	have := int64(math.MaxInt64)
	for group = filepath.Clean("/" + group); ; group = filepath.Dir(group) {
		dir := filepath.Join(top, group)
		limit, ok := readNumber(filepath.Join(dir, limitName))
		usage, ok2 := readNumber(filepath.Join(dir, usageName))
		if ok && ok2 {
			stat, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
			cached, _ := numberOf(string(stat), cacheName+" ")
			shmem, total := numberOf(string(stat), "total_shmem ") // in the cache, but it cannot be dropped
			if !total {
				shmem, _ = numberOf(string(stat), "shmem ")
			}
			have = min(have, max(0, limit-usage+max(0, cached-shmem)))
		}
		if group == "/" {
			return have
		}
	}
}

// readNumber reads a file of the control group; false for "max" too.
func readNumber(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
