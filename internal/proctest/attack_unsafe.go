package proctest

import (
	"syscall"
	"unsafe"
)

// Requeue does what a hostile process can do to those who sleep on a word that
// it has mapped, if only for reading: it moves them to another word, where no
// wake for the first reaches them. It returns how many it moved.
func Requeue(from, to *uint32) int {
	const futexRequeue, all = 3, 1<<31 - 1
	n, _, _ := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(from)), futexRequeue, 0, all, uintptr(unsafe.Pointer(to)), 0)
	return int(n)
}

// Forbid has the kernel answer EPERM to a system call of all threads of this
// process from now on, as the sandboxes of containers do with those they do not
// know.
func Forbid(call uint32) error {
	const (
		setNoNewPrivs  = 38 // prctl
		modeFilter     = 1  // seccomp
		allThreads     = 1
		load, jumpIfEq = 0x20, 0x15 // BPF
		answer         = 0x06
		allow, errno   = 0x7fff0000, 0x00050000
	)
	type instruction struct {
		code          uint16
		ifTrue, else_ uint8
		k             uint32
	}
	filter := []instruction{
		{load, 0, 0, 0}, // the number of the call
		{jumpIfEq, 0, 1, call},
		{answer, 0, 0, errno | uint32(syscall.EPERM)},
		{answer, 0, 0, allow},
	}
	program := struct {
		length uint16
		filter *instruction
	}{uint16(len(filter)), &filter[0]}
	if _, _, err := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0); err != 0 {
		return err
	}
	if _, _, err := syscall.RawSyscall(seccomp, modeFilter, allThreads, uintptr(unsafe.Pointer(&program))); err != 0 {
		return err
	}
	return nil
}
