package step

import (
	"fmt"
	"syscall"
)

// What package syscall has no name for.
const (
	ptraceSeize     = 0x4206
	ptraceInterrupt = 0x4207
	optionExitKill  = 0x00100000
	// debugRegisters is offsetof(struct user, u_debugreg); each has 8 bytes.
	debugRegisters = 848
	// syscallStop is the bit that PTRACE_O_TRACESYSGOOD adds to SIGTRAP.
	syscallStop = 0x80
)

// ptrace is ptrace(2) of the requests that take no address of memory.
func ptrace(request, thread int, address, data uintptr) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, uintptr(request), uintptr(thread), address, data, 0, 0)
	if errno != 0 {
		return fmt.Errorf("ptrace request %#x of thread %d: %w", request, thread, errno)
	}
	return nil
}

// breakAt has the processor stop the thread before it executes the instruction;
// 0: nowhere. The register is the thread's own, so that the victim's other
// threads run over the place.
func breakAt(thread int, address uint64) error {
	if err := ptrace(syscall.PTRACE_POKEUSR, thread, debugRegisters, uintptr(address)); err != nil {
		return err
	}
	enable := uintptr(1) // L0, on execution
	if address == 0 {
		enable = 0
	}
	return ptrace(syscall.PTRACE_POKEUSR, thread, debugRegisters+7*8, enable)
}
