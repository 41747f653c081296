// Package machine says what machine figures were measured on: without that they say
// nothing. All of it is what the kernel tells in files; what it does not tell is left
// empty, and a run goes on.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// A Machine is what figures are of.
type Machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"` // that this program may use
	Virtual    bool   `json:"virtual"`    // it runs under a hypervisor
	Kernel     string `json:"kernel"`
	Go         string `json:"go"` // its version, and what it compiles for
	Clock      string `json:"clock_source"`
	Load       string `json:"load"` // as of the function Load, when the run began

	Allowed []int `json:"-"` // processors that this program may use, by number
}

// This returns the machine that the program runs on.
func This() Machine {
	m := Machine{
		CPU:     FirstOf("/proc/cpuinfo", "model name"),
		Virtual: slices.Contains(strings.Fields(FirstOf("/proc/cpuinfo", "flags")), "hypervisor"),
		Kernel:  Contents("/proc/sys/kernel/osrelease"),
		Go:      runtime.Version() + " " + runtime.GOARCH,
		Clock:   Contents("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Load:    Load(),
		Allowed: Numbers(FirstOf("/proc/self/status", "Cpus_allowed_list")),
	}
	if m.CPU == "" {
		m.CPU = "unknown " + runtime.GOARCH
	}
	m.Processors = len(m.Allowed)
	return m
}

// String describes the machine in one line, without the load, which is not the
// machine's own.
func (m Machine) String() string {
	kind := "bare metal"
	if m.Virtual {
		kind = "virtual machine"
	}
	return fmt.Sprintf("%s, %d processors, %s, Linux %s, clock %s, %s", m.CPU, m.Processors, kind, m.Kernel, m.Clock, m.Go)
}

// Load returns how many threads ran, or wanted to, on average over the last minute.
// Figures of a machine that has other work are of little use.
func Load() string {
	minute, _, _ := strings.Cut(Contents("/proc/loadavg"), " ")
	return minute
}

// Contents returns what a file of the kernel says, without the end of the line; "" if
// there is none.
func Contents(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}

// FirstOf returns the value of a file's first line "key : value"; "" if there is none.
func FirstOf(file, key string) string {
	for line := range strings.Lines(Contents(file)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Numbers reads a list as the kernel writes it, such as "0-3,8"; nil if it is none.
func Numbers(list string) (all []int) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil {
			return nil
		}
		for i := from; i <= to; i++ {
			all = append(all, i)
		}
	}
	return all
}
