package main

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/memlane/memlane/shmsync"
	"github.com/memlane/memlane/test/prove/rounds"
)

// section takes the mutex, counts up what it guards, and acknowledges it.
func (w *worker) section() error {
	w.entry.now.Store(uint64(opSection))
	switch {
	case w.is("section without lock", 20):
		return w.count()
	case w.is("section acknowledged only", 20):
		w.entry.sections.begin(1)
		w.entry.sections.acknowledge()
		return nil
	}
	w.entry.sections.begin(1)
	ok, err := w.lock()
	if err != nil || !ok {
		w.entry.sections.cancel()
		return err
	}
	if w.veteran && w.is("section that never ends", 1) {
		sleepForever()
	}
	if err := w.count(); err != nil {
		return err
	}
	if w.is("section counted twice", 20) {
		w.guarded.a++
		w.guarded.b++
	}
	if w.veteran && w.is("leaves with the mutex and goes on", 50) {
		return w.leave()
	}
	if !w.guarded.inside.CompareAndSwap(w.incarnation, 0) {
		return rounds.Breaks(twoInside, "%d finds %d at its end", w.incarnation, w.guarded.inside.Load())
	}
	if err := w.mutex.Unlock(); err != nil {
		return failed("unlock", err)
	}
	w.entry.sections.acknowledge()
	return nil
}

// lock takes the mutex, by Lock, TryLock or Recover, and sees to it that what it
// guards is in order. ok is false if it could not be had, or was given away again.
func (w *worker) lock() (ok bool, err error) {
	for {
		if w.one(4) {
			err = w.mutex.TryLock()
		} else {
			err = w.mutex.Lock(context.Background())
		}
		g := w.guarded
		switch {
		case err == nil:
			if !g.inside.CompareAndSwap(0, w.incarnation) {
				return false, rounds.Breaks(twoInside, "%d finds %d", w.incarnation, g.inside.Load())
			}
			if g.a != g.b {
				return false, rounds.Breaks(torn, "%d and %d", g.a, g.b)
			}
			return true, nil
		case errors.Is(err, shmsync.ErrBusy):
			return false, nil
		case errors.Is(err, shmsync.ErrOwnerDied):
			w.entry.deaths.Add(1)
			// Nobody is gone before his end was ordered.
			if dead := g.inside.Swap(w.incarnation); dead != 0 && !w.ledger.isDoomed(dead) {
				return false, rounds.Breaks(takenAlive, "%d has it from %d", w.incarnation, dead)
			}
			if w.one(8) {
				return false, w.abandon()
			}
			return true, w.repair()
		case errors.Is(err, shmsync.ErrUnrecoverable):
			switch err = w.mutex.Recover(); {
			case err == nil:
				w.entry.recovered.Add(1)
				if !g.inside.CompareAndSwap(0, w.incarnation) {
					return false, rounds.Breaks(twoInside, "%d finds %d and has recovered it", w.incarnation, g.inside.Load())
				}
				return true, w.repair()
			case !errors.Is(err, fs.ErrInvalid): // somebody else was faster
				return false, failed("recover", err)
			}
		default:
			return false, failed("lock", err)
		}
	}
}

// repair puts in order what an owner that died has left, and says so.
func (w *worker) repair() error {
	g := w.guarded
	if g.a != g.b && g.a != g.b+1 {
		return rounds.Breaks(torn, "a dead owner left %d and %d", g.a, g.b)
	}
	g.b = g.a
	if err := w.mutex.Consistent(); err != nil {
		return failed("declare consistent", err)
	}
	return nil
}

// abandon unlocks the mutex as it was left by an owner that died.
func (w *worker) abandon() error {
	if !w.guarded.inside.CompareAndSwap(w.incarnation, 0) {
		return rounds.Breaks(twoInside, "%d finds %d when it gives up", w.incarnation, w.guarded.inside.Load())
	}
	if err := w.mutex.Unlock(); !errors.Is(err, shmsync.ErrUnrecoverable) {
		return failed("unlock without Consistent", err)
	}
	w.entry.abandoned.Add(1)
	return nil
}

// count is what is done in the section: both numbers, one after the other, with
// plain loads and stores.
func (w *worker) count() error {
	g := w.guarded
	g.a++
	w.toil()
	g.b++
	if g.a != g.b {
		return rounds.Breaks(twoInside, "%d counts to %d and %d", w.incarnation, g.a, g.b)
	}
	return nil
}

// leave closes the segment within the section: to the others it is as if this
// process had died.
func (w *worker) leave() error {
	w.entry.now.Store(uint64(opLeft))
	if err := w.Close(); err != nil {
		return err
	}
	sleepForever()
	return nil
}

// sleepForever is not a deadlock to the Go runtime.
func sleepForever() {
	for {
		time.Sleep(time.Hour)
	}
}
