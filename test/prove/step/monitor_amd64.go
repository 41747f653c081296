package step

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// holdMonitor stops the system monitor of the victim's Go runtime. It would take
// the processor (the runtime's P) away from a thread that is stopped in a system
// call or runs for ten milliseconds, and the path of the next run would be
// another. The Go runtime needs it for nothing that a victim does.
func (v *Victim) holdMonitor() error {
	thread, err := secondThread(v.pid)
	if err != nil {
		return fmt.Errorf("find the system monitor of process %d: %w", v.pid, err)
	}
	if err := ptrace(ptraceSeize, thread, 0, optionExitKill); err != nil {
		return err
	}
	v.monitor = thread
	for end := time.Now().Add(Limit); time.Now().Before(end); {
		if err := ptrace(ptraceInterrupt, thread, 0, 0); err != nil {
			return err
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(thread, &status, syscall.WALL, nil); err != nil {
			return fmt.Errorf("wait for the system monitor: %w", err)
		}
		var regs syscall.PtraceRegs
		if err := syscall.PtraceGetRegs(thread, &regs); err != nil {
			return fmt.Errorf("look at the system monitor: %w", err)
		}
		// It naps most of the time, and holds none of the runtime's locks then.
		if call := int64(regs.Orig_rax); call == syscall.SYS_NANOSLEEP || call == syscall.SYS_FUTEX {
			return nil
		}
		if err := syscall.PtraceCont(thread, 0); err != nil {
			return fmt.Errorf("let the system monitor go on: %w", err)
		}
	}
	return fmt.Errorf("find the system monitor napping: %w", ErrStuck)
}

// secondThread returns the thread that the process has made first: the Go runtime
// makes its system monitor before it runs anything else. The kernel lists threads
// in the order in which they were made.
func secondThread(pid int) (int, error) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	if len(names) < 2 || names[0] != strconv.Itoa(pid) {
		return 0, errors.New("it has no second thread")
	}
	return strconv.Atoi(names[1])
}
