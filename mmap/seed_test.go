package mmap_test

// Each test here shows a statement that docs/SEED.md lists.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/mmap"
)

var pageSize = os.Getpagesize()

func TestTwoProcessesSeeTheSameBytesAtDifferentAddresses(t *testing.T) {
	f := newFile(t, int64(pageSize))
	m := mapShared(t, f, pageSize, nil)
	p := proctest.Start(t, nil, "peer", f.Name())
	theirs := p.Line()
	if ours := fmt.Sprintf("%#x", m.Addr()); ours == theirs {
		// Two mappings of this process differ for certain; one of them then
		// differs from the peer's.
		m = mapShared(t, f, pageSize, nil)
		if ours = fmt.Sprintf("%#x", m.Addr()); ours == theirs {
			t.Fatalf("both at %s", ours)
		}
	}
	copy(m.Bytes(), "from us")
	p.Send("get 0 7")
	if got := p.Line(); got != `"from us"` {
		t.Errorf("the peer sees %s", got)
	}
	p.Send("put 100 from-them")
	p.Line()
	if got := string(m.Bytes()[100:109]); got != "from-them" {
		t.Errorf("we see %q", got)
	}
}

func TestStoreIsSeenByReadBeforeSync(t *testing.T) {
	f := newFile(t, int64(pageSize))
	m := mapShared(t, f, pageSize, nil)
	p := proctest.Start(t, nil, "peer", f.Name())
	p.Line()
	copy(m.Bytes()[10:], "stored")
	p.Send("read 10 6")
	if got := p.Line(); got != `"stored"` {
		t.Errorf("read(2) in another process gives %s before any msync", got)
	}
	if _, err := f.WriteAt([]byte("written"), 50); err != nil {
		t.Fatal(err)
	}
	if got := string(m.Bytes()[50:57]); got != "written" {
		t.Errorf("the mapping shows %q after write(2)", got)
	}
}

func TestFileKeepsWhatWasStoredAfterUnmap(t *testing.T) {
	f := newFile(t, 1024)
	m := mapShared(t, f, 1024, nil)
	copy(m.Bytes(), "outlives the mapping")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := mapShared(t, f, 1024, nil)
	if got := string(again.Bytes()[:20]); got != "outlives the mapping" {
		t.Errorf("mapped again: %q", got)
	}
}

