package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/memlane/memlane/test/prove/rounds"
)

// The names come in sets of five, one set after the other, as many as the
// directory has room for. Nobody uses what they name, so that each can be told to
// be as it was made.
const (
	namesPerEpoch = 5
	epochs        = 12
	namedPermits  = 2
)

// nameOf returns name i of an epoch.
func nameOf(epoch, i int) string { return fmt.Sprintf("%s-%d", namedKinds[i], epoch) }

var namedKinds = [namesPerEpoch]string{"lock", "mutex", "semaphore", "manual", "automatic"}

// nameBit is its bit in the ledger.
func nameBit(epoch, i int) uint64 { return 1 << (epoch*namesPerEpoch + i) }

// name looks up one of the epoch's names, and adds it if need be.
func (w *worker) name() error {
	w.entry.now.Store(uint64(opName))
	epoch, i := int(w.ledger.Header.epoch.Load()), w.rnd.IntN(namesPerEpoch)
	name := nameOf(epoch, i)
	if w.one(4) {
		info, err := shmsync.Lookup(w.Segment, name)
		if errors.Is(err, fs.ErrNotExist) {
			if w.entry.named.Load()&nameBit(epoch, i) != 0 {
				return rounds.Breaks(nameWrong, "%s was there, and is not any more", name)
			}
			return nil
		}
		if err != nil {
			return failed("look up "+name, err)
		}
		return whole(info, epoch, i)
	}
	if err := w.add(name, i); err != nil {
		return failed("name "+name, err)
	}
	w.entry.named.Store(w.entry.named.Load() | nameBit(epoch, i))
	info, err := shmsync.Lookup(w.Segment, name)
	if err != nil {
		return failed("look up "+name, err)
	}
	return whole(info, epoch, i)
}

func (w *worker) add(name string, i int) (err error) {
	ctx := context.Background()
	switch i {
	case 0, 1:
		_, err = shmsync.NamedMutex(ctx, w.Segment, name)
	case 2:
		n := namedPermits
		if w.is("name made otherwise", 1) {
			n++
		}
		_, err = shmsync.NamedSemaphore(ctx, w.Segment, name, n)
	case 3:
		_, err = shmsync.NamedEvent(ctx, w.Segment, name, shmsync.Manual)
	case 4:
		_, err = shmsync.NamedEvent(ctx, w.Segment, name, shmsync.Automatic)
	}
	return err
}

// whole says whether what has the name is what name i of an epoch is when it has
// just been made.
func whole(info shmsync.Info, epoch, i int) error {
	var ok bool
	switch i {
	case 0, 1:
		ok = info.Mutex != nil && *info.Mutex == shmsync.MutexStatus{}
	case 2:
		ok = info.Semaphore != nil && info.Semaphore.Permits == namedPermits && len(info.Semaphore.Holders) == 0 && !info.Semaphore.Waiters
	case 3:
		ok = info.Event != nil && info.EventKind == shmsync.Manual && *info.Event == shmsync.EventStatus{}
	case 4:
		ok = info.Event != nil && info.EventKind == shmsync.Automatic && *info.Event == shmsync.EventStatus{}
	}
	if !ok || info.Name != nameOf(epoch, i) {
		return rounds.Breaks(nameWrong, "%s is %+v", nameOf(epoch, i), info)
	}
	return nil
}

// judgeNames looks at the whole directory: each name is there once or not at all,
// those that somebody has seen are, there are no others, and each is whole.
func judgeNames(s *segment.Segment, seen uint64) (names int, err error) {
	var there uint64
	for info, err := range shmsync.Names(s) {
		if err != nil {
			return names, failed("list the names", err)
		}
		names++
		epoch, i, ok := parseName(info.Name)
		if !ok {
			return names, rounds.Breaks(nameWrong, "nobody has made %q", info.Name)
		}
		if there&nameBit(epoch, i) != 0 {
			return names, rounds.Breaks(nameWrong, "%s is there twice", info.Name)
		}
		there |= nameBit(epoch, i)
		if err := whole(info, epoch, i); err != nil {
			return names, err
		}
	}
	if lost := seen &^ there; lost != 0 {
		return names, rounds.Breaks(nameWrong, "names that were there are not any more: bits %#x", lost)
	}
	return names, nil
}

func parseName(name string) (epoch, i int, ok bool) {
	for epoch := range epochs {
		for i := range namesPerEpoch {
			if nameOf(epoch, i) == name {
				return epoch, i, true
			}
		}
	}
	return 0, 0, false
}
