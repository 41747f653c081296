package main

import (
	"context"
	"errors"

	"github.com/memlane/memlane/test/prove/rounds"
)

// set sets the manual event.
func (w *worker) set() error {
	w.entry.now.Store(uint64(opSet))
	w.entry.sets.begin(1)
	if !w.is("set acknowledged only", 5) {
		if err := w.manual.Set(); err != nil {
			return failed("set", err)
		}
	}
	w.entry.sets.acknowledge()
	return nil
}

// reset resets the manual event.
func (w *worker) reset() error {
	w.entry.now.Store(uint64(opReset))
	if err := w.manual.Reset(); err != nil {
		return failed("reset", err)
	}
	return nil
}

// await waits until the manual event is set, or has been set since it was last
// looked at.
func (w *worker) await() error {
	if w.one(2) {
		ctx, cancel := w.waiting(opAwait)
		defer cancel()
		if err := w.manual.Wait(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return failed("wait", err)
		}
		return nil
	}
	seen, err := w.manual.Count()
	if err != nil {
		return failed("count", err)
	}
	// From here on a set must end the wait, also if it comes before it.
	ctx, cancel := w.waiting(opChange)
	defer cancel()
	now, err := w.manual.WaitAfter(ctx, seen)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		now = seen
	case err != nil:
		return failed("wait after", err)
	case now == seen:
		return rounds.Breaks(eventMadeUp, "the count is still %d", now)
	}
	if seen < w.seen || now < seen {
		return rounds.Breaks(eventLost, "the count was %d, then %d, then %d", w.seen, seen, now)
	}
	w.seen = now
	return nil
}

// ring sets the automatic event.
func (w *worker) ring() error {
	w.entry.now.Store(uint64(opRing))
	w.entry.rings.begin(1)
	if !w.is("ring acknowledged only", 5) {
		if err := w.auto.Set(); err != nil {
			return failed("ring", err)
		}
	}
	w.entry.rings.acknowledge()
	return nil
}

// answer takes the automatic event: if it is set, or soon is, or at any time.
func (w *worker) answer() error {
	if w.veteran && w.is("answer that never hears", 1) {
		w.entry.now.Store(uint64(opAnswerForever))
		sleepForever()
	}
	if w.is("answers without rings", 4) {
		w.entry.answers.begin(5)
		w.entry.answers.acknowledge()
	}
	w.entry.answers.begin(1)
	if w.one(4) {
		w.entry.now.Store(uint64(opAnswer))
		set, err := w.auto.TryWait()
		if err != nil {
			return failed("answer", err)
		}
		if !set {
			w.entry.answers.cancel()
			return nil
		}
		w.entry.answers.acknowledge()
		return nil
	}
	ctx, cancel := w.waiting(opAnswer)
	defer cancel()
	return w.had(&w.entry.answers, "answer", w.auto.Wait(ctx))
}
