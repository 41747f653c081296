package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
)

// Where everything lies in the segment.
const (
	mutexAt    = 0
	countersAt = 64    // a and b, which the mutex guards
	guardAt    = 4096  // the semaphore that is acquired and released
	manualAt   = 8192  // the manual event
	autoAt     = 8256  // the automatic one
	signalAt   = 12288 // the semaphore that is posted and waited for
	warmAt     = 16384 // a semaphore that never has permits

	segmentBytes = 2 * shmsync.AreaBytes
)

// permits are those of the guard.
const permits = 2

var background = context.Background()

// A view is the segment as one process has it.
type view struct {
	s *segment.Segment

	m             *shmsync.Mutex
	guard, signal *shmsync.Semaphore
	manual, auto  *shmsync.Event

	// a and b are plain numbers that are added to one after the other, by who
	// holds the mutex. Where they differ, somebody was stopped in between.
	a, b *uint64

	// The bare words, for judges, and for victims that break the rules.
	mutexWord, guardWord, signalWord *atomic.Uint64
	manualWord, autoWord             *atomic.Uint32
	directoryLock                    *atomic.Uint64
}

// attach maps the segment, and joins nothing.
func attach(path string) (*view, error) {
	s, err := segment.Attach(filepath.Base(path), &segment.Config{Folder: filepath.Dir(path)})
	if err != nil {
		return nil, err
	}
	return newView(s)
}

func newView(s *segment.Segment) (*view, error) {
	v := &view{s: s}
	var err error
	v.a = at[uint64](s, countersAt, &err)
	v.b = at[uint64](s, countersAt+8, &err)
	v.mutexWord = at[atomic.Uint64](s, mutexAt+layout.MutexStateAt, &err)
	v.guardWord = at[atomic.Uint64](s, guardAt+layout.SemaphoreStateAt, &err)
	v.signalWord = at[atomic.Uint64](s, signalAt+layout.SemaphoreStateAt, &err)
	v.manualWord = at[atomic.Uint32](s, manualAt+layout.EventStateAt, &err)
	v.autoWord = at[atomic.Uint32](s, autoAt+layout.EventStateAt, &err)
	v.directoryLock = at[atomic.Uint64](s, areaAt+layout.AreaDirectoryLockAt+layout.MutexStateAt, &err)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("view the segment: %w", err)
	}
	return v, nil
}

// areaAt is where shmsync's own part begins.
var areaAt = shmsync.Area(segmentBytes)

func at[T any](s *segment.Segment, offset int, err *error) *T {
	p, e := mmap.At[T](s.Mapping, offset)
	*err = errors.Join(*err, e)
	return p
}

// join takes all primitives into use.
func (v *view) join() error {
	var errs [5]error
	v.m, errs[0] = shmsync.MutexAt(v.s, mutexAt)
	v.guard, errs[1] = shmsync.SemaphoreAt(v.s, guardAt)
	v.signal, errs[2] = shmsync.SemaphoreAt(v.s, signalAt)
	v.manual, errs[3] = shmsync.EventAt(v.s, manualAt, shmsync.Manual)
	v.auto, errs[4] = shmsync.EventAt(v.s, autoAt, shmsync.Automatic)
	return errors.Join(errs[:]...)
}

// warm has a goroutine wait for ever. The first wait of a process measures how long
// a wake takes, in threads of its own, and starts a goroutine that lives as long as
// anybody waits: what comes after it goes the same way each time.
func (v *view) warm() error {
	never, err := shmsync.SemaphoreAt(v.s, warmAt)
	if err != nil {
		return err
	}
	// In vain, and only as long as it looks before it would sleep.
	ended, end := context.WithCancel(background)
	end()
	if err := never.Wait(ended); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("wait in vain: it returns %w", err)
	}
	go never.Wait(background)
	for begun := time.Now(); time.Since(begun) < limit; runtime.Gosched() {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, thread := range threads {
			if id, err := strconv.Atoi(thread.Name()); err == nil && step.Sleeps(os.Getpid(), id) {
				return nil
			}
		}
	}
	return fmt.Errorf("have somebody wait: %w", places.ErrStuck)
}

// add is what is done inside the mutex.
func (v *view) add() {
	*v.a++
	*v.b++
}

// repair makes the numbers consistent again.
func (v *view) repair() { *v.b = *v.a }

// use locks the mutex, works on what it guards, and unlocks it.
func (v *view) use(ctx context.Context) error {
	err := v.m.Lock(ctx)
	died := errors.Is(err, shmsync.ErrOwnerDied)
	if err != nil && !died {
		return err
	}
	torn := *v.a != *v.b
	if died {
		torn = torn && *v.a != *v.b+1
		v.repair()
		if err := v.m.Consistent(); err != nil {
			return err
		}
	}
	v.add()
	if err := v.m.Unlock(); err != nil {
		return err
	}
	if torn {
		return errTorn
	}
	return err
}

// recover takes the unrecoverable mutex back into use.
func (v *view) recover() error {
	if err := v.m.Recover(); err != nil {
		return err
	}
	v.repair()
	if err := v.m.Consistent(); err != nil {
		return err
	}
	return v.m.Unlock()
}

// errTorn: what the mutex guards is half changed, and nobody was told.
var errTorn = errors.New("what the mutex guards is half changed, and Lock has not said that its owner died")
