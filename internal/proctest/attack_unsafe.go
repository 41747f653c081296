package proctest

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Requeue does what a hostile process can do to those who sleep on a word that
// it has mapped, if only for reading: it moves them to another word, where no
// wake for the first reaches them. It returns how many it moved.
func Requeue(from, to *atomic.Uint32) int {
	const futexRequeue, all = 3, 1<<31 - 1
	n, _, _ := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(from)), futexRequeue, 0, all, uintptr(unsafe.Pointer(to)), 0)
	return int(n)
}
