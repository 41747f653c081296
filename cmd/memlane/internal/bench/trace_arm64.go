package bench

import "syscall"

// callOf returns the system call that a thread is stopped at.
func callOf(r *syscall.PtraceRegs) uint64 { return r.Regs[8] }
