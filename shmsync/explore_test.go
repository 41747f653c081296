//go:build explore

package shmsync

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"testing"

	"github.com/memlane/memlane/internal/explore"
	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/region"
)

type model struct{}

func (model) Gone(process int) bool { return explore.Gone(process) }
func (model) Watch(process int)     { explore.Watch(process) }

// stage is shared memory with some processes that are members of it: the members'
// table, then one primitive.
type stage struct {
	region *region.Region
	spaces []*space
	scene  *explore.Scene
}

const primitiveAt = layout.AreaHeapAt

func newStage(t testing.TB, processes, size int) *stage {
	life.Forget()
	life.Model = nil
	s := &stage{region: region.Heap(primitiveAt + size), scene: &explore.Scene{}}
	s.scene.Memory = s.region.Bytes(primitiveAt, size)
	for range processes {
		members, err := life.Join(s.region, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.spaces = append(s.spaces, &space{name: "memory", region: s.region, members: members})
		s.scene.Bells = append(s.scene.Bells, &members.Deaths)
	}
	life.Model = model{}
	s.scene.Mark = func(process int) {
		s.region.Uint32(layout.AreaMembersAt + process*layout.MemberBytes + layout.MemberLifeAt).Store(layout.FutexWaiters | layout.FutexOwnerDied)
	}
	return s
}

var all = flag.Bool("all", false, "explore what takes minutes too")

// explored explores; what is slow only if all is asked for.
func explored(t *testing.T, name string, slow bool, c explore.Config) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		if slow && !*all {
			t.Skip("takes minutes: make explore")
		}
		r := explore.Run(c)
		t.Logf("%v", r)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if !r.Complete {
			t.Error("not complete")
		}
	})
}

// section is what a mutex guards, seen from outside of the processes.
type section struct{ inside []bool }

func (s *section) enter(self int) {
	for other, inside := range s.inside {
		explore.Assert(!inside || explore.Stopped(other), "processes %d and %d are in the section", self, other)
	}
	s.inside[self] = true
}

// setBits are the members of a set.
func setBits(set []bool) (b uint64) {
	for i, in := range set {
		if in {
			b |= 1 << i
		}
	}
	return b
}

func mutexScene(t *testing.T, processes, rounds int) func() *explore.Scene {
	return func() *explore.Scene {
		s := newStage(t, processes, MutexBytes+8)
		data := s.region.Uint64(primitiveAt + MutexBytes) // that the mutex guards
		sec := &section{inside: make([]bool, processes)}
		for i, sp := range s.spaces {
			m := newMutex(object{sp, "mutex"}, primitiveAt)
			s.scene.Processes = append(s.scene.Processes, func() {
				for round := range rounds {
					explore.Operation(uint64(round))
					err := m.Lock(context.Background())
					died := errors.Is(err, ErrOwnerDied)
					explore.Assert(err == nil || died, "lock: %v", err)
					sec.enter(i)
					left := false
					for other, inside := range sec.inside {
						left = left || (inside && other != i)
					}
					explore.Assert(!left || died, "somebody died inside and the next owner is not told")
					data.Store(uint64(i)) // a step, at which it can die inside
					explore.Operation(uint64(1000 + round*2))
					if died {
						explore.Operation(uint64(1001 + round*2))
						for other := range sec.inside {
							if other != i {
								sec.inside[other] = false
							}
						}
						explore.Assert(m.Consistent() == nil, "consistent")
					}
					sec.inside[i] = false
					err = m.Unlock()
					explore.Assert(err == nil, "unlock: %v", err)
				}
			})
		}
		s.scene.Ghost = func() uint64 { return setBits(sec.inside) }
		s.scene.Check = func() error {
			state := s.region.Uint64(primitiveAt).Load()
			if state&ownerBits == 0 && state != 0 && state != layout.MutexStateWaiters {
				return fmt.Errorf("the state is %#x", state)
			}
			return nil
		}
		return s.scene
	}
}

