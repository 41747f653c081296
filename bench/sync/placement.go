package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/memlane/memlane/bench/internal/machine"
)

// A placement is on which processors the two sides of a pair run.
type placement struct {
	name  string
	sides [2]string // for taskset; "": wherever the kernel puts it
}

// placements returns those that this machine allows, and what it does not.
func placements(m machine.Machine) (all []placement, missing string) {
	free := placement{name: "free"}
	if _, err := exec.LookPath("taskset"); err != nil {
		return []placement{free}, "nothing is pinned to processors: there is no taskset (package util-linux)"
	}
	if len(m.Allowed) == 0 {
		return []placement{free}, "nothing is pinned to processors: /proc/self/status does not say which there are"
	}
	one := strconv.Itoa(m.Allowed[0])
	all = append(all, placement{"same", [2]string{one, one}})
	other, ok := otherCore(m, m.Allowed[0])
	if !ok {
		return append(all, free), "no pair on two processors: there is one only"
	}
	return append(all, placement{"two", [2]string{one, strconv.Itoa(other)}}, free), ""
}

// otherCore returns a processor that is not a thread of the same core, if there
// is one, or else any other.
func otherCore(m machine.Machine, one int) (int, bool) {
	siblings := machine.Numbers(machine.Contents(filepath.Join("/sys/devices/system/cpu", fmt.Sprintf("cpu%d", one), "topology/thread_siblings_list")))
	for _, other := range m.Allowed {
		if other != one && !slices.Contains(siblings, other) {
			return other, true
		}
	}
	for _, other := range m.Allowed {
		if other != one {
			return other, true
		}
	}
	return 0, false
}
