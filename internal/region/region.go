// Package region gives bytes of shared memory as the words that the structures
// above it work on (layer L1).
//
// A [Region] is a file that is mapped ([Map]), or as many bytes of the Go heap
// ([Heap]): the race detector does not see mapped memory, so every structure is
// tested on both.
//
// # What can become of a mapped file
//
// Somebody can cut it short. A region does not fault then: the pages that are
// gone are replaced by zeros of this process alone, and [Region.Err] says so
// from then on. A structure looks at it after each change that it believes to
// have made, which costs a load.
//
// A region can be retired while it is in use: the same is done to all of it, so
// that an operation which is under way ends in memory that nobody else sees. The
// addresses stay taken until the process ends; that costs no memory.
package region

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

// What [Region.Err] returns.
var (
	// ErrRetired: the region was retired.
	ErrRetired = errors.New("retired")
	// ErrGone: memory is missing.
	ErrGone = errors.New("the memory is gone: its file was cut short, or its file system failed")
)

// Region is a range of bytes that processes share. All of its methods may be
// called at once.
type Region struct {
	bytes   []byte
	mapped  bool          // not on the heap
	guard   *sys.BusGuard // of what can be cut short; else nil
	broken  atomic.Uint32 // not 0: Err has something to say
	retired atomic.Bool   // or is about to be
	cut     atomic.Bool
}

// Map maps the first size bytes of the file for reading and writing, shared with
// all who map it. A child that is forked does not get them. The descriptor stays
// the caller's.
func Map(fd, size int) (*Region, error) {
	b, err := sys.Mmap(0, size, sys.ProtRead|sys.ProtWrite, sys.MapShared, fd, 0)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return mapped(b)
}

func mapped(b []byte) (*Region, error) {
	r := &Region{bytes: b, mapped: true}
	err := sys.Madvise(b, sys.MadvDontFork)
	if err == nil {
		r.guard, err = sys.NewBusGuard(b, &r.broken)
	}
	if err != nil {
		sys.Munmap(b)
		return nil, fmt.Errorf("prepare %d mapped bytes: %w", len(b), err)
	}
	return r, nil
}

// Of returns the region of bytes that are mapped already, of whole pages that
// nobody can take away: those of a sealed memfd. They must stay mapped as long as
// the region is used, whether it was retired or not.
func Of(b []byte) *Region { return &Region{bytes: b, mapped: true} }

// Len returns the region's size in bytes.
func (r *Region) Len() int { return len(r.bytes) }

// Has says whether size bytes at offset, aligned to align, lie in the region.
// Offsets that come from others are asked for here first.
func (r *Region) Has(offset, size, align int) bool {
	return offset >= 0 && size >= 0 && offset%align == 0 && size <= len(r.bytes) && offset <= len(r.bytes)-size
}

// Bytes returns n bytes at offset. Preconditions: [Region.Has] them.
func (r *Region) Bytes(offset, n int) []byte { return r.bytes[offset : offset+n : offset+n] }

// Uint32 returns the word at offset. Preconditions: [Region.Has] it, aligned to
// its size.
func (r *Region) Uint32(offset int) *word.Uint32 {
	r.must(offset, 4)
	return word32(r.bytes, offset)
}

// Uint64 returns the word at offset. Preconditions: [Region.Has] it, aligned to
// its size.
func (r *Region) Uint64(offset int) *word.Uint64 {
	r.must(offset, 8)
	return word64(r.bytes, offset)
}

func (r *Region) must(offset, size int) {
	if !r.Has(offset, size, size) {
		panic(fmt.Sprintf("region: word of %d bytes at offset %d of %d", size, offset, len(r.bytes)))
	}
}

// Err says why the region is no longer what others see: [ErrRetired] or
// [ErrGone]; nil as long as it is. What was stored before a nil is in the shared
// memory.
func (r *Region) Err() error {
	if r.broken.Load() == 0 {
		return nil
	}
	if r.retired.Load() {
		return ErrRetired
	}
	return ErrGone
}

// Expire has Err return [ErrRetired] from now on. The memory is shared until Retire:
// so that who sleeps on a word can still be waked there, and wake others.
func (r *Region) Expire() {
	// SYNC POINT retired: pairs with the load in Err.
	r.retired.Store(true)
	r.broken.Store(1)
}

// Retire cuts the region off from the shared memory for good. Retiring again
// does nothing.
func (r *Region) Retire() error {
	// Before the zeros: whoever's store ends in them sees this afterwards.
	r.Expire()
	if r.cut.Swap(true) {
		return nil
	}
	if !r.mapped {
		return nil
	}
	err := sys.ZeroOver(r.bytes)
	if r.guard != nil {
		r.guard.Release()
	}
	if err != nil {
		return fmt.Errorf("cut off %d mapped bytes: %w", len(r.bytes), err)
	}
	return nil
}