func TestExploreMutex(t *testing.T) {
	explored(t, "2 processes twice", false, explore.Config{Build: mutexScene(t, 2, 2), Spurious: 1})
	explored(t, "2 processes twice, 1 killed", false, explore.Config{Build: mutexScene(t, 2, 2), Kills: 1})
	explored(t, "2 processes 3 times, 2 killed", false, explore.Config{Build: mutexScene(t, 2, 3), Kills: 2, Spurious: 1})
	explored(t, "3 processes twice", true, explore.Config{Build: mutexScene(t, 3, 2), Spurious: 1})
	explored(t, "3 processes, 1 killed", false, explore.Config{Build: mutexScene(t, 3, 1), Kills: 1})
	explored(t, "4 processes", true, explore.Config{Build: mutexScene(t, 4, 1)})
	explored(t, "3 processes, 2 killed", true, explore.Config{Build: mutexScene(t, 3, 1), Kills: 2})
	explored(t, "3 processes twice, 1 killed", true, explore.Config{Build: mutexScene(t, 3, 2), Kills: 1})
}

// A process that dies in the section, one that unlocks without Consistent, and one
// that recovers.
func TestExploreUnrecoverable(t *testing.T) {
	explored(t, "3 processes, 1 killed", false, explore.Config{Build: unrecoverableScene(t, 3), Kills: 1})
}

func unrecoverableScene(t *testing.T, processes int) func() *explore.Scene {
	return func() *explore.Scene {
		s := newStage(t, processes, MutexBytes)
		var m []*Mutex
		for _, sp := range s.spaces {
			m = append(m, newMutex(object{sp, "mutex"}, primitiveAt))
		}
		recovered := false
		s.scene.Ghost = func() uint64 { return setBits([]bool{recovered}) }
		use := func(i int) func() {
			return func() {
				switch err := m[i].Lock(context.Background()); {
				case errors.Is(err, ErrOwnerDied):
					explore.Assert(errors.Is(m[i].Unlock(), ErrUnrecoverable), "unlocked inconsistent without a word")
				case errors.Is(err, ErrUnrecoverable):
					if err := m[i].Recover(); err == nil {
						explore.Assert(!recovered, "recovered twice")
						recovered = true
						explore.Assert(m[i].Consistent() == nil && m[i].Unlock() == nil, "not ours after Recover")
					} else {
						explore.Assert(errors.Is(err, fs.ErrInvalid), "recover: %v", err)
					}
				default:
					explore.Assert(err == nil && m[i].Unlock() == nil, "lock: %v", err)
				}
			}
		}
		for i := range processes {
			s.scene.Processes = append(s.scene.Processes, use(i))
		}
		s.scene.Check = func() error { return nil }
		return s.scene
	}
}

// permits counts what a semaphore has, free and held, as an operator would find
// it when all is over.
func permits(s *stage) (free, held int) {
	sem := newSemaphore(object{s.spaces[0], "semaphore"}, primitiveAt)
	now, err := sem.look()
	if err != nil {
		return -1, -1
	}
	for i := range cellsMax {
		held += cell(sem.cells[i].Load()).held()
	}
	return now.permits(), held
}

// semaphoreScene has processes acquire and release one of some permits.
func semaphoreScene(t *testing.T, processes, rounds, total int) func() *explore.Scene {
	return func() *explore.Scene {
		s := newStage(t, processes, layout.SemaphoreCellsAt+8*cellsMax)
		s.region.Uint64(primitiveAt).Store(uint64(total))
		inside := make([]bool, processes)
		for i, sp := range s.spaces {
			sem := newSemaphore(object{sp, "semaphore"}, primitiveAt)
			s.scene.Processes = append(s.scene.Processes, func() {
				for round := range rounds {
					explore.Operation(uint64(2 * round))
					err := sem.Acquire(context.Background())
					explore.Assert(err == nil, "acquire: %v", err)
					inside[i] = true
					n := 0
					for other, in := range inside {
						if in && !explore.Stopped(other) {
							n++
						}
					}
					explore.Assert(n <= total, "%d processes hold one of %d permits", n, total)
					inside[i] = false
					explore.Operation(uint64(2*round + 1))
					err = sem.Release()
					explore.Assert(err == nil, "release: %v", err)
				}
			})
		}
		s.scene.Ghost = func() uint64 { return setBits(inside) }
		s.scene.Check = func() error {
			if free, held := permits(s); free+held != total {
				return fmt.Errorf("%d permits are free and %d held; there were %d", free, held, total)
			}
			return nil
		}
		return s.scene
	}
}

