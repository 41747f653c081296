package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/shmsync"
)

// lookEvery is how often a client that waits for a change looks whether its file
// still has its name: whoever removes a file tells nobody who has it mapped.
const lookEvery = time.Second

// runSynced is run with locks.
func (c *client) runSynced(ctx context.Context) error {
	text, changes, t, err := c.firstSynced(ctx)
	if err != nil {
		return err
	}
	defer func() { t.Close() }() // of the last file
	if err := c.print(text); err != nil || !c.follow {
		return err
	}
	for {
		now, seen, err := t.next(ctx, changes, c.raw)
		if errors.Is(err, errReplaced) || errors.Is(err, mmap.ErrFault) {
			c.wait = true
			var other *syncedText
			if now, seen, other, err = c.firstSynced(ctx); err == nil {
				t.Close()
				t = other
			}
		}
		if ctx.Err() != nil {
			return nil // how following ends
		}
		if err != nil {
			return err
		}
		changes = seen
		if bytes.Equal(now, text) {
			continue
		}
		text = now
		if err := c.print(text); err != nil {
			return err
		}
	}
}

// errReplaced says that another file has the name, or none.
var errReplaced = errors.New("the file was replaced")

// firstSynced opens the file and reads the text, and waits for both if asked to.
// Without an error the file is the caller's to close.
func (c *client) firstSynced(ctx context.Context) (text []byte, changes uint32, t *syncedText, err error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		t, err = openForClient(ctx, c.path, c.size)
		if err == nil {
			if text, changes, err = c.firstText(ctx, t); err == nil {
				return text, changes, t, nil
			}
			t.Close()
		}
		again := errors.Is(err, fs.ErrNotExist) || errors.Is(err, mmap.ErrFault) || errors.Is(err, mmap.ErrBeyondEOF) || errors.Is(err, errReplaced)
		if !c.wait || !again {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w (run \"memlane server --sync\" first, or add --wait)", err)
			}
			return nil, 0, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, 0, nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// firstText reads the text, and waits for one if asked to.
func (c *client) firstText(ctx context.Context, t *syncedText) ([]byte, uint32, error) {
	for {
		text, changes, err := t.read(ctx, c.raw)
		nothing := errors.Is(err, errHalf) || (err == nil && len(text) == 0)
		if !c.wait || !nothing {
			return text, changes, err
		}
		if _, err := t.await(ctx, changes); err != nil {
			return nil, 0, err
		}
	}
}

// next waits for the next whole text, after so many changes.
func (t *syncedText) next(ctx context.Context, changes uint32, raw bool) (text []byte, now uint32, err error) {
	for now = changes; ; {
		if _, err := t.await(ctx, now); err != nil {
			return nil, 0, err
		}
		if text, now, err = t.read(ctx, raw); !errors.Is(err, errHalf) {
			return text, now, err
		}
	}
}

// await waits until the text has been changed more often, or is in another file.
func (t *syncedText) await(ctx context.Context, changes uint32) (uint32, error) {
	for {
		turn, cancel := context.WithTimeout(ctx, lookEvery)
		seen, err := t.whole.WaitAfter(turn, changes)
		cancel()
		switch {
		case err == nil:
			return seen, nil
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case turn.Err() == nil:
			return 0, err
		case t.replaced() || !t.known():
			return 0, errReplaced
		}
	}
}

// known says whether the others still know this process as one that uses the file.
// If it was cut short and made longer again they do not: what is in it is another
// text, with other locks, of which nothing need look different.
func (t *syncedText) known() bool {
	if err := t.guard.TryAcquire(); err != nil {
		return errors.Is(err, shmsync.ErrBusy) // the next look will tell
	}
	st, err := t.guard.Status()
	if releaseErr := t.guard.Release(); err != nil || releaseErr != nil {
		return false
	}
	return slices.ContainsFunc(st.Holders, func(h shmsync.Holder) bool { return h.PID == os.Getpid() })
}

// replaced says whether the name is another file's, or the file has another size.
func (t *syncedText) replaced() bool {
	f, err := t.File()
	if err != nil {
		return true
	}
	defer f.Close()
	mine, err := f.Stat()
	if err != nil {
		return true
	}
	now, err := os.Stat(t.path)
	return err != nil || !os.SameFile(now, mine) || now.Size() != int64(t.Len())
}
