package step

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A Victim is a process that is traced. All of its methods are to be called on the
// thread that has called Start, to which the goroutine must be locked.
type Victim struct {
	pid     int
	monitor int // the thread of the runtime's system monitor, which is held; 0: none
	vdso    uint64
	memory  *os.File           // nil until something is read from it
	regs    syscall.PtraceRegs // at the last stop

	syscalls int            // made since Begin
	entered  bool           // it is in a system call: it has begun, and not ended
	asleep   bool           // it was found asleep in it
	steps    int            // that StepTo has made
	pending  syscall.Signal // that it was about to be given; 0: none
	gone     bool
}

// Start starts this program again as a victim, with the arguments, and returns when
// it stands at its first mark. Its standard output and error are this process's.
// The caller must be locked to its thread.
func Start(args ...string) (*Victim, error) {
	for tries := 1; ; tries++ {
		v := &Victim{}
		err := v.start(args)
		if err == nil {
			return v, nil
		}
		v.Kill()
		if !errors.Is(err, errHeld) || tries == triesToStart {
			return nil, fmt.Errorf("start a victim: %w", err)
		}
	}
}

// errHeld says that a victim does not get to its first mark since its monitor is held:
// one in ten thousand, whose other goroutines came to a system call just then. The
// monitor would take the processor (P) that they keep away from them. Nothing that is
// watched has begun, so that another victim does as well.
var errHeld = errors.New("it does not get on without its monitor")

const triesToStart = 3

func (v *Victim) start(args []string) error {
	var err error
	// With one processor of the Go runtime no other thread does what the victim
	// would have done, or waits for, at another moment each time.
	v.pid, _, err = syscall.StartProcess("/proc/self/exe", append([]string{os.Args[0]}, args...), &syscall.ProcAttr{
		Env: append(os.Environ(), victimVariable+"=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=1",
			"GORACE=atexit_sleep_ms=0"),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL, Setpgid: true},
	})
	if err != nil {
		v.gone = true
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
			return fmt.Errorf("%w: %w", ErrForbidden, err)
		}
		return err
	}
	if _, err := v.wait(); err != nil { // for its exec
		return err
	}
	if err := syscall.PtraceSetOptions(v.pid, syscall.PTRACE_O_TRACESYSGOOD|optionExitKill); err != nil {
		return fmt.Errorf("set options: %w", err)
	}
	for v.pending = 0; v.pending != syscall.SIGCONT; {
		if _, err := v.resume(syscall.PTRACE_CONT); err != nil {
			return err
		}
	}
	v.pending = 0
	if err := v.holdMonitor(); err != nil {
		return err
	}
	if v.vdso, err = vdsoOf(v.pid); err != nil {
		return err
	}
	if err := v.toMark(); err != nil {
		return err
	}
	if _, err := v.resume(syscall.PTRACE_SYSCALL); err != nil { // out of it
		return err
	}
	if f := runtime.FuncForPC(uintptr(v.regs.Rip)); f == nil || !strings.HasSuffix(f.Name(), "Syscall6") {
		return fmt.Errorf("the victim's code lies elsewhere than ours (%#x): build this program without -buildmode=pie", v.regs.Rip)
	}
	return nil
}

// toMark lets the victim go on to its first mark, which takes no time but for errHeld.
func (v *Victim) toMark() error {
	late := time.AfterFunc(Limit, func() { syscall.Kill(v.pid, syscall.SIGKILL) })
	defer late.Stop()
	for !v.at(markBegin) {
		if _, err := v.resume(syscall.PTRACE_SYSCALL); err != nil {
			if !late.Stop() {
				err = fmt.Errorf("%w: %w", errHeld, err)
			}
			return err
		}
	}
	return nil
}

// PID returns the victim's process id.
func (v *Victim) PID() int { return v.pid }

// at says whether the victim is about to make the call of a mark, or just has.
func (v *Victim) at(mark uint64) bool {
	// Before the call its number is in one register, after it has begun in another.
	call := v.regs.Orig_rax
	if int64(call) < 0 {
		call = v.regs.Rax
	}
	return call == markCall && v.regs.Rdi == mark && v.regs.Rsi == ^mark
}

// resume lets the victim go on in one of ptrace's ways, and waits until it stops.
func (v *Victim) resume(how int) (syscall.WaitStatus, error) {
	if err := v.letGo(how); err != nil {
		return 0, err
	}
	return v.wait()
}

func (v *Victim) letGo(how int) error {
	err := ptrace(how, v.pid, 0, uintptr(v.pending))
	v.pending = 0
	return err
}

