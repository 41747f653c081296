package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// machine is what figures are of.
type machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"` // that this program may use
	Virtual    bool   `json:"virtual"`    // it runs under a hypervisor
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Load       string `json:"load"` // average of the last minute, when the run began
}

func thisMachine() machine {
	m := machine{
		CPU:        firstOf("/proc/cpuinfo", "model name"),
		Processors: len(processors()),
		Virtual:    slices.Contains(strings.Fields(firstOf("/proc/cpuinfo", "flags")), "hypervisor"),
		Kernel:     contents("/proc/sys/kernel/osrelease"),
		Go:         runtime.Version() + " " + runtime.GOARCH,
		Load:       load(),
	}
	if m.CPU == "" {
		m.CPU = "unknown " + runtime.GOARCH
	}
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

// twoProcessors returns two that are not threads of one core, if there are such.
func twoProcessors() (list []int) {
	all := processors()
	if len(all) < 2 {
		return append(all, all...)
	}
	siblings := "," + contents(filepath.Join("/sys/devices/system/cpu", fmt.Sprintf("cpu%d", all[0]), "topology/thread_siblings_list")) + ","
	for _, other := range all[1:] {
		if !strings.Contains(siblings, fmt.Sprintf(",%d,", other)) && !strings.Contains(siblings, fmt.Sprintf("-%d,", other)) {
			return []int{all[0], other}
		}
	}
	return all[:2]
}
