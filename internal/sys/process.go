//go:build linux && (amd64 || arm64)

package sys

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Gettid is gettid(2): the id of the calling thread, as its PID namespace has it.
func Gettid() int {
	tid, _, _ := unix.RawSyscall(unix.SYS_GETTID, 0, 0, 0)
	return int(tid)
}

// OpenThreads opens the directory of this process's threads, for [InterruptThreads].
func OpenThreads() (*os.File, error) { return os.Open("/proc/self/task") }

// InterruptThreads has all threads of this process begin the system call anew in
// which they sleep: by SIGURG, which the Go runtime sends them for its own reasons,
// and whose handler it installs with SA_RESTART. A program that is notified of SIGURG
// sees some more. Calls that the kernel does not begin anew, signal(7), fail with
// EINTR, as with any signal. The directory is used by one caller at a time.
func InterruptThreads(directory *os.File) error {
	if _, err := directory.Seek(0, io.SeekStart); err != nil {
		return err
	}
	names, err := directory.Readdirnames(-1)
	for _, name := range names {
		if thread, err := strconv.Atoi(name); err == nil {
			unix.Tgkill(os.Getpid(), thread, unix.SIGURG) // it may have ended meanwhile
		}
	}
	return err
}

// PidfdOpen is pidfd_open(2): ESRCH if there is no such process.
func PidfdOpen(pid int) (int, error) { return unix.PidfdOpen(pid, 0) }

// Readable reports whether a descriptor is ready for reading; a pidfd is when all
// threads of its process have ended, also if nobody has waited for it yet.
func Readable(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return n > 0, err
		}
	}
}

// PidfdInode returns the inode number of a pidfd, which the kernel gives to one
// process only; 0 before Linux 6.9, where all pidfds have the same.
func PidfdInode(fd int) (uint64, error) {
	const pidfsMagic = 0x50494446 // PID_FS_MAGIC
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, err
	}
	if fs.Type != pidfsMagic {
		return 0, nil
	}
	st, err := Fstat(fd)
	return st.Ino, err
}

// OverflowUID returns the user id that stands for unknown users in this
// process's user namespace; -1 if there are none, because it knows all.
var OverflowUID = sync.OnceValue(func() int {
	var first, host, count uint64
	if text, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		fmt.Sscan(string(text), &first, &host, &count)
	}
	if count == 0 || (first == 0 && count >= 1<<32-1) {
		return -1
	}
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return 65534
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 65534
	}
	return id
})

// ErrLocked is what [LockByte] answers if somebody has the lock.
const ErrLocked = unix.EAGAIN

// LockByte takes a write lock on one byte of a file, fcntl(2) F_OFD_SETLK. It
// belongs to the open file description: it ends when the last descriptor of it is
// closed, which for one that nobody else has the kernel does when the process
// ends or executes another program, after its memory is gone.
func LockByte(fd int, offset int64) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: offset, Len: 1}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock)
	if err == unix.EACCES {
		err = unix.EAGAIN
	}
	return err
}

// ShareByte takes an OFD read lock on a byte of a file, which several can have.
func ShareByte(fd int, offset int64) error {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: offset, Len: 1}
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock)
}

// RangeLocked returns the first byte of a lock, of whatever kind, that somebody else
// than this descriptor's open file description has on bytes of the file from offset
// on, n of them; 0: up to the end.
func RangeLocked(fd int, offset, n int64) (at int64, locked bool, err error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: offset, Len: n}
	err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock)
	return lock.Start, lock.Type != unix.F_UNLCK, err
}

// ByteLocked reports whether somebody has a write lock on a byte of a file, other
// than through this descriptor's own open file description: F_OFD_GETLK. A lock
// for reading does not count, because whoever may read the file can take one.
func ByteLocked(fd int, offset int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: offset, Len: 1}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock)
	return lock.Type != unix.F_UNLCK, err
}