// wait waits until the victim stops.
func (v *Victim) wait() (syscall.WaitStatus, error) {
	var status syscall.WaitStatus
	for {
		// For its whole group, to which nobody else belongs: if it ends, its first
		// thread can be waited for only when the other one that is traced has been.
		switch thread, err := syscall.Wait4(-v.pid, &status, syscall.WALL, nil); {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait for process %d: %w", v.pid, err)
		case thread == v.pid:
			return status, v.stopped(status)
		case !status.Stopped():
			v.monitor = 0
		}
	}
}

// stopped takes note of what a wait has returned.
func (v *Victim) stopped(status syscall.WaitStatus) error {
	if !status.Stopped() {
		v.gone = true
		return fmt.Errorf("%w: exit status %d, signal %v", ErrEnded, status.ExitStatus(), status.Signal())
	}
	if sig := status.StopSignal(); sig != syscall.SIGTRAP && sig != syscall.SIGTRAP|syscallStop {
		v.pending = sig
	}
	if err := syscall.PtraceGetRegs(v.pid, &v.regs); err != nil {
		return fmt.Errorf("read the registers of process %d: %w", v.pid, err)
	}
	return nil
}

// awaitCall waits for the end of a system call; asleep if it is a sleep that others
// can end, and nobody has so far.
func (v *Victim) awaitCall() (status syscall.WaitStatus, asleep bool, err error) {
	const soon = 50 * time.Microsecond
	begun := time.Now()
	for pause := soon; ; {
		thread, err := syscall.Wait4(-v.pid, &status, syscall.WALL|syscall.WNOHANG, nil)
		waited := time.Since(begun)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, false, fmt.Errorf("wait for process %d: %w", v.pid, err)
		case thread == v.pid:
			return status, false, v.stopped(status)
		case thread == v.monitor && thread != 0 && !status.Stopped():
			v.monitor = 0
		case waited > Limit:
			return 0, false, fmt.Errorf("%w: system call %d of process %d has not ended after %v", ErrStuck, int64(v.regs.Orig_rax), v.pid, waited)
		case waited > soon && !v.asleep && Sleeps(v.pid, v.pid):
			return 0, true, nil
		case waited > soon:
			time.Sleep(pause)
			pause = min(2*pause, time.Millisecond)
		}
	}
}

// Kill ends the victim with SIGKILL and returns when nothing is left of it.
func (v *Victim) Kill() error {
	if v.gone {
		return nil
	}
	if err := syscall.Kill(v.pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", v.pid, err)
	}
	_, err := v.Wait()
	return err
}

// Release stops tracing. The victim goes on by itself.
func (v *Victim) Release() error {
	if err := breakAt(v.pid, 0); err != nil {
		return err
	}
	if err := syscall.PtraceDetach(v.monitor); err != nil {
		return fmt.Errorf("let the system monitor go: %w", err)
	}
	v.monitor = 0
	return ptrace(syscall.PTRACE_DETACH, v.pid, 0, uintptr(v.pending))
}

// Wait waits until a victim that was released or killed has ended, and returns how.
func (v *Victim) Wait() (syscall.WaitStatus, error) {
	// A thread that is traced has to be waited for before its process can be.
	if v.monitor != 0 {
		if _, err := v.reap(v.monitor); err != nil {
			return 0, err
		}
		v.monitor = 0
	}
	if v.memory != nil {
		v.memory.Close()
		v.memory = nil
	}
	status, err := v.reap(v.pid)
	v.gone = v.gone || err == nil
	return status, err
}

func (v *Victim) reap(thread int) (syscall.WaitStatus, error) {
	begun := time.Now()
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(thread, &status, syscall.WALL|syscall.WNOHANG, nil)
		switch {
		case err != nil && err != syscall.EINTR:
			return 0, fmt.Errorf("wait for the end of process %d: %w", v.pid, err)
		case err == nil && pid == thread && !status.Stopped():
			return status, nil
		case time.Since(begun) > Limit:
			return 0, fmt.Errorf("wait for the end of process %d: %w", v.pid, ErrStuck)
		}
		time.Sleep(pause)
	}
}

// vdsoOf returns where the vDSO of a process lies.
func vdsoOf(pid int) (uint64, error) {
	const sysinfoEhdr = 33 // AT_SYSINFO_EHDR
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, fmt.Errorf("find the vDSO: %w", err)
	}
	for ; len(text) >= 16; text = text[16:] {
		if binary.LittleEndian.Uint64(text) == sysinfoEhdr {
			return binary.LittleEndian.Uint64(text[8:]), nil
		}
	}
	return 0, nil
}
