package shmsync_test

import (
	"context"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// crowd has many goroutines follow an event that is set all the time, with a context
// that all share: they fall asleep and are waked without a pause, and wait for each
// other's locks just before they sleep. When they have, meanwhile is called, and want
// is how all of them must end.
func crowd(t *testing.T, s, setter *segment.Segment, meanwhile func(), want error) {
	t.Helper()
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	followed, set := eventAt(t, s, 8192, shmsync.Manual), eventAt(t, setter, 8192, shmsync.Manual)
	var waiters, setters sync.WaitGroup
	for range 60 {
		waiters.Go(func() {
			seen, err := followed.Count()
			for err == nil {
				seen, err = followed.WaitAfter(ctx, seen)
			}
			wantError(t, err, []error{want})
		})
	}
	for range 200 {
		noError(t, set.Set())
	}
	ended := make(chan struct{})
	setters.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				if set.Set() != nil {
					return
				}
			}
		}
	})
	runtime.GC() // which stops all of them, wherever they are
	meanwhile()
	close(ended)
	setters.Wait()
	waiters.Wait()
}

// Close gets all out who wait, wherever between two sleeps they are.
func TestCloseAmongACrowd(t *testing.T) {
	for range 30 {
		s := newSegment(t)
		crowd(t, s, reattach(t, s), func() { noError(t, s.Close()) }, shmsync.ErrClosed)
	}
}

// A file that is cut short takes away the words that a crowd sleeps on, and all hear
// of it nevertheless.
func TestTruncatedUnderACrowd(t *testing.T) {
	for range 3 {
		s := newSegment(t)
		crowd(t, s, reattach(t, s), func() { noError(t, os.Truncate(s.Path(), 0)) }, mmap.ErrFault)
	}
}

// Who is waked to have a lock, and hears then that its segment is closed, passes that
// on: nobody is late. The one who stays is another process.
func TestCloseWakesTheNext(t *testing.T) {
	s := newSegment(t)
	stays := serve(t, nil, s)
	m := mutexAt(t, s, 0)
	for range 100 {
		leaves := reattach(t, s)
		noError(t, m.Lock(background))
		ended := make(chan error)
		leaving := mutexAt(t, leaves, 0)
		go func() { ended <- leaving.Lock(background) }()
		eventually(t, "the one who leaves waits", func() bool { st, err := m.Status(); return err == nil && st.Waiters })
		stays.Send("lock")
		go m.Unlock()
		noError(t, leaves.Close())
		switch err := <-ended; {
		case err == nil: // it has had the mutex, until Close
			stays.want("died")
			stays.do("consistent", "ok")
		default:
			wantError(t, err, []error{shmsync.ErrClosed})
			if got := stays.Line(); got == "died" {
				stays.do("consistent", "ok") // it had the mutex for a moment
			} else if got != "ok" {
				t.Fatalf("who stays got %q", got)
			}
		}
		stays.do("unlock", "ok")
	}
	// That the one who leaves has the mutex for a moment, and is gone before the other has
	// heard that it has joined, makes nobody late either.
	stays.do("late", "0")
}

// A file that is made longer while its locks are used has another place for them:
// whoever comes then is told, and does not get a lock that somebody holds. When all
// have left it is as any other.
func TestLengthened(t *testing.T) {
	s := newSegment(t)
	p := serve(t, nil, s)
	p.do("lock", "ok")
	noError(t, os.Truncate(s.Path(), 2*size))
	longer, err := attach(s.Path())
	noError(t, err)
	defer longer.Close()
	_, err = shmsync.MutexAt(longer, 0)
	wantError(t, err, []error{shmsync.ErrArea}, "its first 1048576 bytes", "2097152 now")
	p.Kill()
	noError(t, s.Close())
	eventually(t, "the others have left", func() bool { _, err := shmsync.MutexAt(longer, 0); return err == nil })
}
