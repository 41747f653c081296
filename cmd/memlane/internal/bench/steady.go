package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
)

// steadyTrips is how many round trips are looked at for what they should not do.
func steadyTrips(size int) int {
	if size > 4096 {
		return 2_000
	}
	return 20_000
}

// steadyState counts what messages allocate, and the system calls of the thread that
// publishes and receives them.
func (b *bench) steadyState() error {
	b.report.note(fmt.Sprintf("steady state: allocations of the process and system calls of the thread, which is traced (PTRACE_SYSCALL), in %d round trips of two messages, or %d of large ones; the runtime makes some calls every few ms, so that the median of %d stretches is what messages need", steadyTrips(0), steadyTrips(1<<20), stretches))
	var figures []*figure
	for _, c := range []struct {
		transport string
		size      int
	}{{laneTransport, 40}, {laneTransport, 1 << 10}, {laneTransport, 64 << 10}, {loanTransport, 64 << 10}} {
		t := task{Part: "steady", Transport: c.transport, Size: c.size}
		f := &figure{Transport: c.transport, What: "steady-state", Placement: "across", Size: c.size, Readers: 1, Batch: 1, N: 2 * steadyTrips(c.size)}
		side0, side1 := b.pairOf(t, false)
		allocations, calls, err := b.watch(side0, side1)
		if err != nil {
			return fmt.Errorf("steady state of %s: %w", humanize.IBytes(uint64(c.size)), err)
		}
		f.Allocations = &allocations
		holds := allocations < 0.001
		if calls != nil {
			all := 0
			for _, n := range calls {
				all += n
			}
			each := float64(median(calls)) / float64(f.N/stretches)
			f.Calls, f.CallsInAll = &each, &all
			holds = holds && each == 0
		}
		f.budget("no allocation, no system call", holds)
		figures = append(figures, f)
	}
	b.report.table("Steady state, for each message", figures)
	return nil
}

// mark is a system call that begins and ends what is counted; so often it is called.
func mark() { syscall.Getppid() }

// stretches are what is between the marks. The runtime makes a system call every some
// milliseconds, to run other goroutines; what a message needs is in all of them.
const stretches = 40

// steady exchanges messages and counts allocations; it says which thread it is, and
// waits for who traces that.
func steady(t *task, out io.Writer) (*count, error) {
	p, err := openPair(t)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if t.Side == 1 {
		for v := uint64(1); ; v++ {
			if over, err := p.answer(v); over || err != nil {
				return nil, err
			}
		}
	}
	v, n := uint64(0), steadyTrips(t.Size)
	trips := func(n int) error {
		for range n {
			v++
			if err := p.trip(v); err != nil {
				return err
			}
		}
		return nil
	}
	if err := trips(n); err != nil {
		return nil, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := trips(n); err != nil {
		return nil, err
	}
	runtime.ReadMemStats(&after)
	fmt.Fprintln(out, syscall.Gettid())
	var b [1]byte
	os.Stdin.Read(b[:])
	mark()
	for range stretches {
		if err := trips(n / stretches); err != nil {
			return nil, err
		}
		mark()
	}
	err = p.trip(v + 1 | final)
	messages := uint64(2 * n)
	return &count{Messages: messages, Extra: float64(after.Mallocs-before.Mallocs) / float64(messages)}, err
}

// watch runs both sides, traces the first one's thread, and returns what it found
// for each message, and in each stretch; calls is nil if tracing is forbidden.
func (b *bench) watch(side0, side1 task) (allocations float64, calls []int, err error) {
	folder, err := os.MkdirTemp(b.folder, "run-")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithTimeout(b.ctx, overdue)
	defer cancel()
	side0.Folder, side1.Folder = folder, folder
	other, err := b.start(ctx, &side1, nil)
	if err != nil {
		return 0, nil, err
	}
	defer other.Wait()
	defer cancel()
	argument, err := json.Marshal(side0)
	if err != nil {
		return 0, nil, err
	}
	command := append(b.config.Command, string(argument))
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	// The runtime interrupts who runs for 10 ms; these calls are not the messages'.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	defer cmd.Wait()
	defer cancel()
	fail := func(err error) (float64, []int, error) {
		err = errors.Join(err, ctx.Err())
		return 0, nil, fmt.Errorf("%w: %s%s", err, strings.TrimSpace(said.String()), other.Stderr)
	}
	lines := bufio.NewReader(stdout)
	var thread int
	if _, err := fmt.Fscanln(lines, &thread); err != nil {
		return fail(err)
	}
	calls, err = countCalls(thread, func() { stdin.Write([]byte{'\n'}) })
	if err != nil {
		b.report.note(fmt.Sprintf("system calls are not counted: %v", err))
		stdin.Write([]byte{'\n'})
	}
	c, err := readCount(lines)
	if err != nil {
		return fail(err)
	}
	return c.Extra, calls, nil
}

// countCalls traces a thread, has begin let it go on, and returns how many system
// calls it makes between each two marks.
func countCalls(thread int, begin func()) (calls []int, err error) {
	// A tracer is a thread: the main goroutine's, which is locked to it.
	if err := syscall.PtraceAttach(thread); err != nil {
		return nil, fmt.Errorf("trace a thread: %w", err)
	}
	attached := true
	defer func() {
		if attached {
			syscall.PtraceDetach(thread)
		}
	}()
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(thread, &ws, syscall.WALL, nil); err != nil {
		return nil, err
	}
	const options = syscall.PTRACE_O_TRACESYSGOOD
	if err := syscall.PtraceSetOptions(thread, options); err != nil {
		return nil, err
	}
	begin()
	marks, stops := 0, 0
	for signal := 0; marks <= 2*stretches; {
		// There is a stop before each call and one after it.
		if err := syscall.PtraceSyscall(thread, signal); err != nil {
			return nil, err
		}
		if _, err := syscall.Wait4(thread, &ws, syscall.WALL, nil); err != nil {
			return nil, err
		}
		signal = 0
		switch {
		case ws.Exited() || ws.Signaled():
			attached = false
			return nil, fmt.Errorf("the thread has ended: status %#x", int(ws))
		case ws.StopSignal() == syscall.SIGTRAP|0x80:
			var r syscall.PtraceRegs
			if err := syscall.PtraceGetRegs(thread, &r); err != nil {
				return nil, err
			}
			if callOf(&r) == syscall.SYS_GETPPID {
				// A stop before each mark, and one after it.
				if marks++; marks > 1 && marks%2 == 1 {
					calls = append(calls, (stops+1)/2)
				}
				stops = 0
			} else {
				stops++
			}
		case ws.StopSignal() != syscall.SIGSTOP:
			signal = int(ws.StopSignal())
		}
	}
	return calls, nil
}
