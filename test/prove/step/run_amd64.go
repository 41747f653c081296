package step

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// Syscalls returns how many system calls the victim has made since Begin.
func (v *Victim) Syscalls() int { return v.syscalls }

// Step lets the victim execute one instruction. A system call is one. After
// [Asleep] the next Step waits for the end of the call.
func (v *Victim) Step() (Event, error) {
	if v.asleep {
		return v.finishCall()
	}
	isCall, err := v.atCall()
	if err != nil {
		return Stopped, err
	}
	if !isCall {
		for {
			// A signal comes before the instruction: then nothing has been
			// executed yet.
			if _, err := v.resume(syscall.PTRACE_SINGLESTEP); err != nil || v.pending == 0 {
				return Stopped, err
			}
		}
	}
	if v.at(markEnd) {
		return Marked, nil
	}
	if err := v.letGo(syscall.PTRACE_SINGLESTEP); err != nil {
		return Stopped, err
	}
	return v.finishCall()
}

// finishCall waits for the end of the system call in which the victim is.
func (v *Victim) finishCall() (Event, error) {
	_, asleep, err := v.awaitCall()
	if err != nil {
		return Stopped, err
	}
	if v.asleep = asleep; asleep {
		return Asleep, nil
	}
	v.entered = false
	v.syscalls++
	return Stopped, nil
}

// nextCall lets the victim go on to the end of the next system call, or of the one
// in which it is.
func (v *Victim) nextCall() (Event, error) {
	for !v.entered {
		status, err := v.resume(syscall.PTRACE_SYSCALL)
		if err != nil {
			return Stopped, err
		}
		v.entered = status.StopSignal() == syscall.SIGTRAP|syscallStop
	}
	if v.at(markEnd) {
		return Marked, nil
	}
	if !v.asleep {
		if err := v.letGo(syscall.PTRACE_SYSCALL); err != nil {
			return Stopped, err
		}
	}
	return v.finishCall()
}

// RunTo lets the victim go on to a place, which lies ahead, at full speed. It
// returns Stopped there, also where it sleeps if that is the place; Asleep if it
// sleeps on the way; Marked or Missed if the place did not come.
func (v *Victim) RunTo(p Place) (Event, error) {
	for v.syscalls < p.Syscalls || p.Asleep {
		switch event, err := v.nextCall(); {
		case err != nil:
			return Stopped, err
		case event == Asleep && p.Asleep && v.syscalls == p.Syscalls:
			return Stopped, nil
		case event != Stopped:
			return event, nil
		case v.syscalls > p.Syscalls:
			return Missed, nil
		}
	}
	address := p.Address
	if p.VDSO {
		address += v.vdso
	}
	if err := breakAt(v.pid, address); err != nil {
		return Stopped, err
	}
	event, err := v.runToBreak(address, p.Count)
	if err != nil {
		return Stopped, err
	}
	if err := breakAt(v.pid, 0); err != nil || event != Stopped {
		return event, err
	}
	// The processor's breakpoint is not met again in an instruction that repeats
	// itself.
	for range p.Round {
		if event, err := v.Step(); err != nil || event != Stopped {
			return event, err
		}
	}
	return Stopped, nil
}

// runToBreak lets the victim go on until it stands before the instruction for the
// n-th time, and not into a system call before that.
func (v *Victim) runToBreak(address uint64, n int) (Event, error) {
	for n > 0 {
		status, err := v.resume(syscall.PTRACE_SYSCALL)
		if err != nil {
			return Stopped, err
		}
		switch {
		case status.StopSignal() == syscall.SIGTRAP && v.regs.Rip == address:
			n--
		case status.StopSignal() == syscall.SIGTRAP|syscallStop:
			v.entered = true
			if v.at(markEnd) {
				return Marked, nil
			}
			return Missed, nil
		}
	}
	return Stopped, nil
}

