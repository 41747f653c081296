package proctest

import (
	"runtime"
	"syscall"
)

// KillAtStop traces the helper's first thread, on which the helper runs, has begin
// start what is to be traced, kills the helper at stop number n, which is before a
// system call or after it, and waits for it. It reports whether the helper had come
// to its end before.
func (p *Process) KillAtStop(n int, begin func()) (ended bool) {
	p.t.Helper()
	return p.trace(begin, func(stop int) bool { return stop < n })
}

// LookAtStops traces the helper as KillAtStop does, to its end, and calls look at
// every stop. The helper's other threads run meanwhile.
func (p *Process) LookAtStops(begin, look func()) {
	p.t.Helper()
	p.trace(begin, func(int) bool { look(); return true })
}

// trace has the helper go on from one stop to the next as long as goOn says so.
func (p *Process) trace(begin func(), goOn func(stop int) bool) (ended bool) {
	p.t.Helper()
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	defer p.Reaped()
	var ws syscall.WaitStatus
	wait := func() {
		if _, err := syscall.Wait4(p.PID(), &ws, syscall.WALL, nil); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := syscall.PtraceAttach(p.PID()); err != nil {
		p.t.Fatal(err)
	}
	wait()
	begin()
	for stop, signal := 0, 0; goOn(stop); {
		if err := syscall.PtraceSyscall(p.PID(), signal); err != nil {
			p.t.Fatal(err)
		}
		wait()
		if ws.Exited() || ws.Signaled() {
			return true
		}
		signal = 0
		if sig := ws.StopSignal(); sig != syscall.SIGTRAP && sig != syscall.SIGSTOP {
			signal = int(sig) // the Go runtime's own, such as SIGURG
			continue
		}
		stop++
	}
	syscall.Kill(p.PID(), syscall.SIGKILL)
	for !ws.Exited() && !ws.Signaled() {
		wait()
	}
	return false
}
