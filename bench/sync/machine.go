package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// A machine is what figures are of.
type machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"` // that this program may use
	Virtual    bool   `json:"virtual"`    // it runs under a hypervisor
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Clock      string `json:"clock_source"`
	Load       string `json:"load"` // of the last minute, when the run began

	allowed []int // processors by number
}

func thisMachine() machine {
	m := machine{
		CPU:    firstOf("/proc/cpuinfo", "model name"),
		Kernel: contents("/proc/sys/kernel/osrelease"),
		Go:     runtime.Version() + " " + runtime.GOARCH,
		Clock:  contents("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
	}
	if m.CPU == "" {
		m.CPU = "unknown " + runtime.GOARCH
	}
	m.Virtual = slices.Contains(strings.Fields(firstOf("/proc/cpuinfo", "flags")), "hypervisor")
	m.Load, _, _ = strings.Cut(contents("/proc/loadavg"), " ")
	m.allowed = numbers(firstOf("/proc/self/status", "Cpus_allowed_list"))
	m.Processors = len(m.allowed)
	return m
}

func (m machine) String() string {
	kind := "bare metal"
	if m.Virtual {
		kind = "virtual machine"
	}
	return fmt.Sprintf("%s, %d processors, %s, Linux %s, clock %s, %s, load %s", m.CPU, m.Processors, kind, m.Kernel, m.Clock, m.Go, m.Load)
}

// contents returns what a file of the kernel says; "" if there is none.
func contents(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}

// firstOf returns the value of the first line "key : value".
func firstOf(file, key string) string {
	for line := range strings.Lines(contents(file)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// numbers reads a list as the kernel writes it, such as "0-3,8".
func numbers(list string) (all []int) {
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

// A placement is on which processors the two sides of a pair run.
type placement struct {
	name  string
	sides [2]string // for taskset; "": wherever the kernel puts it
}

// placements returns those that this machine allows, and what it does not.
func (m machine) placements() (all []placement, missing string) {
	free := placement{name: "free"}
	if _, err := exec.LookPath("taskset"); err != nil {
		return []placement{free}, "nothing is pinned to processors: there is no taskset (package util-linux)"
	}
	if len(m.allowed) == 0 {
		return []placement{free}, "nothing is pinned to processors: /proc/self/status does not say which there are"
	}
	one := strconv.Itoa(m.allowed[0])
	all = append(all, placement{"same", [2]string{one, one}})
	other, ok := m.otherCore(m.allowed[0])
	if !ok {
		return append(all, free), "no pair on two processors: there is one only"
	}
	return append(all, placement{"two", [2]string{one, strconv.Itoa(other)}}, free), ""
}

// otherCore returns a processor that is not a thread of the same core, if there
// is one, or else any other.
func (m machine) otherCore(one int) (int, bool) {
	siblings := numbers(contents(filepath.Join("/sys/devices/system/cpu", fmt.Sprintf("cpu%d", one), "topology/thread_siblings_list")))
	for _, other := range m.allowed {
		if other != one && !slices.Contains(siblings, other) {
			return other, true
		}
	}
	for _, other := range m.allowed {
		if other != one {
			return other, true
		}
	}
	return 0, false
}