// Trace lets the victim go on to the second mark by single steps. At each place
// that it notes look is called. Where it sleeps, asleep is called, and has somebody
// wake it.
func (v *Victim) Trace(look func(), asleep func() error) (*Trace, error) {
	t := &Trace{}
	type instruction struct {
		address uint64
		vdso    bool
	}
	counts := map[instruction]int{}
	inVDSO, visits, round := false, 0, 0
	last := instruction{}
	for calls := 0; ; {
		if v.syscalls > calls {
			calls = v.syscalls
			visits = 0
			clear(counts)
		}
		at, vdso := v.normal()
		if vdso && !inVDSO {
			visits++
		}
		inVDSO = vdso
		now := instruction{at, vdso}
		if now == last {
			round++
		} else {
			counts[now]++
			round = 0
		}
		last = now
		// Clocks are read once more if the kernel sets them meanwhile, which
		// happens to those who go step by step alone.
		if n := counts[now]; !vdso || n <= visits {
			t.Places = append(t.Places, Place{Syscalls: v.syscalls, Count: n, Address: at, VDSO: vdso, Round: round})
			look()
		}
		event, err := v.Step()
		if err == nil && event == Asleep {
			t.Sleeps = append(t.Sleeps, Place{Syscalls: v.syscalls, Asleep: true})
			if err = asleep(); err == nil {
				event, err = v.Step()
			}
		}
		if err != nil {
			return nil, fmt.Errorf("after %d instructions: %w", len(t.Places)-1, err)
		}
		if event == Marked {
			t.Syscalls = v.syscalls
			return t, nil
		}
	}
}

// normal returns where the victim stands, in terms that hold for all victims.
func (v *Victim) normal() (address uint64, vdso bool) {
	const vdsoSize = 16 << 10 // at most
	if at := v.regs.Rip; at < v.vdso || at >= v.vdso+vdsoSize {
		return at, false
	}
	return v.regs.Rip - v.vdso, true
}

// calls remembers which instructions are system calls, by their places without
// counts. The code of all victims is the same.
var calls sync.Map

// atCall says whether the victim stands before a system call.
func (v *Victim) atCall() (bool, error) {
	at, vdso := v.normal()
	key := Place{Address: at, VDSO: vdso}
	if is, known := calls.Load(key); known {
		return is.(bool), nil
	}
	var code [2]byte
	if _, err := syscall.PtracePeekText(v.pid, uintptr(v.regs.Rip), code[:]); err != nil {
		return false, fmt.Errorf("read the instruction at %#x: %w", v.regs.Rip, err)
	}
	is := code == [2]byte{0x0f, 0x05} // SYSCALL
	calls.Store(key, is)
	return is, nil
}

// Stack returns where the victim stands, and the functions that have called it.
func (v *Victim) Stack() Stack {
	s := Stack{v.regs.Rip}
	if v.memory == nil {
		var err error
		if v.memory, err = os.Open(fmt.Sprintf("/proc/%d/mem", v.pid)); err != nil {
			return s
		}
	}
	// Go keeps frame pointers: each frame has its caller's, then where it returns.
	// Most of them are near each other.
	var near [2048]byte
	begin := v.regs.Rsp
	n, _ := v.memory.ReadAt(near[:], int64(begin))
	for frame := v.regs.Rbp; frame != 0 && len(s) < 12; {
		words := near[:n]
		if at := frame - begin; at <= uint64(n) && uint64(n)-at >= 16 {
			words = words[at:]
		} else if m, _ := v.memory.ReadAt(near[:16], int64(frame)); m == 16 {
			words, n = near[:16], 0
		} else {
			break
		}
		frame = binary.LittleEndian.Uint64(words)
		s = append(s, binary.LittleEndian.Uint64(words[8:])-1)
	}
	return s
}

// StepTo lets the victim go on by single steps until it has executed n
// instructions since Begin: what [Victim.RunTo] does, by no other means. As there,
// call it again after [Asleep].
func (v *Victim) StepTo(n int) (Event, error) {
	for v.steps < n {
		if event, err := v.Step(); err != nil || event != Stopped {
			return event, err
		}
		v.steps++
	}
	return Stopped, nil
}
