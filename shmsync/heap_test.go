//go:build !explore

package shmsync

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/region"
)

// The race detector does not see mapped memory, so here everything lies on the
// heap, and the members are goroutines: what a primitive hands over must be
// handed over in Go's own terms.

const (
	heapMutex     = layout.AreaHeapAt
	heapSemaphore = heapMutex + MutexBytes
	heapEvent     = heapSemaphore + SemaphoreBytes
	heapBytes     = heapEvent + EventBytes
)

func joinHeap(t testing.TB, r *region.Region) *space {
	t.Helper()
	members, err := life.Join(r, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &space{name: "heap", region: r, members: members}
}

func TestHeapMutex(t *testing.T) {
	r := region.Heap(heapBytes)
	var wg sync.WaitGroup
	guarded, died := 0, 0
	const members, rounds = 4, 3000
	for i := range members {
		wg.Go(func() {
			sp := joinHeap(t, r)
			m := newMutex(object{sp, "mutex"}, heapMutex)
			for round := range rounds {
				err := m.Lock(context.Background())
				if errors.Is(err, ErrOwnerDied) {
					died++
					err = m.Consistent()
				}
				if err != nil {
					t.Error(err)
				}
				guarded++
				if i == 0 && round%500 == 499 { // leave with it, and come back as another
					sp.members.Leave()
					sp = joinHeap(t, r)
					m = newMutex(object{sp, "mutex"}, heapMutex)
					continue
				}
				if err := m.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// Who left last may have left it to nobody.
	last := newMutex(object{joinHeap(t, r), "mutex"}, heapMutex)
	if errors.Is(last.Lock(context.Background()), ErrOwnerDied) {
		died++
	}
	if guarded != members*rounds || died != rounds/500 {
		t.Errorf("counted to %d, and %d owners died", guarded, died)
	}
}

func TestHeapSemaphore(t *testing.T) {
	r := region.Heap(heapBytes)
	if err := newSemaphore(object{joinHeap(t, r), "semaphore"}, heapSemaphore).Post(1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	guarded := 0
	const members, rounds = 4, 3000
	for i := range members {
		wg.Go(func() {
			sp := joinHeap(t, r)
			s := newSemaphore(object{sp, "semaphore"}, heapSemaphore)
			for round := range rounds {
				take, give := s.Acquire, s.Release
				if round%3 == 1 {
					take, give = s.Wait, func() error { return s.Post(1) }
				}
				if err := take(context.Background()); err != nil {
					t.Error(err)
				}
				guarded++
				if i == 0 && round%300 == 299 {
					sp.members.Leave()
					sp = joinHeap(t, r)
					s = newSemaphore(object{sp, "semaphore"}, heapSemaphore)
					continue
				}
				if err := give(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if guarded != members*rounds {
		t.Errorf("counted to %d", guarded)
	}
	// Who left last has left the permit; whoever wants it gets it.
	last := newSemaphore(object{joinHeap(t, r), "semaphore"}, heapSemaphore)
	if err := errors.Join(last.Acquire(context.Background()), last.Release()); err != nil {
		t.Error(err)
	}
	st, err := last.Status()
	if err != nil || st.Permits != 1 || len(st.Holders) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestHeapEvent(t *testing.T) {
	r := region.Heap(heapBytes)
	var wg sync.WaitGroup
	guarded := 0
	event := func() *Event { return newEvent(object{joinHeap(t, r), "event"}, heapEvent, Automatic) }
	if err := event().Set(); err != nil {
		t.Fatal(err)
	}
	const members, rounds = 4, 2000
	for range members {
		wg.Go(func() {
			e := event()
			for range rounds {
				if err := e.Wait(context.Background()); err != nil {
					t.Error(err)
				}
				guarded++
				if err := e.Set(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if guarded != members*rounds {
		t.Errorf("counted to %d", guarded)
	}
}

// All sequence numbers are started at their ends.
func TestWrap(t *testing.T) {
	r := region.Heap(heapBytes)
	sp := joinHeap(t, r)
	s := newSemaphore(object{sp, "semaphore"}, heapSemaphore)
	s.state.Store(uint64(semState(0).after(2, layout.ChangeNone, 0, 1<<32-3)))
	other := newSemaphore(object{joinHeap(t, r), "semaphore"}, heapSemaphore)
	for range 4 {
		for _, s := range []*Semaphore{s, other} {
			if err := s.Acquire(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []*Semaphore{s, other} { // the last change is the other's
			if err := s.Release(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if now, err := s.look(); err != nil || now.permits() != 2 {
		t.Errorf("%d permits, %v", now.permits(), err)
	}
	// A cell that by chance has the number of the next change already.
	now, _ := s.look()
	c := cell(s.own.Load())
	s.own.Store(uint64(newCell(c.held(), c.generation(), now.sequence()+1)))
	if err := s.Acquire(context.Background()); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Status(); err != nil || len(st.Holders) != 1 || st.Holders[0].Permits != 1 {
		t.Errorf("the change was not entered: %+v, %v", st, err)
	}

	e := newEvent(object{sp, "event"}, heapEvent, Manual)
	e.state.Store(1<<30 - 1) // the count's last
	before, _ := e.Count()
	if err := e.Set(); err != nil {
		t.Fatal(err)
	}
	if st, err := e.Status(); err != nil || !st.Set || st.Count != 0 || st.Waiters {
		t.Errorf("after the last count: %+v, %v", st, err)
	}
	if n, err := e.WaitAfter(context.Background(), before); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}