// cached asks the kernel about the file's pages in memory.
func cached(t *testing.T, f *os.File) sys.CacheStat {
	t.Helper()
	st, err := sys.Cachestat(int(f.Fd()))
	if errors.Is(err, syscall.ENOSYS) {
		t.Skip("needs cachestat(2), Linux 6.5, to see dirty pages")
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

const cachedPages = 64

// onDisk maps a file of cachedPages pages on a file system with a disk, all of
// them clean.
func onDisk(t *testing.T) (*os.File, *mmap.Mapping) {
	t.Helper()
	f := newFile(t, int64(cachedPages*pageSize))
	if err := mmap.Reserve(f, int64(cachedPages*pageSize)); err != nil {
		t.Fatal(err)
	}
	m := mapShared(t, f, cachedPages*pageSize, nil)
	clear(m.Bytes())
	if cached(t, f).Dirty == 0 {
		t.Skipf("%s is on a file system without a disk; set TMPDIR to a folder on one", f.Name())
	}
	if err := m.Sync(0, m.Len(), mmap.SyncWait); err != nil {
		t.Fatal(err)
	}
	return f, m
}

// startsNothing reports whether the pages that were just stored are all dirty
// after op, and none is being written. The kernel writes pages when it likes, so
// only a later attempt may show that op starts nothing; if op does start
// something, no attempt shows it.
func startsNothing(t *testing.T, f *os.File, m *mmap.Mapping, op func() error) bool {
	t.Helper()
	for attempt := range 20 {
		for i := range m.Bytes() {
			m.Bytes()[i] = byte(attempt + 1)
		}
		before := cached(t, f)
		if err := op(); err != nil {
			t.Fatal(err)
		}
		after := cached(t, f)
		if before.Dirty == cachedPages && after.Dirty == cachedPages && after.Writeback == 0 {
			return true
		}
		if err := m.Sync(0, m.Len(), mmap.SyncWait); err != nil {
			t.Fatal(err)
		}
	}
	return false
}

func TestAsyncStartsNothing(t *testing.T) {
	f, m := onDisk(t)
	if !startsNothing(t, f, m, func() error { return m.Sync(0, m.Len(), mmap.SyncAsync) }) {
		t.Error("SyncAsync has started to write in every attempt")
	}
	// The check can fail: this does start to write.
	if startsNothing(t, f, m, func() error {
		const write = 2 // SYNC_FILE_RANGE_WRITE
		return syscall.SyncFileRange(int(f.Fd()), 0, 0, write)
	}) {
		t.Error("the check does not see that sync_file_range starts to write")
	}
}

func TestUnmapDoesNotFlush(t *testing.T) {
	f, m := onDisk(t)
	unmap := func() error {
		second := mapShared(t, f, cachedPages*pageSize, nil)
		copy(second.Bytes(), m.Bytes())
		return second.Close()
	}
	if !startsNothing(t, f, m, unmap) {
		t.Error("unmapping has written in every attempt")
	}
	if err := m.Sync(0, m.Len(), mmap.SyncWait); err != nil {
		t.Fatal(err)
	}
	if left := cached(t, f); left.Dirty+left.Writeback != 0 {
		t.Errorf("%d dirty pages after SyncWait, and %d being written", left.Dirty, left.Writeback)
	}
}

func TestPrivateChangesAreUnseen(t *testing.T) {
	f := newFile(t, int64(pageSize))
	if _, err := f.WriteAt([]byte("original"), 0); err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, nil, "peer", f.Name())
	p.Line()
	m, err := mmap.Map(f, pageSize, mmap.Read|mmap.Write, mmap.Private, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	copy(m.Bytes(), "changed!")
	if err := m.Sync(0, m.Len(), mmap.SyncWait); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{"get 0 8", "read 0 8"} {
		p.Send(cmd)
		if got := p.Line(); got != `"original"` {
			t.Errorf("%s in another process: %s", cmd, got)
		}
	}
	if got := string(m.Bytes()[:8]); got != "changed!" {
		t.Errorf("our own view: %q", got)
	}
}

func TestProtectionsAreTheKernels(t *testing.T) {
	for _, tc := range []struct {
		prot mmap.Prot
		want string
	}{
		{mmap.None, "---s"},
		{mmap.Read, "r--s"},
		{mmap.Write, "-w-s"},
		{mmap.Exec, "--xs"},
		{mmap.Read | mmap.Write, "rw-s"},
		{mmap.Read | mmap.Exec, "r-xs"},
		{mmap.Write | mmap.Exec, "-wxs"},
		{mmap.Read | mmap.Write | mmap.Exec, "rwxs"},
	} {
		t.Run(tc.prot.String(), func(t *testing.T) {
			f := newFile(t, int64(pageSize))
			m, err := mmap.Map(f, pageSize, tc.prot, mmap.Shared, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if line := mapsLine(t, m.Addr()); !bytes.Contains([]byte(line), []byte(" "+tc.want+" ")) {
				t.Errorf("the kernel says %q; want %s", line, tc.want)
			}
			// The processor has no pages that can be written and not read.
			if _, err := m.ReadAt(make([]byte, 1), 0); (err == nil) != (tc.prot&(mmap.Read|mmap.Write) != 0) && tc.prot != mmap.Exec {
				t.Errorf("reading: %v", err)
			}
		})
	}
}

func TestProtNoneFaults(t *testing.T) {
	m := anonymous(t, pageSize, mmap.None, nil)
	err := m.View(func(b []byte) error {
		_ = b[7]
		sink = b[7]
		return nil
	})
	wantError(t, err, []error{mmap.ErrFault, mmap.ErrProtected}, "offset 7")
	if err := m.Protect(0, pageSize, mmap.Read|mmap.Write); err != nil {
		t.Fatal(err)
	}
	m.Bytes()[7] = 1
	if _, err := m.ReadAt(make([]byte, pageSize), 0); err != nil {
		t.Errorf("after Protect: %v", err)
	}
}

func TestMappingOutlivesItsDescriptor(t *testing.T) {
	f := newFile(t, int64(pageSize))
	m := mapShared(t, f, pageSize, nil)
	name := f.Name()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	copy(m.Bytes(), "after close")
	if err := m.Sync(0, m.Len(), mmap.SyncWait); err != nil {
		t.Errorf("sync after close of the file: %v", err)
	}
	b, err := os.ReadFile(name)
	if err != nil || string(b[:11]) != "after close" {
		t.Errorf("file holds %q, %v", b[:11], err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if got := string(m.Bytes()[:11]); got != "after close" {
		t.Errorf("after the name is gone too: %q", got)
	}
}

func TestTailOfTheLastPage(t *testing.T) {
	f := newFile(t, 100)
	m := mapShared(t, f, pageSize, nil)
	b := m.Bytes()
	if !bytes.Equal(b[100:], make([]byte, pageSize-100)) {
		t.Error("bytes past the end of the file, in its last page, are not zero")
	}
	copy(b[90:], "0123456789past the end")
	if err := m.Sync(0, m.Len(), mmap.SyncWait); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 100 || string(got[90:]) != "0123456789" {
		t.Errorf("the file has %d bytes ending in %q; want 100 ending in 0123456789", len(got), got[max(0, len(got)-10):])
	}
	// One page further there is nothing.
	wide := mapShared(t, f, 2*pageSize, &mmap.Config{BeyondEOF: true})
	_, err = wide.ReadAt(make([]byte, 1), int64(pageSize))
	wantError(t, err, []error{mmap.ErrFault, mmap.ErrNoBacking}, "file", fmt.Sprint("offset ", pageSize))
}

func TestTruncateGivesZerosAndTheSize(t *testing.T) {
	f := newFile(t, 1024)
	m := mapShared(t, f, 1024, nil)
	if m.Len() != 1024 || !bytes.Equal(m.Bytes(), make([]byte, 1024)) {
		t.Errorf("%d bytes, not 1024 zeros", m.Len())
	}
}

func TestUnmappedMemoryFaults(t *testing.T) {
	// An address that the kernel gives to nobody who does not ask for it, so
	// that nothing else appears there after Close.
	const addr = 0x10_0000_0000
	m := anonymous(t, pageSize, mmap.Read|mmap.Write, &mmap.Config{Addr: addr, Fixed: true})
	b := m.Bytes()
	b[0] = 1
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if line := mapsLine(t, addr); line != "" {
		t.Errorf("still mapped: %s", line)
	}
	err := mmap.Guard(func() error { sink = b[0]; return nil })
	wantError(t, err, []error{mmap.ErrFault, mmap.ErrUnmapped}, "0x1000000000")
	if m.Bytes() != nil || m.Len() != 0 || m.Addr() != 0 {
		t.Error("a closed mapping still shows bytes")
	}
}

func TestAddressIsAHintUnlessFixed(t *testing.T) {
	const addr = 0x11_0000_0000
	first := anonymous(t, pageSize, mmap.Read|mmap.Write, &mmap.Config{Addr: addr})
	if first.Addr() != addr {
		t.Errorf("hint %#x gave %#x although it was free", addr, first.Addr())
	}
	first.Bytes()[0] = 42
	second := anonymous(t, pageSize, mmap.Read|mmap.Write, &mmap.Config{Addr: addr})
	if second.Addr() == addr {
		t.Error("a hint replaced what was mapped there")
	}
	_, err := mmap.MapAnonymous(pageSize, mmap.Read, mmap.Private, &mmap.Config{Addr: addr, Fixed: true})
	wantError(t, err, []error{mmap.ErrInUse, syscall.EEXIST}, "0x1100000000", "another address")
	if first.Bytes()[0] != 42 {
		t.Error("the mapping that was there has lost its content")
	}
	free := anonymous(t, pageSize, mmap.Read|mmap.Write, &mmap.Config{Addr: addr + 16<<20, Fixed: true})
	if free.Addr() != addr+16<<20 {
		t.Errorf("fixed at %#x", free.Addr())
	}
	// What is not offered: plain MAP_FIXED takes the place of what is there.
	const mapFixed = 0x10
	if _, err := sys.Mmap(addr, pageSize, sys.ProtRead, sys.MapPrivate|sys.MapAnonymous|mapFixed, -1, 0); err != nil {
		t.Fatal(err)
	}
	if first.Bytes()[0] != 0 {
		t.Error("MAP_FIXED has left the mapping that was there")
	}
}

func TestExactlyOneOfSharedAndPrivate(t *testing.T) {
	f := newFile(t, int64(pageSize))
	for _, sharing := range []mmap.Sharing{0, mmap.Shared | mmap.Private} {
		_, err := mmap.Map(f, pageSize, mmap.Read, sharing, nil)
		wantError(t, err, []error{mmap.ErrFlags, os.ErrInvalid}, "map", f.Name(), "exactly one")
	}
	// What Linux itself does: both bits are MAP_SHARED_VALIDATE, and map shared.
	b, err := sys.Mmap(0, pageSize, sys.ProtRead|sys.ProtWrite, sys.MapShared|sys.MapPrivate, int(f.Fd()), 0)
	if err != nil {
		t.Fatalf("Linux refuses SHARED|PRIVATE: %v", err)
	}
	defer sys.Munmap(b)
	copy(b, "shared after all")
	got := make([]byte, 16)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "shared after all" {
		t.Errorf("the file shows %q, %v", got, err)
	}
}

func TestExactlyOneOfAsyncAndWait(t *testing.T) {
	f := newFile(t, int64(pageSize))
	m := mapShared(t, f, pageSize, nil)
	for _, flags := range []mmap.SyncFlags{0, mmap.SyncInvalidate, mmap.SyncAsync | mmap.SyncWait, 64 | mmap.SyncWait} {
		wantError(t, m.Sync(0, pageSize, flags), []error{mmap.ErrFlags}, "sync", f.Name(), "exactly one")
	}
	for _, flags := range []mmap.SyncFlags{mmap.SyncAsync, mmap.SyncWait, mmap.SyncAsync | mmap.SyncInvalidate, mmap.SyncWait | mmap.SyncInvalidate} {
		if err := m.Sync(1, 2, flags); err != nil {
			t.Errorf("sync with %#x: %v", int(flags), err)
		}
	}
	// What Linux itself does: neither is accepted, both are not.
	b, err := sys.Mmap(0, pageSize, sys.ProtRead, sys.MapShared, int(f.Fd()), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Munmap(b)
	if err := sys.Msync(b, 0); err != nil {
		t.Errorf("Linux refuses msync with neither flag: %v", err)
	}
	if err := sys.Msync(b, sys.MsAsync|sys.MsSync); err != syscall.EINVAL {
		t.Errorf("Linux answers msync with both flags: %v", err)
	}
}

func TestInvalidateOnlyChecksForLocks(t *testing.T) {
	requireLockable(t, 32*pageSize)
	f := newFile(t, int64(pageSize))
	m := mapShared(t, f, pageSize, nil)
	copy(m.Bytes(), "kept")
	if err := m.Sync(0, pageSize, mmap.SyncAsync|mmap.SyncInvalidate); err != nil {
		t.Fatal(err)
	}
	if got := string(m.Bytes()[:4]); got != "kept" {
		t.Errorf("SyncInvalidate lost a store: %q", got)
	}
	if err := m.Lock(0, pageSize); err != nil {
		t.Fatal(err)
	}
	wantError(t, m.Sync(0, pageSize, mmap.SyncWait|mmap.SyncInvalidate), []error{syscall.EBUSY}, "sync", "Unlock")
	if err := m.Unlock(0, pageSize); err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(0, pageSize, mmap.SyncWait|mmap.SyncInvalidate); err != nil {
		t.Errorf("after Unlock: %v", err)
	}
}

func TestAnyOffset(t *testing.T) {
	f := newFile(t, int64(3*pageSize))
	for i := range 3 * pageSize {
		if i%97 == 0 {
			f.WriteAt([]byte{byte(i % 251)}, int64(i))
		}
	}
	whole, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{0, 1, 97, pageSize - 1, pageSize, pageSize + 1, 3*pageSize - 1} {
		for _, length := range []int{1, 5, 3*pageSize - off} {
			if off+length > 3*pageSize {
				continue
			}
			m := mapShared(t, f, length, &mmap.Config{Offset: int64(off)})
			if !bytes.Equal(m.Bytes(), whole[off:off+length]) {
				t.Errorf("%d bytes from offset %d are not the file's", length, off)
			}
			if cap(m.Bytes()) != length {
				t.Errorf("append to %d bytes from %d would reach %d bytes further", length, off, cap(m.Bytes())-length)
			}
			if err := m.Sync(0, length, mmap.SyncWait); err != nil {
				t.Error(err)
			}
			m.Close()
		}
	}
}

var sink byte
