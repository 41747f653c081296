package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/bench/internal/machine"
)

// A disturbance is what else the processors did during a run, as shares of their
// time. The figures of a run that was disturbed are of little use.
type disturbance struct {
	Others float64 `json:"others"` // other programs
	Stolen float64 `json:"stolen"` // the hypervisor, which let other machines run
}

func (d disturbance) String() string {
	return fmt.Sprintf("during the run other programs had %.0f %% of the processors, and the hypervisor %.0f %%", 100*d.Others, 100*d.Stolen)
}

// ticks are times of all processors since the machine has started, in hundredths
// of a second.
type ticks struct{ all, busy, stolen float64 }

// ticksNow reads them; all is 0 where the kernel does not tell.
func ticksNow() (t ticks) {
	line, _, _ := strings.Cut(machine.Contents("/proc/stat"), "\n")
	// cpu user nice system idle iowait irq softirq steal
	for i, field := range strings.Fields(line) {
		n, _ := strconv.ParseFloat(field, 64)
		if i == 0 || i > 8 {
			continue // the later ones are parts of the first
		}
		t.all += n
		switch i {
		case 4, 5:
		case 8:
			t.stolen += n
		default:
			t.busy += n
		}
	}
	return t
}

// own is the processor time of this program and of those that it has started and
// waited for.
func own() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// disturbedSince returns what else there was since the ticks before.
func disturbedSince(before ticks) disturbance {
	now := ticksNow()
	all := now.all - before.all
	if all <= 0 {
		return disturbance{}
	}
	return disturbance{
		Others: max(0, (now.busy-before.busy-100*own().Seconds())/all),
		Stolen: (now.stolen - before.stolen) / all,
	}
}
