package proctest

import (
	"runtime"
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
func Forbid(call uint32) error { return Answer(call, syscall.EPERM) }

// Answer has the kernel answer so to a system call of all threads of this process from
// now on.
func Answer(call uint32, number syscall.Errno) error {
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
		{answer, 0, 0, errno | uint32(number)},
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

// Fork makes a child of this process that does not execute a program, as programs
// in other languages do, and returns its id. The child does nothing but sleep; it
// has what a forked child has. Kill it.
func Fork() (pid int, err error) { return fork(nil) }

// ForkAndTell is Fork whose child calls tell first, and reports what it returned
// on the descriptor as one byte. tell must not allocate, block or start
// goroutines: of the parent's threads the child has only this one.
func ForkAndTell(fd int, tell func() byte) (pid int, err error) {
	return fork(func() {
		b := [1]byte{tell()}
		syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1)
	})
}

func fork(inChild func()) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if r != 0 {
		return int(r), nil
	}
	if inChild != nil {
		inChild()
	}
	ts := syscall.Timespec{Sec: 1}
	for {
		syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
}
