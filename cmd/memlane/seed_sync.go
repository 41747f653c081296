package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// What server --sync and client --sync use beside the text, by their names in the
// segment's directory.
const (
	// guardName is a semaphore with one permit, which who writes or reads holds.
	guardName = "text"
	// wholeName is a manual event that is set as long as the text is whole: who
	// writes resets it first. It counts the changes, and tells a text from what is
	// left of one whose writer was killed.
	wholeName = "text.whole"
)

// errNotSynced says that a file has no locks. It counts as not there.
var errNotSynced = fmt.Errorf("it has no locks: no server --sync has written it yet: %w", fs.ErrNotExist)

// errHalf says that there is no whole text. It counts as not there.
var errHalf = fmt.Errorf("it has no whole text: the last server did not write to the end: %w", fs.ErrNotExist)

// syncedText is a text in a mapped file, and what guards it. Close ends the use of
// both.
type syncedText struct {
	*segment.Segment
	path  string
	guard *shmsync.Semaphore
	whole *shmsync.Event
	size  int // bytes from the beginning that are for the text
}

// serveSynced is serve with locks. The file is as much longer as they need.
func serveSynced(ctx context.Context, path string, size int64, text []byte) (*syncedText, error) {
	t, err := openForServer(ctx, path, size)
	if err != nil {
		return nil, err
	}
	if err := t.write(ctx, text); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// openForServer opens the file, which is made if there is none, and prepares its
// locks. Servers that do this at the same time come one after the other.
func openForServer(ctx context.Context, path string, size int64) (*syncedText, error) {
	c, name := segmentAt(path)
	need, err := synced(size)
	if err != nil {
		return nil, err
	}
	s, err := segment.Create(name, int(need), c)
	if errors.Is(err, fs.ErrExist) {
		s, err = segment.Attach(name, c)
	}
	if errors.Is(err, segment.ErrEmpty) {
		if err := fillEmpty(ctx, path, need); err != nil {
			return nil, err
		}
		s, err = segment.Attach(name, c)
	}
	if err != nil {
		return nil, err
	}
	ready := false
	defer func() {
		if !ready {
			s.Close()
		}
	}()
	f, err := s.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := lockFile(ctx, f); err != nil {
		return nil, err
	}
	if s, err = lengthen(s, f, name, need, c); err != nil {
		return nil, err
	}
	if room := shmsync.Area(s.Len()); int(size) > room {
		return nil, fmt.Errorf("%s has room for %d bytes of text, behind which its locks are, and --size is %d (use less --size, or remove the file)", path, room, size)
	}
	t := &syncedText{Segment: s, path: path, size: int(size)}
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	ready = true
	return t, nil
}

// segmentAt returns how to find the file at path as a segment.
func segmentAt(path string) (*segment.Config, string) {
	return &segment.Config{Folder: filepath.Dir(path)}, filepath.Base(path)
}

// synced returns how large a file is with a text of size bytes and its locks.
func synced(size int64) (int64, error) {
	const page = 4096
	need := (size+page-1)&^(page-1) + shmsync.AreaBytes
	if need <= size || shmsync.Area(int(need)) < int(size) {
		return 0, usagef("--size %d: use less", size)
	}
	return need, nil
}

// fillEmpty gives a file its size that has none, as those have that were only just
// opened.
func fillEmpty(ctx context.Context, path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockFile(ctx, f); err != nil {
		return err
	}
	if st, err := f.Stat(); err != nil || st.Size() > 0 {
		return err // another server was faster
	}
	return mmap.Reserve(f, size)
}

// lockFile waits until no other server prepares the file. The lock ends with f.
func lockFile(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// lengthen makes the segment's file f need bytes long, unless it is already, or has
// locks: these lie where its end was when they came. It takes s and returns what is
// attached to all of the file, also with an error. The caller has the file locked.
func lengthen(s *segment.Segment, f *os.File, name string, need int64, c *segment.Config) (*segment.Segment, error) {
	attachAgain := func() (*segment.Segment, error) {
		again, err := segment.Attach(name, c)
		if err != nil {
			return s, err
		}
		return again, s.Close()
	}
	st, err := f.Stat()
	if err == nil && st.Size() != int64(s.Len()) { // another server was faster
		s, err = attachAgain()
	}
	if err != nil || int64(s.Len()) >= need {
		return s, err
	}
	if has, err := hasLocks(s); err != nil || has {
		return s, err
	}
	area := shmsync.Area(int(need))
	if used, err := inUse(s, area, int(need)); err != nil {
		return s, err
	} else if used {
		return s, explainArea(f.Name(), fmt.Errorf("%w: something else is in the bytes from offset %d on", shmsync.ErrArea, area))
	}
	if err := mmap.Reserve(f, need); err != nil {
		return s, err
	}
	return attachAgain()
}

// hasLocks says whether the end of the segment is package shmsync's.
func hasLocks(s *segment.Segment) (bool, error) {
	used, err := shmsync.Used(s)
	if errors.Is(err, shmsync.ErrArea) {
		return false, nil // other bytes
	}
	return used, err
}

// openForClient opens a file that a server has made.
func openForClient(ctx context.Context, path string, size int) (*syncedText, error) {
	c, name := segmentAt(path)
	s, err := segment.Attach(name, c)
	switch {
	case errors.Is(err, segment.ErrEmpty):
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotSynced}
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w (with --sync the client too writes, to hold the lock; without, it only reads)", err)
	case err != nil:
		return nil, err
	}
	t := &syncedText{Segment: s, path: path, size: max(0, shmsync.Area(s.Len()))}
	fail := func(err error) (*syncedText, error) {
		s.Close()
		return nil, err
	}
	used, err := shmsync.Used(s)
	if used {
		_, err = shmsync.Lookup(s, guardName)
	}
	if (err == nil && !used) || errors.Is(err, fs.ErrNotExist) {
		err = &fs.PathError{Op: "read", Path: path, Err: errNotSynced}
	}
	if err != nil {
		return fail(explainArea(path, err))
	}
	if err := t.prepare(ctx); err != nil {
		return fail(err)
	}
	if size > t.size {
		return fail(fmt.Errorf("%s has %d bytes for the text, --size is %d: %w (use less --size, or none)", path, t.size, size, mmap.ErrBeyondEOF))
	}
	if size > 0 {
		t.size = size
	}
	return t, nil
}

// prepare finds or makes what guards the text.
func (t *syncedText) prepare(ctx context.Context) (err error) {
	if t.guard, err = shmsync.NamedSemaphore(ctx, t.Segment, guardName, 1); err == nil {
		t.whole, err = shmsync.NamedEvent(ctx, t.Segment, wholeName, shmsync.Manual)
	}
	return explainArea(t.path, err)
}

// explainArea says what else is in the way of.
func explainArea(path string, err error) error {
	if errors.Is(err, shmsync.ErrArea) {
		return fmt.Errorf("%s cannot be used with --sync, which needs the end of the file: %w", path, err)
	}
	return err
}

// guarded calls fn while no other process writes or reads the text.
func (t *syncedText) guarded(ctx context.Context, fn func(b []byte) error) error {
	if err := t.guard.Acquire(ctx); err != nil {
		return err
	}
	err := t.View(func(b []byte) error { return fn(b[:t.size]) })
	return errors.Join(err, t.guard.Release())
}

// write replaces the text.
func (t *syncedText) write(ctx context.Context, text []byte) error {
	return t.guarded(ctx, func(b []byte) error {
		// Whoever kills this process in between leaves the event like that, and
		// half a text that nobody shows.
		if err := t.whole.Reset(); err != nil {
			return err
		}
		clear(b[copy(b, text):])
		return t.whole.Set()
	})
}

// read returns the text, or all bytes, and how often it was changed until then. If
// there is no whole text the error matches errHalf.
func (t *syncedText) read(ctx context.Context, raw bool) (text []byte, changes uint32, err error) {
	err = t.guarded(ctx, func(b []byte) error {
		var err error
		if changes, err = t.whole.Count(); err != nil {
			return err
		}
		whole, err := t.whole.TryWait()
		if err != nil {
			return err
		}
		if !whole {
			return &fs.PathError{Op: "read", Path: t.path, Err: errHalf}
		}
		if end := bytes.IndexByte(b, 0); end >= 0 && !raw {
			b = b[:end]
		}
		text = bytes.Clone(b)
		return nil
	})
	return text, changes, err
}
