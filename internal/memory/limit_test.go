package memory

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Memory is refused before the kernel has no more mappings for the process: the Go runtime
// would end it then. What was closed can be had again.
func TestMappingsAreBounded(t *testing.T) {
	if most() > 100_000 {
		before := most
		defer func() { most = before }()
		most = func() int64 { return 100_000 }
	}
	m, err := Create("one", 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	fill := func() (all []*Memory, err error) {
		for int64(len(all)) <= most() {
			m, err := Open(m.File(), 4096)
			if err != nil {
				return all, err
			}
			all = append(all, m)
		}
		return all, nil
	}
	all, err := fill()
	if !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "vm.max_map_count") {
		t.Errorf("with %d mappings the error is %v", len(all), err)
	}
	if int64(len(all)) < most()/2 {
		t.Errorf("only %d mappings of %d", len(all), most())
	}
	// The program lives: it gets threads, and memory for its heap.
	var threads sync.WaitGroup
	for range 50 {
		threads.Go(func() {
			runtime.LockOSThread()
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
		})
	}
	threads.Wait()
	if _, err := Create("one more", 4096); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("one more can be made: %v", err)
	}
	for _, m := range all {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	all = nil
	for end := time.Now().Add(20 * time.Second); ; {
		one, err := Open(m.File(), 4096)
		if err == nil {
			if err := one.Close(); err != nil {
				t.Error(err)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("all were closed, and %v", err)
		}
	}
}
