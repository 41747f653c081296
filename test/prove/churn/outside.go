package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/test/prove/rounds"
)

// given looks at a process that has closed everything, from outside and as it sees itself:
// it has what it had before, and nothing of memlane's.
func (p *conducted) given() error {
	before, after := &p.entry.before, &p.entry.after
	leak := func(what string, was, is uint64) error {
		return rounds.Breaks(leaked, "worker %d has closed everything, and has %d %s; before it had %d", p.Incarnation, is, what, was)
	}
	descriptors, err := descriptorsOf(p.Pid)
	if err != nil {
		return err
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.Pid))
	if err != nil {
		return err
	}
	switch was := before.descriptors.Load(); {
	case uint64(len(descriptors)) > was:
		return fmt.Errorf("%w: %q", leak("descriptors", was, uint64(len(descriptors))), descriptors)
	case after.goroutines.Load() > before.goroutines.Load():
		return leak("goroutines", before.goroutines.Load(), after.goroutines.Load())
	case after.mappings.Load() > before.mappingsMost(after):
		return leak("mappings", before.mappings.Load(), after.mappings.Load())
	case strings.Contains(string(maps), "memfd:memlane"):
		return rounds.Breaks(leaked, "worker %d has closed everything, and has memory of memlane's mapped", p.Incarnation)
	}
	for _, d := range descriptors {
		if strings.Contains(d, "memfd:memlane") {
			return rounds.Breaks(leaked, "worker %d has closed everything, and has open %s", p.Incarnation, d)
		}
	}
	return nil
}

// descriptorsOf returns what the descriptors of a process are, as the kernel says.
func descriptorsOf(pid int) (list []string, err error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	all, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		target, err := os.Readlink(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, err
		}
		list = append(list, target)
	}
	return list, nil
}

// empty looks at what everybody has left behind, when all processes have ended: the next
// one who opens the domain removes it, and the folder can be removed.
func (r *round) empty() error {
	d, err := memlane.Open(domainName, &memlane.Config{Folder: r.Folder})
	if err != nil {
		return rounds.Breaks(rounds.Unexpected, "open the domain at the end: %v", err)
	}
	for in, want := range map[string]int{"sockets": 1, "ports": 0} {
		left, err := os.ReadDir(filepath.Join(d.Folder(), in))
		if err != nil {
			return err
		}
		if len(left) != want {
			return rounds.Breaks(leaked, "in %s of the domain's folder there are %d files at the end, and should be %d", in, len(left), want)
		}
	}
	if err := d.Close(); err != nil {
		return rounds.Breaks(rounds.Unexpected, "close the domain at the end: %v", err)
	}
	removed, err := meet.Clean(d.Folder(), nil)
	if err != nil || !removed {
		return rounds.Breaks(leaked, "the folder of the domain cannot be removed at the end: %v", err)
	}
	return nil
}
