package main

import (
	"fmt"
	"os"
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
	Load       string `json:"load"` // average of the last minute, when the run began

	allowed []int // processors by number
}

func thisMachine() machine {
	m := machine{
		CPU:     firstOf("/proc/cpuinfo", "model name"),
		Virtual: slices.Contains(strings.Fields(firstOf("/proc/cpuinfo", "flags")), "hypervisor"),
		Kernel:  contents("/proc/sys/kernel/osrelease"),
		Go:      runtime.Version() + " " + runtime.GOARCH,
		Load:    load(),
		allowed: numbers(firstOf("/proc/self/status", "Cpus_allowed_list")),
	}
	if m.CPU == "" {
		m.CPU = "unknown " + runtime.GOARCH
	}
	m.Processors = len(m.allowed)
	return m
}

func (m machine) String() string {
	kind := "bare metal"
	if m.Virtual {
		kind = "virtual machine"
	}
	return fmt.Sprintf("%s, %d processors, %s, Linux %s, %s, load average %s", m.CPU, m.Processors, kind, m.Kernel, m.Go, m.Load)
}

func load() string {
	minute, _, _ := strings.Cut(contents("/proc/loadavg"), " ")
	return minute
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