func TestExploreSemaphore(t *testing.T) {
	explored(t, "2 processes, 1 permit", false, explore.Config{Build: semaphoreScene(t, 2, 1, 1), Spurious: 2})
	explored(t, "2 processes twice, 1 permit", false, explore.Config{Build: semaphoreScene(t, 2, 2, 1)})
	explored(t, "2 processes twice, 1 permit, awake for no reason", true, explore.Config{Build: semaphoreScene(t, 2, 2, 1), Spurious: 1})
	explored(t, "2 processes, 1 permit, 1 killed", false, explore.Config{Build: semaphoreScene(t, 2, 1, 1), Kills: 1})
	explored(t, "2 processes, 1 permit, 2 killed", true, explore.Config{Build: semaphoreScene(t, 2, 1, 1), Kills: 2})
	explored(t, "2 processes twice, 1 permit, 1 killed", true, explore.Config{Build: semaphoreScene(t, 2, 2, 1), Kills: 1})
	explored(t, "3 processes, 2 permits", true, explore.Config{Build: semaphoreScene(t, 3, 1, 2)})
}

// signalScene has some processes post, the first what the others do not, in so many
// pieces, and the rest wait once.
func signalScene(t *testing.T, posters, waiters, pieces int) func() *explore.Scene {
	return func() *explore.Scene {
		s := newStage(t, posters+waiters, layout.SemaphoreCellsAt+8*cellsMax)
		posted, taken, unsure := 0, 0, 0
		s.scene.Ghost = func() uint64 { return uint64(posted)<<32 | uint64(taken)<<16 | uint64(unsure) }
		for i, sp := range s.spaces {
			sem := newSemaphore(object{sp, "semaphore"}, primitiveAt)
			n := 1
			if i == 0 {
				n = max(waiters-(posters-1), pieces)
			}
			s.scene.Processes = append(s.scene.Processes, func() {
				unsure++
				if i < posters {
					for range pieces {
						explore.Assert(sem.Post(n/pieces) == nil, "post")
						posted += n / pieces
					}
				} else {
					explore.Assert(sem.Wait(context.Background()) == nil, "wait")
					taken++
				}
				unsure--
			})
		}
		s.scene.Check = func() error {
			free, held := permits(s)
			if unsure == 0 && free != posted-taken || held != 0 {
				return fmt.Errorf("%d were posted, %d taken, %d are left and %d held", posted, taken, free, held)
			}
			return nil
		}
		return s.scene
	}
}

func TestExploreSignal(t *testing.T) {
	explored(t, "1 poster, 2 waiters", false, explore.Config{Build: signalScene(t, 1, 2, 1), Spurious: 1})
	explored(t, "1 poster twice, 2 waiters", false, explore.Config{Build: signalScene(t, 1, 2, 2), Spurious: 1})
	explored(t, "2 posters, 1 waiter", false, explore.Config{Build: signalScene(t, 2, 1, 1)})
}

func eventScene(t *testing.T, kind EventKind, bodies ...func(e *Event)) func() *explore.Scene {
	return func() *explore.Scene {
		s := newStage(t, len(bodies), EventBytes)
		for i, sp := range s.spaces {
			e := newEvent(object{sp, "event"}, primitiveAt, kind)
			s.scene.Processes = append(s.scene.Processes, func() { bodies[i](e) })
		}
		s.scene.Check = func() error { return nil }
		return s.scene
	}
}

