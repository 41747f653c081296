//go:build linux && (amd64 || arm64)

package sys

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations and flags of futex(2) and futex_waitv(2). FUTEX_PRIVATE_FLAG is
// missing on purpose: words in shared memory are known to the kernel by what is
// mapped, not by an address of this process.
const (
	futexWait = 0
	futexWake = 1
	futexU32  = 2 // FUTEX2_SIZE_U32
)

// FutexAll wakes all who wait.
const FutexAll = math.MaxInt32

// FutexWaitvMax is how many words one FutexWaitv takes.
const FutexWaitvMax = 128

// FutexWait is futex(2) FUTEX_WAIT: it sleeps while *word is seen, at most for
// timeout. nil is a wake, by anybody; EAGAIN: the word was another; ETIMEDOUT;
// EINTR. It is an ordinary system call to the scheduler, which lets other
// goroutines run; a raw one would stop the garbage collector.
func FutexWait(word *uint32, seen uint32, timeout time.Duration) error {
	ts := unix.NsecToTimespec(int64(timeout))
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(seen), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// FutexWake is futex(2) FUTEX_WAKE: it wakes up to n of those who wait on word
// and returns how many. It does not block, so the scheduler is not told.
func FutexWake(word *uint32, n int) int {
	woken, _, errno := unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, uintptr(n))
	if errno != 0 {
		return 0
	}
	return int(woken)
}

// A FutexWaiter is one word of FutexWaitv, with what it is expected to be. The
// layout is the kernel's struct futex_waitv.
type FutexWaiter struct {
	seen  uint64
	word  unsafe.Pointer
	flags uint32
	_     uint32
}

// NewFutexWaiter returns the waiter for a word.
func NewFutexWaiter(word *uint32, seen uint32) FutexWaiter {
	return FutexWaiter{seen: uint64(seen), word: unsafe.Pointer(word), flags: futexU32}
}

// FutexWaitv is futex_waitv(2): it sleeps while every word is as expected, at
// most for timeout, and returns the index of the one that was woken. The errors
// are those of [FutexWait].
func FutexWaitv(waiters []FutexWaiter, timeout time.Duration) (int, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return -1, err
	}
	deadline := unix.NsecToTimespec(now.Nano() + int64(timeout))
	i, _, errno := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(unsafe.SliceData(waiters))), uintptr(len(waiters)), 0,
		uintptr(unsafe.Pointer(&deadline)), unix.CLOCK_MONOTONIC, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(i), nil
}
