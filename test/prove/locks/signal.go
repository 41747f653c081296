package main

import (
	"context"
	"errors"

	"github.com/memlane/memlane/shmsync"
)

// post adds a permit to the signal, or two.
func (w *worker) post() error {
	w.entry.now.Store(uint64(opPost))
	n := 1
	if w.one(8) {
		n = 2
	}
	w.entry.posts.begin(n)
	if w.is("one posted too many", 20) {
		n++
	}
	if err := w.signal.Post(n); err != nil {
		return failed("post", err)
	}
	w.entry.posts.acknowledge()
	return nil
}

// take takes a permit of the signal: if there is one, or if there comes one soon,
// or at any time.
func (w *worker) take() error {
	if w.is("one taken in secret", 10) {
		w.signal.TryWait()
	}
	w.entry.takes.begin(1)
	var err error
	if w.one(3) {
		w.entry.now.Store(uint64(opTake))
		err = w.signal.TryWait()
	} else {
		ctx, cancel := w.waiting(opTake)
		err = w.signal.Wait(ctx)
		cancel()
	}
	return w.had(&w.entry.takes, "take", err)
}

// had enters what became of a wait: it got what it waited for, or not in time.
func (w *worker) had(c *count, what string, err error) error {
	switch {
	case err == nil:
		c.acknowledge()
	case errors.Is(err, shmsync.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		c.cancel()
	default:
		return failed(what, err)
	}
	return nil
}
