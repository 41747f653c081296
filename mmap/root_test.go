//go:build root

package mmap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
)

// With pages in the pool, huge pages are what was asked for, and no fallback.
func TestRootHugePagesFromThePool(t *testing.T) {
	const pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
	old, err := os.ReadFile(pool)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pool, []byte("4"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(pool, old, 0) })
	if now, _ := os.ReadFile(pool); strings.TrimSpace(string(now)) != "4" {
		t.Fatalf("the kernel gives %s huge pages; want 4", now)
	}
	m := anonymous(t, 3<<20, mmap.Read|mmap.Write, &mmap.Config{HugePages: mmap.Huge2MiB, Populate: mmap.Write})
	got, why := m.HugePages()
	if got != mmap.Huge2MiB || why != nil || m.PageSize() != 2<<20 || m.Len() != 3<<20 {
		t.Errorf("got %v in pages of %d, because %v", got, m.PageSize(), why)
	}
	resident, err := m.Resident(0, m.Len())
	if err != nil || len(resident) != 2 || !resident[0] || !resident[1] {
		t.Errorf("resident: %v, %v", resident, err)
	}
	wantError(t, m.Grow(5<<20), nil, "grow", "huge pages")
	// Three are asked for and two are left.
	second := anonymous(t, 6<<20, mmap.Read|mmap.Write, &mmap.Config{HugePages: mmap.Huge2MiB})
	if got, why := second.HugePages(); got == mmap.Huge2MiB || why == nil {
		t.Errorf("with too few pages in the pool: got %v, because %v", got, why)
	}
}

// The memory limit of a control group is asked before it is run into.
func TestRootReserveInAControlGroup(t *testing.T) {
	const limit = 64 << 20
	dir := ""
	for _, g := range []struct{ top, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		path := filepath.Join(g.top, fmt.Sprintf("memlane-test-%d", os.Getpid()))
		if err := os.Mkdir(path, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { syscall.Rmdir(path) })
		if err := os.WriteFile(filepath.Join(path, g.limit), []byte(fmt.Sprint(limit)), 0); err == nil {
			dir = path
			break
		}
	}
	if dir == "" {
		t.Skip("needs a control group with a memory controller")
	}
	out := proctest.Run(t, nil, "group", dir)
	if out != "too much: true\nin the limit: <nil>" {
		t.Errorf("got %q", out)
	}
}
