package main

import (
	"context"
	"errors"
	"time"

	"github.com/memlane/memlane/shmsync"
	"github.com/memlane/memlane/test/prove/rounds"
)

// enter takes a permit of the guard, or two, and a place for each, and gives them
// back.
func (w *worker) enter() error {
	w.entry.now.Store(uint64(opGuard))
	if w.is("guard without permit", 2) {
		place, err := w.place()
		if err != nil {
			return err
		}
		w.toil()
		return w.yield(place)
	}
	acquire := func() error { return w.guard.Acquire(context.Background()) }
	if w.one(4) {
		acquire = w.guard.TryAcquire
	}
	var held []int // the places of the permits that are held
	for {
		err := acquire()
		if errors.Is(err, shmsync.ErrBusy) {
			break
		}
		if err != nil {
			return failed("acquire", err)
		}
		place, err := w.place()
		if err != nil {
			return err
		}
		held = append(held, place)
		// A second one may be had, but not be waited for: everybody could hold one
		// and wait for another.
		if len(held) == 2 || !w.one(4) {
			break
		}
		acquire = w.guard.TryAcquire
	}
	w.toil()
	for _, place := range held {
		if w.is("guard cleared for another", 20) {
			w.guarded.places[(place+1)%permits].Store(0)
		}
		if err := w.yield(place); err != nil {
			return err
		}
		if w.veteran && w.is("guard permit kept for good", 1) {
			return w.keep()
		}
		if err := w.guard.Release(); err != nil {
			return failed("release", err)
		}
		w.entry.guarded.Add(1)
		if w.is("guard released twice", 50) {
			if err := w.guard.Post(1); err != nil {
				return err
			}
		}
	}
	return nil
}

// place takes one of the guard's places: one that is free, or that of a dead
// incarnation. A permit is free as soon as its holder can do nothing any more,
// which can be a moment before the conductor has entered its death.
func (w *worker) place() (int, error) {
	for end := time.Now().Add(time.Duration(w.ledger.Header.patience.Load())); ; time.Sleep(50 * time.Microsecond) {
		holders := w.holders()
		for i, holder := range holders {
			if (holder == 0 || w.ledger.isDead(incarnationOf(holder))) && w.guarded.places[i].CompareAndSwap(holder, w.next()) {
				return i, nil
			}
		}
		// Who lives and has a place has its permit too, and this worker has one
		// without a place. Each stay has a number of its own: if nothing has changed
		// between two looks, all were there at the same moment.
		living := holders == w.holders()
		for _, holder := range holders {
			living = living && holder != 0 && !w.ledger.isDoomed(incarnationOf(holder))
		}
		if living || time.Now().After(end) {
			return 0, rounds.Breaks(crowded, "%d finds no place: those of %x, who live: %v", w.incarnation, holders, living)
		}
	}
}

// holders returns who has the places.
func (w *worker) holders() (holders [permits]uint64) {
	for i := range holders {
		holders[i] = w.guarded.places[i].Load()
	}
	return holders
}

// next returns what this worker puts into the next place: its incarnation, and how
// often it has taken one.
func (w *worker) next() uint64 {
	w.stays++
	return w.incarnation<<32 | w.stays
}

func incarnationOf(holder uint64) uint64 { return holder >> 32 }

// yield makes a place free.
func (w *worker) yield(place int) error {
	p := &w.guarded.places[place]
	if holder := p.Load(); incarnationOf(holder) != w.incarnation || !p.CompareAndSwap(holder, 0) {
		return rounds.Breaks(placeTaken, "%d finds %x in its place", w.incarnation, holder)
	}
	return nil
}

// keep turns a permit that is held into one that is taken for good, and never
// does so again.
func (w *worker) keep() error {
	w.mutant = ""
	return errors.Join(w.guard.Release(), w.guard.Wait(context.Background()))
}
