// Package calls runs a process, the victim, and stops all of its threads at any system
// call that any of them makes, before it or after it. There it can be killed, or left
// standing while others go on.
//
// What is of interest begins with a mark, [Begin], which the victim sets itself. It is
// the program that traces, started again. Calls with which the Go runtime keeps its
// threads and its heap are not counted: nobody outside can see that they were made.
//
// Unlike package step it does not hold the victim's threads: which of them makes its call
// first is left to chance, as it is without a tracer, and so is how many calls there are.
package calls

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What can be wrong, for errors.Is.
var (
	// ErrForbidden: this process may not trace others, as in some sandboxes.
	ErrForbidden = errors.New("ptrace is forbidden here")
	// ErrStuck: the victim does not go on.
	ErrStuck = errors.New("the victim does not go on")
)

// Limit is how long a victim may take for anything before it counts as stuck.
const Limit = 10 * time.Second

// The mark is a call of getpriority(2) that nobody else makes and that fails.
const mark = 0x6d656d6e

// Begin is the mark.
func Begin() { syscall.RawSyscall(syscall.SYS_GETPRIORITY, mark, ^uintptr(mark), 0) }

// A Victim is a process that is traced, or is let go on without. All of its methods but
// Signal are to be called on the thread that has called Start, to which the goroutine
// must be locked.
type Victim struct {
	pid     int
	threads map[int]*thread
	begun   bool
	count   int    // system calls since the mark, before and after each
	last    string // the last one
	gone    bool
}

// thread is one of the victim's that is traced.
type thread struct {
	inside  bool // it is in a system call: it has begun, and not ended
	stopped bool
}

// Options of ptrace(2) that package syscall has no names for.
const (
	optionExitKill = 0x100000
	syscallStop    = 0x80
)

// Start starts this program again as a victim, with the arguments; traced, if it is to be
// taken to a system call. files become its files from 3 on.
func Start(traced bool, files []*os.File, args ...string) (*Victim, error) {
	v := &Victim{threads: map[int]*thread{}}
	attr := &syscall.ProcAttr{Env: append(os.Environ(), "GORACE=atexit_sleep_ms=0"), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Ptrace: traced, Pdeathsig: syscall.SIGKILL, Setpgid: true}}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	var err error
	v.pid, _, err = syscall.StartProcess("/proc/self/exe", append([]string{os.Args[0]}, args...), attr)
	if err != nil {
		if traced && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS)) {
			err = fmt.Errorf("%w: %w", ErrForbidden, err)
		}
		return nil, fmt.Errorf("start a victim: %w", err)
	}
	if !traced {
		return v, nil
	}
	v.threads[v.pid] = &thread{}
	if _, _, err := v.wait(); err != nil { // for its exec
		return nil, errors.Join(err, v.Kill())
	}
	const options = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | optionExitKill
	if err := syscall.PtraceSetOptions(v.pid, options); err != nil {
		return nil, errors.Join(fmt.Errorf("set options: %w", err), v.Kill())
	}
	return v, nil
}

// PID returns the victim's process id.
func (v *Victim) PID() int { return v.pid }

// Last names the system call at which it stands, and says whether it is before it.
func (v *Victim) Last() string { return v.last }

// Count returns how many places the victim has come by: two for each system call.
func (v *Victim) Count() int { return v.count }

// errEnded: the victim has come to its end.
var errEnded = errors.New("the victim has ended")

