// Package step runs a process, the victim, and stops it at any machine instruction
// of what it does: by single steps (ptrace(2), PTRACE_SINGLESTEP), or by a
// breakpoint of the processor at a place that single steps have found before.
// There it can be killed, or left standing while others go on.
//
// What is of interest lies between two marks, [Begin] and [End], which the victim
// sets itself, on its first thread. It is the program that steps, started again;
// so the program's own tables name the place.
//
// The same run is wanted again and again, to be stopped somewhere else each time.
// So the victim runs with one processor of the Go runtime (GOMAXPROCS=1), without
// garbage collection and preemption, and the one thread of the runtime that would
// interfere with a thread which takes so long, its system monitor, is held while the
// victim is traced.
//
// It is for amd64. Everywhere else [Start] answers [ErrUnsupported].
package step

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// What can be wrong, for errors.Is.
var (
	// ErrUnsupported: this machine is none that package step knows.
	ErrUnsupported = errors.New("stepping is written for amd64 only")
	// ErrForbidden: this process may not trace others, as in some sandboxes.
	ErrForbidden = errors.New("ptrace is forbidden here")
	// ErrEnded: the victim has ended.
	ErrEnded = errors.New("the victim has ended")
	// ErrStuck: the victim does not go on.
	ErrStuck = errors.New("the victim does not go on")
)

// Limit is how long a victim may take for anything before it counts as stuck.
const Limit = 10 * time.Second

// An Event is why a victim that was let go on is looked at again.
type Event int

const (
	// Stopped: it stands where it was to go.
	Stopped Event = iota
	// Marked: it stands at the second mark.
	Marked
	// Asleep: it sleeps in a futex that other processes can wake. It is not
	// stopped; let it go on once more to wait for its end.
	Asleep
	// Missed: it has come to the next system call without having been there.
	Missed
)

// String returns the event as a word.
func (e Event) String() string {
	return [...]string{"stopped", "marked", "asleep", "missed"}[e]
}

// A Place is a point between the marks: before an instruction is executed, or
// asleep in a system call. It means the same in every run that goes the same way,
// and is found again in one that takes a little longer somewhere before.
type Place struct {
	Syscalls int    // so many system calls have been made since Begin
	Count    int    // since the last, the instruction is executed for the time of this number, from 1
	Address  uint64 // of the instruction; in the vDSO, which lies elsewhere in each process, from its start
	VDSO     bool   // the instruction is in the vDSO
	Round    int    // of an instruction that repeats itself (REP), which single steps stop in: so many are over
	Asleep   bool   // not at an instruction: asleep in the next system call
}

// String returns the place as a person looks for it.
func (p Place) String() string {
	if p.Asleep {
		return fmt.Sprintf("asleep in system call %d", p.Syscalls+1)
	}
	text := fmt.Sprintf("%s, system calls before it: %d, time %d since", p.instruction(), p.Syscalls, p.Count)
	if p.Round > 0 {
		text += fmt.Sprintf(", after %d rounds", p.Round)
	}
	return text
}

func (p Place) instruction() string {
	if p.VDSO {
		return fmt.Sprintf("vDSO+%#x", p.Address)
	}
	return symbol(p.Address)
}

// A Trace is what a victim does between the marks, instruction by instruction.
type Trace struct {
	Places   []Place // where it stands after 0, 1, … all instructions
	Sleeps   []Place // where it sleeps
	Syscalls int     // how many it makes
}

// A Stack is where a victim stands and the functions that have called it, the
// innermost first. A function that has just begun, or is about to return, lacks its
// caller.
type Stack []uint64

// String returns the stack, a line for each function.
func (s Stack) String() string {
	var lines []string
	for _, address := range s {
		lines = append(lines, symbol(address))
	}
	return strings.Join(lines, "\n\tcalled by ")
}

// symbol returns the function and line of an instruction of this very program.
func symbol(address uint64) string {
	// CallersFrames takes return addresses, and looks before them.
	frame, _ := runtime.CallersFrames([]uintptr{uintptr(address) + 1}).Next()
	if frame.Function == "" {
		return fmt.Sprintf("%#x", address)
	}
	return fmt.Sprintf("%s (%s:%d) %#x", frame.Function, frame.File, frame.Line, address)
}

// The marks are calls of getpriority(2) that nobody else makes and that fail.
const (
	markCall  = syscall.SYS_GETPRIORITY
	markBegin = 0x6d656d6c // which; the other argument is its complement
	markEnd   = 0x6d656d6d
)

const victimVariable = "MEMLANE_STEP_VICTIM"

// IsVictim says whether this process is one, and has to set the marks.
func IsVictim() bool { return isVictim }

var isVictim = os.Getenv(victimVariable) != ""

func init() {
	// What the victim does between the marks has to stay on the thread that is
	// traced, its first.
	if isVictim {
		runtime.LockOSThread()
	}
}

// Begin is the first mark. The main goroutine of a victim calls it.
//
//go:noinline
func Begin() {
	fillTiny()
	// Whoever is ready to run gets to where it sleeps now: if it came to that after the
	// monitor is held, it would keep the processor that this goroutine needs.
	for range 16 {
		runtime.Gosched()
	}
	// A signal that is ignored, which only a tracer sees: up to here the victim
	// runs at full speed.
	syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(os.Getpid()), uintptr(syscall.SIGCONT))
	// The system monitor, which is held from here on, may have asked for a pause of
	// this goroutine just before, or others may be waiting to run.
	runtime.Gosched()
	syscall.RawSyscall(markCall, markBegin, ^uintptr(markBegin), 0)
}

// fillTiny fills the block of 16 bytes from which the Go runtime takes what is tiny,
// so that the next of that gets a new one, in every victim.
func fillTiny() {
	for {
		tiny = new(byte)
		if reflect.ValueOf(tiny).Pointer()%16 == 15 {
			return
		}
	}
}

var tiny *byte // on the heap

// End is the second mark.
//
//go:noinline
func End() { syscall.RawSyscall(markCall, markEnd, ^uintptr(markEnd), 0) }
