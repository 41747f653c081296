//go:build linux && (amd64 || arm64)

package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct for rt_sigaction(2).
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// installBusHandler puts busHandler before the handler of SIGBUS that is there,
// the Go runtime's, with its flags.
func installBusHandler() error {
	var sa sigaction
	if err := rtSigaction(syscall.SIGBUS, nil, &sa); err != nil {
		return err
	}
	if sa.handler <= 1 { // SIG_DFL, SIG_IGN: this is no ordinary Go program
		return unix.ENOTSUP
	}
	busPage = uintptr(os.Getpagesize())
	busBefore = sa.handler
	sa.handler = busHandler()
	return rtSigaction(syscall.SIGBUS, &sa, nil)
}

func rtSigaction(sig syscall.Signal, new, old *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(new)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(sigaction{}.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ZeroOver replaces mapped memory, of whole pages, by private zeros at the same
// address: who still holds a slice of it neither faults nor reaches what was
// mapped there. The address is not given back.
func ZeroOver(b []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_MMAP, address(b), uintptr(len(b)), ProtRead|ProtWrite,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED|unix.MAP_NORESERVE, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