// RunTo takes a victim that is traced to place number n, and stops all of its threads
// there. meanwhile is called now and then, until it is there. ended says that it has come
// to its end before.
func (v *Victim) RunTo(n int, meanwhile func() error) (ended bool, err error) {
	last := time.Now()
	for at := v.pid; ; {
		if at != 0 {
			last = time.Now()
			if err := v.letGo(at, 0); err != nil {
				return false, err
			}
		}
		var sig syscall.Signal
		at, sig, err = v.poll()
		switch {
		case errors.Is(err, errEnded):
			return true, nil
		case err != nil:
			return false, err
		case at == 0:
			if err := meanwhile(); err != nil {
				return false, err
			}
			if time.Since(last) > Limit {
				return false, fmt.Errorf("%w: after %d system calls, the last is %s", ErrStuck, v.count, v.last)
			}
			time.Sleep(20 * time.Microsecond)
		case sig == syscall.SIGTRAP|syscallStop:
			v.note(at)
			if v.count > n {
				return false, v.freeze()
			}
		case sig != syscall.SIGTRAP && sig != syscall.SIGSTOP: // the Go runtime's own, such as SIGURG
			if err := v.letGo(at, sig); err != nil {
				return false, err
			}
			at = 0
		}
	}
}

// note counts the system call at which a thread stands.
func (v *Victim) note(tid int) {
	t := v.threads[tid]
	t.inside = !t.inside
	call, args := v.call(tid)
	if !v.begun {
		v.begun = call == syscall.SYS_GETPRIORITY && args[0] == mark
		return
	}
	if quiet(call, args) {
		return
	}
	v.count++
	v.last = fmt.Sprintf("%s system call %d of thread %d", map[bool]string{true: "before", false: "after"}[t.inside], call, tid)
}

// call returns the number of the system call that a thread is in, and its arguments; -1
// if it has been killed meanwhile.
func (v *Victim) call(tid int) (number int, args [6]uint64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", v.pid, tid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 7 {
		return -1, args
	}
	number, err = strconv.Atoi(fields[0])
	if err != nil {
		return -1, args
	}
	for i := range args {
		args[i], _ = strconv.ParseUint(strings.TrimPrefix(fields[1+i], "0x"), 16, 64)
	}
	return number, args
}

// quiet says whether a system call is one of those that nobody outside can see.
func quiet(call int, args [6]uint64) bool {
	const (
		futexPrivate = 128
		clone3       = 435
	)
	switch call {
	case syscall.SYS_FUTEX:
		return args[1]&futexPrivate != 0
	case syscall.SYS_MMAP:
		return args[3]&syscall.MAP_ANONYMOUS != 0
	case syscall.SYS_NANOSLEEP, syscall.SYS_SCHED_YIELD, syscall.SYS_MADVISE, syscall.SYS_RT_SIGPROCMASK, syscall.SYS_RT_SIGRETURN,
		syscall.SYS_RT_SIGACTION, syscall.SYS_SIGALTSTACK, syscall.SYS_GETTID, syscall.SYS_GETPID, syscall.SYS_TGKILL,
		syscall.SYS_CLONE, clone3, syscall.SYS_EPOLL_PWAIT, syscall.SYS_PRCTL, syscall.SYS_SET_ROBUST_LIST, -1:
		return true
	}
	return false
}

// letGo lets a thread go on to its next system call, or its end, with a signal. One that
// was killed meanwhile is found when it is waited for.
func (v *Victim) letGo(tid int, sig syscall.Signal) error {
	v.threads[tid].stopped = false
	if err := syscall.PtraceSyscall(tid, int(sig)); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("let thread %d of process %d go on: %w", tid, v.pid, err)
	}
	return nil
}

// wait waits until a thread stops.
func (v *Victim) wait() (tid int, sig syscall.Signal, err error) { return v.look(0) }

// poll returns a thread that has stopped; 0 if there is none.
func (v *Victim) poll() (tid int, sig syscall.Signal, err error) { return v.look(syscall.WNOHANG) }

