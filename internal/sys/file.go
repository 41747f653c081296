//go:build linux && (amd64 || arm64)

package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// Flags of open(2) that package syscall lacks or names otherwise.
const (
	OPath     = unix.O_PATH
	OTmpfile  = unix.O_TMPFILE
	ONoFollow = unix.O_NOFOLLOW

	AtCwd = unix.AT_FDCWD // for a folder's descriptor: the working folder
)

// Seals of memfds, fcntl(2).
const (
	SealSeal        = unix.F_SEAL_SEAL
	SealShrink      = unix.F_SEAL_SHRINK
	SealGrow        = unix.F_SEAL_GROW
	SealFutureWrite = unix.F_SEAL_FUTURE_WRITE
)

// Openat is openat(2), always close-on-exec.
func Openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// OpenFolder opens a folder as a place to look names up in (O_PATH), through no
// symbolic link at all: openat2(2), ELOOP if there is one. Where a sandbox
// forbids that call, the last component alone is checked.
func OpenFolder(path string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err == unix.ENOSYS || err == unix.EPERM {
			return openFolderOld(path)
		}
		return fd, err
	}
}

func openFolderOld(path string) (int, error) {
	fd, err := Openat(unix.AT_FDCWD, path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	st, err := Fstat(fd)
	if err == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			return fd, nil
		case unix.S_IFLNK:
			err = unix.ELOOP
		default:
			err = unix.ENOTDIR
		}
	}
	unix.Close(fd)
	return -1, err
}

// Close is close(2).
func Close(fd int) error { return unix.Close(fd) }

// LinkFD gives the unnamed file fd a name in dir, linkat(2): EEXIST if the name
// is taken. It needs /proc, because linking a bare descriptor needs a privilege.
func LinkFD(fd, dir int, name string) error {
	return unix.Linkat(unix.AT_FDCWD, FDPath(fd), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// RenameNoReplace renames within dir, renameat2(2): EEXIST if to is taken.
func RenameNoReplace(dir int, from, to string) error {
	return unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE)
}

// Link gives a file of dir a second name there, linkat(2).
func Link(dir int, from, to string) error { return unix.Linkat(dir, from, dir, to, 0) }

// Unlinkat is unlinkat(2) for a name that is not a folder.
func Unlinkat(dir int, name string) error { return unix.Unlinkat(dir, name, 0) }

// Fallocate is fallocate(2) in mode 0: the range is allocated, and the file made
// longer if need be.
func Fallocate(fd int, offset, length int64) error { return unix.Fallocate(fd, 0, offset, length) }

// FallocateKeepSize is fallocate(2) that allocates, also behind the end of the
// file, and leaves its size.
func FallocateKeepSize(fd int, offset, length int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, offset, length)
}

// NextData returns where data begins at or after offset, lseek(2) SEEK_DATA:
// ENXIO if there is none.
func NextData(fd int, offset int64) (int64, error) { return unix.Seek(fd, offset, unix.SEEK_DATA) }

// NextHole returns where a hole begins at or after offset, SEEK_HOLE. Memory
// that was reserved and never touched is a hole too.
func NextHole(fd int, offset int64) (int64, error) { return unix.Seek(fd, offset, unix.SEEK_HOLE) }

// PunchHole is fallocate(2) that frees a range and keeps the file's size.
func PunchHole(fd int, offset, length int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
}

// Ftruncate is ftruncate(2).
func Ftruncate(fd int, size int64) error { return unix.Ftruncate(fd, size) }

// Fchmod is fchmod(2).
func Fchmod(fd int, mode uint32) error { return unix.Fchmod(fd, mode) }

// Fchown is fchown(2); -1 leaves an id as it is.
func Fchown(fd, uid, gid int) error { return unix.Fchown(fd, uid, gid) }

// TryFlock takes an exclusive flock(2), or fails with EWOULDBLOCK.
func TryFlock(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }

// TryFlockShared is TryFlock for a lock that others can share: EWOULDBLOCK if
// somebody has one that they cannot.
func TryFlockShared(fd int) error { return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) }

// Funlock gives up what [TryFlock] took.
func Funlock(fd int) error { return unix.Flock(fd, unix.LOCK_UN) }

// Memfd is memfd_create(2): sealable, close-on-exec, never executable.
// hugeShift is the logarithm of the size of the huge pages it shall be made of,
// 0 for ordinary pages.
func Memfd(name string, hugeShift int) (int, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if hugeShift != 0 {
		flags |= unix.MFD_HUGETLB | hugeShift<<unix.MFD_HUGE_SHIFT
	}
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	return fd, err
}

// AddSeals is fcntl(2) with F_ADD_SEALS.
func AddSeals(fd, seals int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return err
}

// Seals is fcntl(2) with F_GET_SEALS: EINVAL for a file that cannot have any.
func Seals(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0) }

// DupCloexec is fcntl(2) with F_DUPFD_CLOEXEC.
func DupCloexec(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}

// FileSizeLimit returns RLIMIT_FSIZE's soft limit in bytes.
func FileSizeLimit() (uint64, error) {
	var lim unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_FSIZE, &lim)
	return lim.Cur, err
}

// Times are the times of a file.
type Times struct {
	Born, Changed, Modified time.Time // Born is zero where the file system keeps none
}

// FileTimes asks statx(2) for the times of an open file.
func FileTimes(fd int) (Times, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME|unix.STATX_MTIME|unix.STATX_CTIME, &st); err != nil {
		return Times{}, err
	}
	at := func(ts unix.StatxTimestamp) time.Time { return time.Unix(ts.Sec, int64(ts.Nsec)) }
	t := Times{Changed: at(st.Ctime), Modified: at(st.Mtime)}
	if st.Mask&unix.STATX_BTIME != 0 {
		t.Born = at(st.Btime)
	}
	return t, nil
}

// Dev is the number that [Stat] gives for a device.
func Dev(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }
