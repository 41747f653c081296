package proctest

import (
	"fmt"
	"os"
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
	return answer([]rule{{call: call, number: number}})
}

// A rule is what the kernel answers to a system call: to all of them, or to those of
// which an argument has a value, or some bits.
type rule struct {
	call        uint32
	argument    int // counted from 1; 0: whatever they are
	value, bits uint32
	number      syscall.Errno
}

// answer has the kernel follow the rules from now on.
func answer(rules []rule) error {
	const (
		setNoNewPrivs = 38 // prctl
		modeFilter    = 1  // seccomp
		allThreads    = 1
		allow, errno  = 0x7fff0000, 0x00050000
		// BPF
		load, jumpIfEq, jumpIfSet, end = 0x20, 0x15, 0x45, 0x06
	)
	type instruction struct {
		code          uint16
		ifTrue, else_ uint8
		k             uint32
	}
	var filter []instruction
	for _, r := range rules {
		test := []instruction{{end, 0, 0, errno | uint32(r.number)}}
		switch at := 16 + 8*(uint32(r.argument)-1); {
		case r.argument != 0 && r.bits != 0:
			test = append([]instruction{{load, 0, 0, at}, {jumpIfSet, 0, 1, r.bits}}, test...)
		case r.argument != 0:
			test = append([]instruction{{load, 0, 0, at}, {jumpIfEq, 0, 1, r.value}}, test...)
		}
		filter = append(filter, instruction{load, 0, 0, 0}, instruction{jumpIfEq, 0, uint8(len(test)), r.call})
		filter = append(filter, test...)
	}
	filter = append(filter, instruction{end, 0, 0, allow})
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

// oldKernelVariable has a helper begin as under an old kernel.
const oldKernelVariable = "MEMLANE_TEST_OLD_KERNEL"

// OldKernel is the setting of a helper for which the kernel is like Linux 6.1, as far as
// the answers of single system calls make it so.
const OldKernel = oldKernelVariable + "=1"

func init() {
	if os.Getenv(oldKernelVariable) == "" {
		return
	}
	const (
		cachestat, mseal = 451, 462
		peerPidfd        = 77 // SO_PEERPIDFD
		noExecSeal       = 8  // MFD_NOEXEC_SEAL
	)
	err := answer([]rule{
		{call: syscall.SYS_GETSOCKOPT, argument: 3, value: peerPidfd, number: syscall.ENOPROTOOPT}, // before 6.5
		{call: memfdCreate, argument: 2, bits: noExecSeal, number: syscall.EINVAL},                 // before 6.3
		{call: cachestat, number: syscall.ENOSYS},                                                  // before 6.5
		{call: mseal, number: syscall.ENOSYS},                                                      // before 6.10
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "be an old kernel:", err)
		os.Exit(2)
	}
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
