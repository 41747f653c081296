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
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

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
	if err := room(); err != nil {
		return nil, err
	}
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
	if err := room(); err != nil {
		return nil, err
	}
	s, err := segment.Open(f, quota, nil)
	if err != nil {
		return nil, err
	}
	return of(s, nil), nil
}

func of(s *segment.Segment, file *os.File) *Memory {
	m := &Memory{region.Of(s.Bytes()), file}
	mapped.Add(1)
	runtime.AddCleanup(m.region, func(s *segment.Segment) {
		s.Close()
		mapped.Add(-1)
	}, s)
	return m
}

// spare is how many of the mappings that a process may have are left to others: the Go
// runtime, which ends the program when it can have no more, and what the program maps.
const spare = 4096

// most is how many mappings there may be of memory; replaced in tests.
var most = sync.OnceValue(func() int64 {
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	n, parseErr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || parseErr != nil {
		return math.MaxInt64 // the kernel says so then
	}
	return max(n-spare, n/2)
})

// mapped is how many there are, with those that were closed and may be in use still.
var mapped atomic.Int64

// room returns an error if there must be no more mappings.
func room() error {
	for range 3 {
		if mapped.Load() < most() {
			return nil
		}
		runtime.GC() // what was closed may be unreachable, and it is only not known yet
	}
	return fmt.Errorf("%w: the process has %d mappings of topics, and vm.max_map_count leaves it no more", syscall.ENOMEM, mapped.Load())
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
