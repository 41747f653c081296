package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
)

// Where things are in the shared file, in bytes; testdata/peer.c has the same
// numbers. Two cache lines apart, because processors fetch the neighbour too.
const (
	readyAt      = 0 // one for each side
	stopAt       = 2 * 128
	beginAt      = 3 * 128
	turnsAt      = 4 * 128
	primitivesAt = 4096
	apart        = 128

	arenaBytes = 1 << 20
)

// An arena is the file that the processes of one measurement share.
type arena struct {
	*segment.Segment
	ready [2]*atomic.Uint32 // a side is
	stop  *atomic.Uint32    // leave
	begin *atomic.Uint32
	turns *uint64 // counted by whose turn it is, without an atomic operation
}

// arena makes a new one of the size, all zero.
func (b *bench) arena(size int) (*arena, error) {
	b.files++
	s, err := segment.Create(fmt.Sprintf("arena-%d", b.files), size, &segment.Config{Folder: b.folder, Prefault: true})
	if err != nil {
		return nil, err
	}
	return viewArena(s)
}

// attachArena is for the processes that are measured.
func attachArena(path string) (*arena, error) {
	s, err := segment.Attach(filepath.Base(path), &segment.Config{Folder: filepath.Dir(path), Prefault: true})
	if err != nil {
		return nil, err
	}
	return viewArena(s)
}

func viewArena(s *segment.Segment) (*arena, error) {
	a := &arena{Segment: s}
	var errs [5]error
	a.ready[0], errs[0] = mmap.At[atomic.Uint32](s.Mapping, readyAt)
	a.ready[1], errs[1] = mmap.At[atomic.Uint32](s.Mapping, readyAt+apart)
	a.stop, errs[2] = mmap.At[atomic.Uint32](s.Mapping, stopAt)
	a.begin, errs[3] = mmap.At[atomic.Uint32](s.Mapping, beginAt)
	a.turns, errs[4] = mmap.At[uint64](s.Mapping, turnsAt)
	return a, errors.Join(errs[:]...)
}

// discard removes the arena.
func (b *bench) discard(a *arena) error {
	return errors.Join(segment.Remove(filepath.Base(a.Path()), &segment.Config{Folder: b.folder}), a.Close())
}