func (v *Victim) look(how int) (int, syscall.Signal, error) {
	for {
		var status syscall.WaitStatus
		// Of its group, to which nobody else belongs.
		tid, err := syscall.Wait4(-v.pid, &status, syscall.WALL|how, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, 0, fmt.Errorf("wait for process %d: %w", v.pid, err)
		case tid == 0:
			return 0, 0, nil
		case !status.Stopped() && tid == v.pid:
			v.gone = true
			if status.ExitStatus() != 0 {
				return 0, 0, fmt.Errorf("process %d: exit status %d, signal %v", v.pid, status.ExitStatus(), status.Signal())
			}
			return 0, 0, errEnded
		case !status.Stopped():
			delete(v.threads, tid)
		default:
			v.thread(tid).stopped = true
			if status.TrapCause() == syscall.PTRACE_EVENT_CLONE {
				born, err := syscall.PtraceGetEventMsg(tid)
				if err != nil && err != syscall.ESRCH {
					return 0, 0, fmt.Errorf("ask for a new thread of process %d: %w", v.pid, err)
				}
				// It stops when it begins, which may be seen before or after this.
				v.thread(int(born))
			}
			return tid, status.StopSignal(), nil
		}
	}
}

// thread returns a thread, which may be new.
func (v *Victim) thread(tid int) *thread {
	if v.threads[tid] == nil {
		v.threads[tid] = &thread{}
	}
	return v.threads[tid]
}

// freeze stops all threads. That a thread is told to does not reach the others: they stay
// where they are, as if no processor had come by.
func (v *Victim) freeze() error {
	for {
		running := 0
		for tid, t := range v.threads {
			if !t.stopped {
				running++
				if err := syscall.Tgkill(v.pid, tid, syscall.SIGSTOP); err != nil && err != syscall.ESRCH {
					return fmt.Errorf("stop thread %d of process %d: %w", tid, v.pid, err)
				}
			}
		}
		if running == 0 {
			return nil
		}
		tid, sig, err := v.wait()
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
		if sig == syscall.SIGTRAP|syscallStop {
			v.note(tid)
		}
	}
}

// Release lets a victim go on without being traced.
func (v *Victim) Release() error {
	if v.gone {
		return nil
	}
	// Forget what is pending of freeze.
	if err := syscall.Kill(v.pid, syscall.SIGCONT); err != nil {
		return fmt.Errorf("let process %d go on: %w", v.pid, err)
	}
	for tid := range v.threads {
		if err := syscall.PtraceDetach(tid); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("let thread %d of process %d go: %w", tid, v.pid, err)
		}
	}
	clear(v.threads)
	return nil
}

// Stopped says whether a victim that is not traced has been stopped, or has ended.
func (v *Victim) Stopped() (stopped, ended bool, err error) {
	if v.gone {
		return false, true, nil
	}
	for {
		var status syscall.WaitStatus
		// Threads that were traced, and ended before they were let go, are waited for too.
		tid, err := syscall.Wait4(-v.pid, &status, syscall.WALL|syscall.WNOHANG|syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR || err == nil && tid != v.pid && tid != 0:
		case err != nil:
			return false, false, fmt.Errorf("wait for process %d: %w", v.pid, err)
		case tid == 0:
			return false, false, nil
		case status.Stopped():
			return true, false, nil
		default:
			v.gone = true
			if status.Signaled() && status.Signal() == syscall.SIGKILL || status.ExitStatus() == 0 {
				return false, true, nil
			}
			return false, true, fmt.Errorf("process %d: exit status %d, signal %v", v.pid, status.ExitStatus(), status.Signal())
		}
	}
}

// Signal sends a signal to a victim that is not traced.
func (v *Victim) Signal(sig syscall.Signal) error {
	if err := syscall.Kill(v.pid, sig); err != nil {
		return fmt.Errorf("send signal %d to process %d: %w", sig, v.pid, err)
	}
	return nil
}

// Kill ends the victim with SIGKILL and returns when nothing is left of it.
func (v *Victim) Kill() error {
	if v.gone {
		return nil
	}
	if err := syscall.Kill(v.pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", v.pid, err)
	}
	for !v.gone {
		var status syscall.WaitStatus
		tid, err := syscall.Wait4(-v.pid, &status, syscall.WALL, nil)
		if err != nil && err != syscall.EINTR {
			return fmt.Errorf("wait for the end of process %d: %w", v.pid, err)
		}
		v.gone = tid == v.pid && !status.Stopped()
	}
	return nil
}
