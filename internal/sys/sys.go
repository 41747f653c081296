//go:build linux && (amd64 || arm64)

// Package sys is memlane's only door to the kernel (layer L0).
//
// Every function is one system call with Go types around it: no policy, no
// retries that a caller could not see, no state. Errors are bare
// [syscall.Errno] values; the packages above say which object they were
// working on and what the user can do about it.
//
// Memory that the kernel maps is passed around as a []byte of whole pages.
// Such a slice is not the Go heap's: the garbage collector neither moves nor
// frees it, and the race detector does not see accesses to it.
package sys

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Protections, sharing and flags of mmap(2), as Linux numbers them.
const (
	ProtNone  = unix.PROT_NONE
	ProtRead  = unix.PROT_READ
	ProtWrite = unix.PROT_WRITE
	ProtExec  = unix.PROT_EXEC

	MapShared         = unix.MAP_SHARED
	MapPrivate        = unix.MAP_PRIVATE
	MapAnonymous      = unix.MAP_ANONYMOUS
	MapFixedNoReplace = unix.MAP_FIXED_NOREPLACE
	MapHugeTLB        = unix.MAP_HUGETLB
	MapHugeShift      = unix.MAP_HUGE_SHIFT

	MremapMayMove = unix.MREMAP_MAYMOVE
)

// Flags of msync(2).
const (
	MsAsync      = unix.MS_ASYNC
	MsInvalidate = unix.MS_INVALIDATE
	MsSync       = unix.MS_SYNC
)

// Advice of madvise(2).
const (
	MadvNormal        = unix.MADV_NORMAL
	MadvRandom        = unix.MADV_RANDOM
	MadvSequential    = unix.MADV_SEQUENTIAL
	MadvWillNeed      = unix.MADV_WILLNEED
	MadvDontNeed      = unix.MADV_DONTNEED
	MadvFree          = unix.MADV_FREE
	MadvRemove        = unix.MADV_REMOVE
	MadvDontFork      = unix.MADV_DONTFORK
	MadvDoFork        = unix.MADV_DOFORK
	MadvWipeOnFork    = unix.MADV_WIPEONFORK
	MadvKeepOnFork    = unix.MADV_KEEPONFORK
	MadvHugePage      = unix.MADV_HUGEPAGE
	MadvNoHugePage    = unix.MADV_NOHUGEPAGE
	MadvCollapse      = unix.MADV_COLLAPSE
	MadvDontDump      = unix.MADV_DONTDUMP
	MadvDoDump        = unix.MADV_DODUMP
	MadvCold          = unix.MADV_COLD
	MadvPageOut       = unix.MADV_PAGEOUT
	MadvPopulateRead  = unix.MADV_POPULATE_READ
	MadvPopulateWrite = unix.MADV_POPULATE_WRITE
)

// EHWPoison is what MADV_POPULATE_* answers for a page with a memory error.
const EHWPoison = syscall.Errno(unix.EHWPOISON)

// Msync is msync(2) on whole pages.
func Msync(b []byte, flags int) error { return unix.Msync(b, flags) }

// Mprotect is mprotect(2) on whole pages.
func Mprotect(b []byte, prot int) error { return unix.Mprotect(b, prot) }

// Madvise is madvise(2) on whole pages.
func Madvise(b []byte, advice int) error { return unix.Madvise(b, advice) }

// Mlock is mlock(2) on whole pages.
func Mlock(b []byte) error { return unix.Mlock(b) }

// Munlock is munlock(2) on whole pages.
func Munlock(b []byte) error { return unix.Munlock(b) }

// Stat is what the packages above ask of an open descriptor.
type Stat struct {
	Dev, Ino  uint64
	Size      int64 // bytes
	Blocks    int64 // allocated, in units of 512 bytes
	Mode      uint32
	UID, GID  uint32
	LinkCount uint64
}

// Regular reports whether the descriptor is a regular file.
func (s *Stat) Regular() bool { return s.Mode&unix.S_IFMT == unix.S_IFREG }

// Fstat is fstat(2).
func Fstat(fd int) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Stat{}, err
	}
	return Stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, Blocks: st.Blocks,
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, LinkCount: uint64(st.Nlink),
	}, nil
}

// FS is what the packages above ask about the file system under a descriptor.
type FS struct {
	BlockSize int64 // of a hugetlbfs: the size of its pages
	Size      int64 // bytes in all; 0: the file system has no limit of its own
	Free      int64 // bytes that an ordinary user can still allocate, if Size is not 0
	HugeTLB   bool  // it is a hugetlbfs
	Memory    bool  // it is a tmpfs, or what memfds lie in: its files are memory
	Pseudo    bool  // it is a /proc or /sys: its files are not memory
	NoExec    bool  // it is mounted noexec
}

// FDPath returns the path under which this process can open the file of fd once
// more, whatever has become of its name.
func FDPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Fstatfs is fstatfs(2).
func Fstatfs(fd int) (FS, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return FS{}, err
	}
	return FS{
		BlockSize: int64(st.Bsize),
		Size:      int64(st.Blocks) * int64(st.Bsize),
		Free:      int64(st.Bavail) * int64(st.Bsize),
		Memory:    int64(st.Type) == unix.TMPFS_MAGIC,
		Pseudo:    int64(st.Type) == unix.PROC_SUPER_MAGIC || int64(st.Type) == unix.SYSFS_MAGIC,
		HugeTLB:   int64(st.Type) == unix.HUGETLBFS_MAGIC,
		NoExec:    int64(st.Flags)&unix.ST_NOEXEC != 0,
	}, nil
}

// AccessMode returns how fd was opened: [syscall.O_RDONLY], [syscall.O_WRONLY]
// or [syscall.O_RDWR].
func AccessMode(fd int) (int, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return 0, err
	}
	return flags & unix.O_ACCMODE, nil
}

// MemlockLimit returns RLIMIT_MEMLOCK's soft limit in bytes.
func MemlockLimit() (uint64, error) {
	var lim unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim)
	return lim.Cur, err
}
