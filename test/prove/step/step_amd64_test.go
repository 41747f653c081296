//go:build !race

package step

import (
	"errors"
	"os"
	"runtime"
	"testing"
)

func TestMain(m *testing.M) {
	if IsVictim() {
		act(os.Args[1])
		return
	}
	os.Exit(m.Run())
}

var zeros = make([]byte, 1<<13)

// act is a victim.
func act(what string) {
	b := zeros
	Begin()
	switch what {
	case "clear": // by an instruction that repeats itself
		clear(b)
	case "exit":
		os.Exit(3)
	}
	End()
}

// victim starts one on this thread, to which the test is locked.
func victim(t *testing.T, what string) *Victim {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	v, err := Start(what)
	if errors.Is(err, ErrForbidden) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Kill() })
	return v
}

// Breakpoints and single steps get to the same places, which are all that there are.
func TestPlaces(t *testing.T) {
	nothing := func() {}
	trace, err := victim(t, "clear").Trace(nothing, func() error { return errors.New("it sleeps") })
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Sleeps) > 0 || trace.Syscalls > 0 {
		t.Errorf("it sleeps at %v, and makes %d system calls", trace.Sleeps, trace.Syscalls)
	}
	rounds := 0
	for i, place := range trace.Places {
		rounds = max(rounds, place.Round)
		if place.Round > 2 {
			continue
		}
		v := victim(t, "clear")
		event, err := v.RunTo(place)
		if err != nil || event != Stopped {
			t.Fatalf("run to %v: %v, %v", place, event, err)
		}
		w := victim(t, "clear")
		if event, err := w.StepTo(i); err != nil || event != Stopped {
			t.Fatalf("%d steps: %v, %v", i, event, err)
		}
		if v.regs.Rip != w.regs.Rip || (place.Round > 0 && v.regs.Rcx != w.regs.Rcx) {
			t.Errorf("%v: it stands at %v after a run, and at %v after %d steps", place, v.Stack(), w.Stack(), i)
		}
	}
	if rounds < 10 {
		t.Errorf("%d rounds of an instruction that repeats itself; want hundreds", rounds)
	}
}

// Who waits for a victim that ends hears of it, although two of its threads are
// traced.
func TestVictimEnds(t *testing.T) {
	v := victim(t, "exit")
	for {
		event, err := v.Step()
		if errors.Is(err, ErrEnded) {
			return
		}
		if err != nil || event != Stopped {
			t.Fatalf("it is %v, %v; want %v", event, err, ErrEnded)
		}
	}
}
