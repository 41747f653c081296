package main

import (
	"sync/atomic"

	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// Where everything is in the segment. What is guarded has pages of its own.
const (
	mutexAt   = 0
	guardAt   = 4096
	signalAt  = 8192
	manualAt  = 12288
	autoAt    = 16384
	guardedAt = 20480

	segmentName  = "segment"
	segmentBytes = 24576 + shmsync.AreaBytes
)

// permits is how many the guard has.
const permits = 3

// guarded is what the mutex and the guard protect. It lies in the segment.
type guarded struct {
	// The mutex guards two plain numbers that are the same whenever nobody is
	// inside, and in a section the first is one ahead for a moment.
	a, b uint64
	// inside is the incarnation that is in the section; 0: nobody.
	inside atomic.Uint64
	// Who holds a permit of the guard takes a place for it; see worker.next.
	places [permits]atomic.Uint64
}

// An arena is one process's use of the segment.
type arena struct {
	*segment.Segment
	mutex         *shmsync.Mutex
	guard, signal *shmsync.Semaphore
	manual, auto  *shmsync.Event
	guarded       *guarded
}

// createArena makes the segment in the folder.
func createArena(folder string) (*arena, error) {
	s, err := segment.Create(segmentName, segmentBytes, &segment.Config{Folder: folder})
	if err != nil {
		return nil, err
	}
	a, err := newArena(s)
	if err == nil {
		err = a.guard.Post(permits)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return a, nil
}

// attachArena attaches to the segment in the folder.
func attachArena(folder string) (*arena, error) {
	s, err := segment.Attach(segmentName, &segment.Config{Folder: folder})
	if err != nil {
		return nil, err
	}
	a, err := newArena(s)
	if err != nil {
		s.Close()
		return nil, err
	}
	return a, nil
}

func newArena(s *segment.Segment) (a *arena, err error) {
	a = &arena{Segment: s}
	if a.guarded, err = mmap.At[guarded](s.Mapping, guardedAt); err != nil {
		return nil, err
	}
	if a.mutex, err = shmsync.MutexAt(s, mutexAt); err != nil {
		return nil, err
	}
	if a.guard, err = shmsync.SemaphoreAt(s, guardAt); err != nil {
		return nil, err
	}
	if a.signal, err = shmsync.SemaphoreAt(s, signalAt); err != nil {
		return nil, err
	}
	if a.manual, err = shmsync.EventAt(s, manualAt, shmsync.Manual); err != nil {
		return nil, err
	}
	if a.auto, err = shmsync.EventAt(s, autoAt, shmsync.Automatic); err != nil {
		return nil, err
	}
	return a, nil
}
