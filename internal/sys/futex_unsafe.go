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
	futexWaitBitset = 9
	futexWakeBitset = 10
	futexU32        = 2 // FUTEX2_SIZE_U32
)

// FutexAll wakes all who wait.
const FutexAll = math.MaxInt32

// FutexAnyBit is for those who sleep with any bit: FUTEX_BITSET_MATCH_ANY.
const FutexAnyBit = math.MaxUint32

// FutexWaitvMax is how many words one FutexWaitv takes.
const FutexWaitvMax = 128

// FutexWait is futex(2) FUTEX_WAIT_BITSET: it sleeps while *word is seen, at
// most for timeout if that is not 0, and is waked by those who wake one of its
// bits. nil is a wake, by anybody; EAGAIN: the word was another; ETIMEDOUT;
// EINTR. It is an ordinary system call to the scheduler, which lets other
// goroutines run; a raw one would stop the garbage collector.
func FutexWait(word *uint32, seen, bits uint32, timeout time.Duration) error {
	var deadline *unix.Timespec
	if timeout != 0 { // the kernel wants the point in time for it
		deadline = new(unix.Timespec)
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, deadline); err != nil {
			return err
		}
		*deadline = unix.NsecToTimespec(deadline.Nano() + int64(timeout))
	}
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitBitset, uintptr(seen), uintptr(unsafe.Pointer(deadline)), 0, uintptr(bits))
	if errno != 0 {
		return errno
	}
	return nil
}

// FutexWake is futex(2) FUTEX_WAKE_BITSET: it wakes up to n of those who wait on
// word with one of the bits, and returns how many. It does not block, so the
// scheduler is not told.
func FutexWake(word *uint32, n int, bits uint32) int {
	woken, _, errno := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakeBitset, uintptr(n), 0, 0, uintptr(bits))
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

// FutexWaitv is futex_waitv(2): it sleeps while every word is as expected, and
// returns the index of the one that was woken. The errors are those of
// [FutexWait].
func FutexWaitv(waiters []FutexWaiter) (int, error) {
	i, _, errno := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(unsafe.SliceData(waiters))), uintptr(len(waiters)), 0, 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(i), nil
}
