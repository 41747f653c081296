package shmsync

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
	"github.com/memlane/memlane/segment"
)

// EventKind says what becomes of an event that is set. All who use it must agree.
type EventKind int

// The kinds of events.
const (
	// Manual: it stays set until Reset, and lets all go who wait.
	Manual EventKind = layout.KindManualEvent
	// Automatic: the first who waits takes it, and it is not set any more. It is set
	// or not: if it is set twice before anybody waits, one takes it, and the next
	// one waits. Count says that it was set twice. To let go as many as there were
	// signals, use Post and Wait of a Semaphore.
	Automatic EventKind = layout.KindAutoEvent
)

// String returns the kind's name.
func (k EventKind) String() string {
	switch k {
	case Manual:
		return "manual"
	case Automatic:
		return "automatic"
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// Event is a signal in shared memory: it is set or not, and counts how often it
// was set.
type Event struct {
	object
	state *word.Uint32
	kind  EventKind
	spin  wait.Spinner
}

// EventAt returns the event in the [EventBytes] bytes at offset of the segment. If
// they are zero it is one that is not set.
func EventAt(s *segment.Segment, offset int, kind EventKind) (*Event, error) {
	if err := checkEventKind(kind); err != nil {
		return nil, err
	}
	o, err := at(s, uint32(kind), offset, EventBytes)
	if err != nil {
		return nil, err
	}
	return newEvent(o, offset, kind), nil
}

func checkEventKind(kind EventKind) error {
	if kind != Manual && kind != Automatic {
		return &Error{"use", "event", fmt.Errorf("%v: %w", kind, fs.ErrInvalid), "choose Manual or Automatic"}
	}
	return nil
}

func newEvent(o object, offset int, kind EventKind) *Event {
	return &Event{object: o, state: o.space.region.Uint32(offset + layout.EventStateAt), kind: kind}
}

// Kind returns the event's kind.
func (e *Event) Kind() EventKind { return e.kind }

// change swaps the state for what next makes of it, and returns both.
func (e *Event) change(op string, next func(now uint32) uint32) (before, after uint32, err error) {
	for range attemptsMax {
		if err := e.space.check(); err != nil {
			return 0, 0, e.fail(op, err, "")
		}
		before = e.state.Load()
		after = next(before)
		if before == after || e.state.CompareAndSwap(before, after) {
			if err := e.space.check(); err != nil {
				return 0, 0, e.fail(op, err, "")
			}
			return before, after, nil
		}
	}
	return 0, 0, e.fail(op, fmt.Errorf("%w: it changes all the time", ErrCorrupt), "")
}

// Set sets the event: of a manual one, all who wait are let go, also if it is
// reset at once; of an automatic one, one is.
func (e *Event) Set() error {
	low := e.state
	// SYNC POINT event: what was written before is seen by whom this lets go.
	if e.kind == Manual {
		before, _, err := e.change("set", func(now uint32) uint32 {
			return count(now+1) | layout.EventStateSet
		})
		if err == nil && before&layout.EventStateWaiters != 0 {
			wait.Wake(low, wait.All)
		}
		return err
	}
	_, after, err := e.change("set", func(now uint32) uint32 {
		return count(now+1) | layout.EventStateSet | now&layout.EventStateWaiters
	})
	// Who waits stays noted: the one who is waked can die before he takes it.
	if err == nil && after&layout.EventStateWaiters != 0 && wait.Wake(low, 1) == 0 {
		e.state.CompareAndSwap(after, after&^layout.EventStateWaiters)
	}
	return err
}

func count(state uint32) uint32 { return state & layout.EventStateCountMask }

// Reset makes the event one that is not set.
func (e *Event) Reset() error {
	_, _, err := e.change("reset", func(now uint32) uint32 { return now &^ layout.EventStateSet })
	return err
}

// Wait waits until the event is set, and takes it if it is automatic; or until ctx
// ends. A manual event that is set meanwhile and reset at once lets it go too.
// Errors match the context's cause, [ErrClosed], mmap.ErrFault if the file was cut
// short, or [ErrForked].
//
// It waits as [Mutex.Lock] does.
func (e *Event) Wait(ctx context.Context) error {
	first := e.state.Load()
	e.space.waiting.Add(1)
	defer e.space.waiting.Add(-1)
	for slept := false; ; slept = true {
		word.Here(6, uint64(first))
		now := e.state.Load()
		if err := e.space.check(); err != nil {
			if slept && e.kind == Automatic {
				wait.Wake(e.state, 1) // it may have been waked to take it
			}
			return e.fail("wait for", err, "")
		}
		set := now&layout.EventStateSet != 0
		switch {
		case e.kind == Manual && (set || count(now) != count(first)):
			return nil
		case set && e.state.CompareAndSwap(now, now&^layout.EventStateSet):
			if err := e.space.check(); err != nil {
				return e.fail("wait for", err, "")
			}
			return nil
		case set:
			continue
		}
		if err := e.await(ctx, now); err != nil {
			return err
		}
	}
}

// TryWait takes the event if it is set and automatic, and says whether it is set.
func (e *Event) TryWait() (bool, error) {
	before, _, err := e.change("look at", func(now uint32) uint32 {
		if e.kind == Automatic {
			return now &^ layout.EventStateSet
		}
		return now
	})
	return before&layout.EventStateSet != 0, err
}

// Count returns how often Set was called, whether the event was set already or not,
// modulo 2³⁰.
func (e *Event) Count() (uint32, error) {
	now := e.state.Load()
	if err := e.space.check(); err != nil {
		return 0, e.fail("look at", err, "")
	}
	return count(now), nil
}

// WaitAfter waits until the event has been set since Count returned what is given,
// and returns what Count is then; or until ctx ends. It takes nothing. Several who
// follow something that changes each keep a count of their own, and miss no change
// between a look and a wait. It is for manual events: setting an automatic one wakes
// only one of its waiters, and the error matches [ErrKind].
//
//	for seen, err := e.Count(); err == nil; seen, err = e.WaitAfter(ctx, seen) {
//		look()
//	}
func (e *Event) WaitAfter(ctx context.Context, seen uint32) (uint32, error) {
	if e.kind == Automatic {
		return 0, e.fail("follow", fmt.Errorf("%w: it is automatic", ErrKind), "follow a manual event")
	}
	e.space.waiting.Add(1)
	defer e.space.waiting.Add(-1)
	for {
		now := e.state.Load()
		if err := e.space.check(); err != nil {
			return 0, e.fail("wait for", err, "")
		}
		if count(now) != count(seen) {
			return count(now), nil
		}
		if err := e.await(ctx, now); err != nil {
			return 0, err
		}
	}
}

// await waits until the state is not now; it can end early.
func (e *Event) await(ctx context.Context, now uint32) error {
	if e.spin.Spin(e.state, now) {
		return nil
	}
	if now&layout.EventStateWaiters == 0 {
		// SYNC POINT event waiters: pairs with the compare-and-swap of Set, which
		// fails now, or has come before.
		if !e.state.CompareAndSwap(now, now|layout.EventStateWaiters) {
			return nil
		}
		now |= layout.EventStateWaiters
	}
	rung := e.space.members.Deaths.Rung() // for Close alone
	if err := e.space.check(); err != nil {
		return e.fail("wait for", err, "")
	}
	if err := e.park(ctx, e.state, now, rung); err != nil {
		return e.fail("wait for", err, "")
	}
	return nil
}

// EventStatus is what an event looks like at one moment.
type EventStatus struct {
	Set     bool   // it is set
	Count   uint32 // how often it was set, modulo 2³⁰
	Waiters bool   // somebody waits, or has waited
}

// Status returns what the event looks like now.
func (e *Event) Status() (EventStatus, error) {
	now := e.state.Load()
	if err := e.space.check(); err != nil {
		return EventStatus{}, e.fail("look at", err, "")
	}
	return EventStatus{Set: now&layout.EventStateSet != 0, Count: count(now), Waiters: now&layout.EventStateWaiters != 0}, nil
}
