// Package memory is what one process writes and others read: sealed segments that
// end while somebody may be using them (layer L3).
//
// The structures of package ring work in memory without asking each time whether
// it is still there. So Close does not unmap it: it puts zeros of this process in
// its place, which frees it, and whoever is at work in it ends there. The addresses
// are given back when nobody can reach the [region.Region] any more, which the
// garbage collector knows. Whoever works in the memory therefore keeps its region.
package memory

import (
	"fmt"
	"os"
	"runtime"

	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/segment"
)

// Memory is a sealed segment: of this process, which alone can write it, or of
// another one.
type Memory struct {
	region *region.Region
	file   *os.File // nil: of another process
}

// Create makes memory of this process, of size bytes, all zero and all reserved.
// The label is shown in /proc.
func Create(label string, size int) (*Memory, error) {
	s, err := segment.CreateAnonymous(label, size, nil)
	if err != nil {
		return nil, err
	}
	file, err := s.File()
	if err == nil {
		err = s.CloseFile()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return of(s, file), nil
}

// Open maps another process's memory for reading, of at most quota bytes, after
// the checks of [segment.Open]. The file stays the caller's.
func Open(f *os.File, quota int64) (*Memory, error) {
	s, err := segment.Open(f, quota, nil)
	if err != nil {
		return nil, err
	}
	return of(s, nil), nil
}

func of(s *segment.Segment, file *os.File) *Memory {
	m := &Memory{region.Of(s.Bytes()), file}
	runtime.AddCleanup(m.region, func(s *segment.Segment) { s.Close() }, s)
	return m
}

// Region returns the memory.
func (m *Memory) Region() *region.Region { return m.region }

// File returns the descriptor to send to others, nil of another process's memory.
// It is closed by Close.
func (m *Memory) File() *os.File { return m.file }

// Close ends the use of the memory; whoever is using it goes on in zeros. Closing
// again does nothing.
func (m *Memory) Close() error {
	err := m.region.Retire()
	if m.file != nil {
		m.file.Close()
	}
	if err != nil {
		return fmt.Errorf("memory: close: %w", err)
	}
	return nil
}