// What processes do with an event.
func set(e *Event)   { explore.Assert(e.Set() == nil, "set") }
func await(e *Event) { explore.Assert(e.Wait(context.Background()) == nil, "wait") }
func pulse(e *Event) {
	seen, err := e.Count()
	explore.Assert(err == nil && e.Set() == nil && e.Reset() == nil, "pulse %d", seen)
}

// pass takes what the one before has set, and sets it for the next.
func pass(e *Event) { await(e); set(e) }

// follow waits until the event was set so often.
func follow(times uint32) func(e *Event) {
	return func(e *Event) {
		for seen := uint32(0); seen < times; {
			var err error
			seen, err = e.WaitAfter(context.Background(), seen)
			explore.Assert(err == nil, "wait after: %v", err)
		}
	}
}

func TestExploreEvent(t *testing.T) {
	// One that began to wait before the pulse is let go by it, and one that comes
	// later by the second Set.
	explored(t, "manual, 2 waiters", false, explore.Config{Build: eventScene(t, Manual, func(e *Event) { pulse(e); set(e) }, await, await), Spurious: 1})
	// One that sleeps is let go by a pulse, although nothing is set afterwards.
	explored(t, "manual, pulse", false, explore.Config{Build: eventScene(t, Manual, func(e *Event) {
		for asleep := false; !asleep; {
			explore.Operation()
			st, err := e.Status()
			explore.Assert(err == nil, "status: %v", err)
			asleep = st.Waiters
		}
		pulse(e)
	}, await), Spurious: 1})
	explored(t, "automatic, 2 waiters", false, explore.Config{Build: eventScene(t, Automatic, set, pass, pass), Spurious: 1})
	explored(t, "follow", false, explore.Config{Build: eventScene(t, Manual, func(e *Event) { set(e); set(e) }, follow(2), follow(2))})
}

// What is too large to be explored whole.
func TestExploreWalks(t *testing.T) {
	walks := func(structure, configuration string, c explore.Config) {
		t.Helper()
		c.Spurious = 2
		explore.Walks(t, structure, configuration, c)
	}
	walks("mutex", "5 processes 4 times", explore.Config{Build: mutexScene(t, 5, 4)})
	walks("mutex", "3 processes 5 times, 2 killed", explore.Config{Build: mutexScene(t, 3, 5), Kills: 2})
	walks("mutex", "4 processes 3 times, 2 killed", explore.Config{Build: mutexScene(t, 4, 3), Kills: 2})
	walks("mutex", "5 processes twice, 4 killed", explore.Config{Build: mutexScene(t, 5, 2), Kills: 4})
	walks("unrecoverable", "5 processes, 1 killed", explore.Config{Build: unrecoverableScene(t, 5), Kills: 1})
	walks("semaphore", "4 processes 3 times, 2 permits", explore.Config{Build: semaphoreScene(t, 4, 3, 2)})
	walks("semaphore", "4 processes twice, 1 permit, 2 killed", explore.Config{Build: semaphoreScene(t, 4, 2, 1), Kills: 2})
	walks("semaphore", "4 processes twice, 2 permits, 3 killed", explore.Config{Build: semaphoreScene(t, 4, 2, 2), Kills: 3})
	walks("signal", "1 poster twice, 4 waiters", explore.Config{Build: signalScene(t, 1, 4, 2)})
	walks("signal", "3 posters, 4 waiters", explore.Config{Build: signalScene(t, 3, 4, 1)})
	all := func(e *Event) { pulse(e); pulse(e); set(e) }
	walks("event", "manual, pulsed twice, 4 waiters", explore.Config{Build: eventScene(t, Manual, all, await, await, await, await)})
	walks("event", "automatic, 5 waiters", explore.Config{Build: eventScene(t, Automatic, set, pass, pass, pass, pass, pass)})
	thrice := func(e *Event) { set(e); set(e); set(e) }
	walks("event", "3 follow", explore.Config{Build: eventScene(t, Manual, thrice, follow(3), follow(3), follow(3))})
}
