//go:build linux && (amd64 || arm64)

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mmap is mmap(2). Length must be more than 0; addr is a hint unless flags
// say otherwise. The slice covers exactly length bytes from the address that
// the kernel chose.
func Mmap(addr uintptr, length, prot, flags, fd int, offset int64) ([]byte, error) {
	// The address goes in as a number: as a pointer, a hint into the Go heap's
	// own address range could confuse the garbage collector.
	r, _, errno := unix.Syscall6(unix.SYS_MMAP, addr, uintptr(length), uintptr(prot), uintptr(flags), uintptr(fd), uintptr(offset))
	if errno != 0 {
		return nil, errno
	}
	return pages(r, length), nil
}

// Mremap is mremap(2) without a fixed new address. On success b must not be
// used any more; on failure it is as it was.
func Mremap(b []byte, length, flags int) ([]byte, error) {
	r, _, errno := unix.Syscall6(unix.SYS_MREMAP, address(b), uintptr(len(b)), uintptr(length), uintptr(flags), 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return pages(r, length), nil
}

// Mincore is mincore(2): bit 0 of resident[i] says whether page i of b is in
// memory. Preconditions: resident has a byte for each page of b.
func Mincore(b, resident []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, address(b), uintptr(len(b)), uintptr(unsafe.Pointer(unsafe.SliceData(resident))))
	if errno != 0 {
		return errno
	}
	return nil
}

// Munmap removes the mapping of b, which must be whole pages that [Mmap] or
// [Mremap] returned. No slice of b may be used afterwards.
func Munmap(b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MUNMAP, address(b), uintptr(len(b)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Mseal is mseal(2) on whole pages, ENOSYS before Linux 6.10: from then on they
// cannot be unmapped, moved or protected otherwise.
func Mseal(b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MSEAL, address(b), uintptr(len(b)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// PopulatePage is madvise(2) with [MadvPopulateRead] or [MadvPopulateWrite] on
// the one page of pageSize bytes that holds addr, mapped or not: what the
// kernel answers tells why an access there faulted.
func PopulatePage(addr uintptr, pageSize, advice int) error {
	page := addr &^ uintptr(pageSize-1)
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, page, uintptr(pageSize), uintptr(advice))
	if errno != 0 {
		return errno
	}
	return nil
}

// address returns where b begins. Mapped memory does not move, so the number
// stays true as long as the mapping does.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// pages turns the address that a system call returned into a slice. The
// memory is the kernel's mapping, never the Go heap's.
func pages(addr uintptr, length int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(nil, addr)), length)
}

// CacheStat is what cachestat(2) says of a file's pages in memory.
type CacheStat struct {
	Cached    uint64 // pages in the page cache
	Dirty     uint64 // of these, changed and not yet being written back
	Writeback uint64 // of these, being written back
	Evicted   uint64
	Recently  uint64 // evicted recently
}

// Cachestat is cachestat(2) on the whole file, ENOSYS before Linux 6.5.
func Cachestat(fd int) (CacheStat, error) {
	var span struct{ offset, length uint64 } // length 0: to the end
	var st CacheStat
	_, _, errno := unix.Syscall6(unix.SYS_CACHESTAT, uintptr(fd), uintptr(unsafe.Pointer(&span)), uintptr(unsafe.Pointer(&st)), 0, 0, 0)
	if errno != 0 {
		return CacheStat{}, errno
	}
	return st, nil
}
