package shmsync

import (
	"context"
	"fmt"
	"io/fs"
	"math/bits"
	"sync/atomic"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
	"github.com/memlane/memlane/segment"
)

// MaxPermits is how many free permits a semaphore has at most: 1048575.
const MaxPermits = layout.SemaphoreStatePermitsMask

// Semaphore is a number of permits in shared memory.
//
// It has two uses. As a guard, [Semaphore.Acquire] takes a permit which the
// process then holds until [Semaphore.Release], or until it dies: then it is free
// again. As a signal, [Semaphore.Post] adds permits and [Semaphore.Wait] takes one
// for good, as sem_post and sem_wait do.
//
// # How
//
// One compare-and-swap of the state changes the number of permits and says which
// member did it, if it was Acquire or Release. How many a member holds is kept in
// a cell of its own. Whoever wants to make the next change first enters the last
// one into its cell, so that a process can die between any two instructions and
// what it holds is still known. It is a form of helping: Herlihy, "A Methodology
// for Implementing Highly Concurrent Data Objects", 1993.
type Semaphore struct {
	object
	state *word.Uint64
	used  [(cellsMax + 63) / 64]*word.Uint64 // which cells are looked at before each sleep
	cells [cellsMax]*word.Uint64             // of each member
	me    life.ID
	own   *word.Uint64 // this process's cell
	spin  wait.Spinner
	busy  error // what the Trys return, so that they allocate nothing
	tries atomic.Uint32
}

// SemaphoreAt returns the semaphore in the [SemaphoreBytes] bytes at offset of the
// segment. If they are zero it is one without permits.
func SemaphoreAt(s *segment.Segment, offset int) (*Semaphore, error) {
	o, err := at(s, layout.KindSemaphore, offset, SemaphoreBytes)
	if err != nil {
		return nil, err
	}
	return newSemaphore(o, offset), nil
}

func newSemaphore(o object, offset int) *Semaphore {
	s := &Semaphore{
		object: o,
		state:  o.space.region.Uint64(offset + layout.SemaphoreStateAt),
		me:     o.space.members.ID(),
		busy:   o.fail("acquire", ErrBusy, ""),
	}
	for i := range s.used {
		s.used[i] = o.space.region.Uint64(offset + layout.SemaphoreHoldersAt + 8*i)
	}
	for i := range s.cells {
		s.cells[i] = o.space.region.Uint64(offset + layout.SemaphoreCellsAt + 8*i)
	}
	s.own = s.cells[s.me.Index]
	return s
}

// semState is a semaphore's state.
type semState uint64

func (s semState) permits() int  { return int(s & layout.SemaphoreStatePermitsMask) }
func (s semState) waiters() bool { return s&layout.SemaphoreStateWaiters != 0 }
func (s semState) change() int {
	return int(s >> layout.SemaphoreStateChangeShift & layout.SemaphoreStateChangeMask)
}
func (s semState) sequence() uint32 { return uint32(s >> layout.SemaphoreStateSequenceShift) }
func (s semState) member() int {
	return int(s >> layout.SemaphoreStateMemberShift & layout.SemaphoreStateMemberMask)
}

// plausible says whether some operation leaves such a state behind.
func (s semState) plausible() bool { return s>>63 == 0 && s.member() < cellsMax }

// after returns the state that follows s by a change.
func (s semState) after(permits, change, member int, sequence uint32) semState {
	return semState(permits) | s&layout.SemaphoreStateWaiters |
		semState(change)<<layout.SemaphoreStateChangeShift |
		semState(sequence)<<layout.SemaphoreStateSequenceShift |
		semState(member)<<layout.SemaphoreStateMemberShift
}

// cell is what a member holds.
type cell uint64

func newCell(held int, generation uint16, sequence uint32) cell {
	return cell(held) | cell(generation)<<layout.SemaphoreCellsGenerationShift | cell(sequence)<<layout.SemaphoreCellsSequenceShift
}
func (c cell) held() int          { return int(c & layout.SemaphoreCellsHeldMask) }
func (c cell) generation() uint16 { return uint16(c >> layout.SemaphoreCellsGenerationShift) }

// heldAfter returns what the member holds after a change; -1 where none can be.
func (c cell) heldAfter(change int) int {
	switch change {
	case layout.ChangeAcquired:
		return c.held() + 1
	case layout.ChangeReleased:
		return c.held() - 1
	}
	return 0
}
func (c cell) sequence() uint32 { return uint32(c >> layout.SemaphoreCellsSequenceShift) }

// look returns the state, with its change entered into the cell of its member.
func (s *Semaphore) look() (semState, error) {
	for range attemptsMax {
		now := semState(s.state.Load())
		if err := s.space.check(); err != nil {
			return 0, err
		}
		if !now.plausible() {
			return 0, ErrCorrupt
		}
		if now.change() == layout.ChangeNone {
			return now, nil
		}
		w := s.cells[now.member()]
		c := cell(w.Load())
		if c.sequence() == now.sequence() {
			return now, nil
		}
		// SYNC POINT semaphore cell: if the state is still the same, the change was
		// not yet entered when the cell was read, and can be entered once, by
		// whoever swaps this very cell.
		if semState(s.state.Load()) != now {
			continue
		}
		held := c.heldAfter(now.change())
		if held < 0 || held > layout.SemaphoreCellsHeldMask {
			return 0, ErrCorrupt
		}
		w.CompareAndSwap(uint64(c), uint64(newCell(held, c.generation(), now.sequence())))
	}
	return 0, ErrCorrupt
}

// quickly acquires or releases a permit where that is simple: nobody waits, and
// the last change was this process's or of no member. It is what
// [Semaphore.take] and [Semaphore.Release] do, in one piece.
func (s *Semaphore) quickly(change int) bool {
	if life.Forked() {
		return false
	}
	now, c := semState(s.state.Load()), cell(s.own.Load())
	if now.waiters() || now>>63 != 0 || c.generation() != uint16(s.me.Generation) {
		return false
	}
	if now.change() != layout.ChangeNone {
		if now.member() != s.me.Index {
			return false
		}
		if c.sequence() != now.sequence() {
			held := c.heldAfter(now.change())
			entered := newCell(held, c.generation(), now.sequence())
			if held < 0 || held > layout.SemaphoreCellsHeldMask || semState(s.state.Load()) != now || !s.own.CompareAndSwap(uint64(c), uint64(entered)) {
				return false
			}
			c = entered
		}
	}
	permits := now.permits()
	if change == layout.ChangeAcquired {
		if permits == 0 || c.held() == layout.SemaphoreCellsHeldMask {
			return false
		}
		permits--
	} else {
		if permits == MaxPermits || c.held() == 0 {
			return false
		}
		permits++
	}
	sequence := now.sequence() + 1
	if c.sequence() == sequence {
		sequence++
	}
	return s.state.CompareAndSwap(uint64(now), uint64(now.after(permits, change, s.me.Index, sequence))) && s.space.region.Err() == nil
}

// swap makes a change, which follows the state now; permits are then free. It
// returns false if somebody else was faster.
func (s *Semaphore) swap(now semState, permits, change, member int) bool {
	sequence := now.sequence() + 1
	if change != layout.ChangeNone && cell(s.cells[member].Load()).sequence() == sequence {
		sequence++ // or the change would look as if it had been entered already
	}
	return s.state.CompareAndSwap(uint64(now), uint64(now.after(permits, change, member, sequence)))
}

// mine returns this process's cell, and sees to it that it is of this process, and
// is looked at: one that was the same member before may have left permits in it.
func (s *Semaphore) mine(now semState) (cell, bool) {
	c := cell(s.own.Load())
	if c.generation() == uint16(s.me.Generation) {
		return c, true
	}
	used, bit := s.used[s.me.Index/64], uint64(1)<<(s.me.Index%64)
	if all := used.Load(); all&bit == 0 {
		// SYNC POINT semaphore holders: before the first change of the cell, so that
		// whoever sees a state which says that a permit is held looks at the cell.
		used.CompareAndSwap(all, all|bit)
	} else if c.held() > 0 {
		s.giveBack(now, s.me.Index, c.held())
	} else {
		s.own.CompareAndSwap(uint64(c), uint64(newCell(0, uint16(s.me.Generation), c.sequence())))
	}
	return c, false
}

// giveBack frees the permits of a member that is gone, if nothing has changed
// since now.
func (s *Semaphore) giveBack(now semState, member, held int) {
	permits := min(now.permits()+held, MaxPermits)
	if s.swap(now, permits, layout.ChangeReturned, member) {
		s.wake(held)
	}
}

// giveBackAll frees the permits of those who are gone, and says whether there was
// anybody. Without suspicion it believes who is not marked. It has the others
// watched for who is about to sleep.
func (s *Semaphore) giveBackAll(now semState, suspicious, watch bool) bool {
	found := false
	for id, held := range s.holders {
		if (suspicious || s.space.members.Marked(id)) && s.space.members.Gone(id) {
			s.giveBack(now, id.Index, held)
			found = true
		} else if watch {
			s.space.members.Watch(id)
		}
	}
	return found
}

// holders yields the members that hold permits, and how many each holds.
func (s *Semaphore) holders(yield func(id life.ID, held int) bool) {
	for i, w := range s.used {
		for rest := w.Load(); rest != 0; rest &= rest - 1 {
			member := 64*i + bits.TrailingZeros64(rest)
			if member >= cellsMax {
				return
			}
			if id, held := s.holding(member); held > 0 && !yield(id, held) {
				return
			}
		}
	}
}

// holding returns who holds permits in a cell, and how many.
func (s *Semaphore) holding(i int) (life.ID, int) {
	c := cell(s.cells[i].Load())
	if c.held() == 0 {
		return life.ID{}, 0
	}
	_, generation := s.space.members.Identity(i)
	if uint16(generation) != c.generation() {
		generation = 0 // of an earlier one, which is gone
	}
	return life.ID{Index: i, Generation: generation}, c.held()
}

// Acquire takes a permit, which this process holds until Release, and waits for
// one if need be, until ctx ends. Errors match the context's cause, [ErrTooMany]
// if the process holds 65,535 already, [ErrCorrupt], [ErrClosed], mmap.ErrFault if
// the file was cut short, or [ErrForked].
//
// It waits as [Mutex.Lock] does.
func (s *Semaphore) Acquire(ctx context.Context) error {
	if s.quickly(layout.ChangeAcquired) {
		return nil
	}
	return s.take(ctx, "acquire", false, s.tryAcquire)
}

// TryAcquire takes a permit if there is one; otherwise the error matches
// [ErrBusy].
func (s *Semaphore) TryAcquire() error {
	if s.quickly(layout.ChangeAcquired) {
		return nil
	}
	return s.take(context.Background(), "acquire", true, s.tryAcquire)
}

// Wait takes a permit for good, and waits for one as [Semaphore.Acquire] does.
func (s *Semaphore) Wait(ctx context.Context) error {
	if s.simply(-1) {
		return nil
	}
	return s.take(ctx, "wait for", false, s.tryWait)
}

// TryWait takes a permit for good if there is one; otherwise the error matches
// [ErrBusy].
func (s *Semaphore) TryWait() error {
	if s.simply(-1) {
		return nil
	}
	return s.take(context.Background(), "wait for", true, s.tryWait)
}

// What an attempt came to.
type outcome int

const (
	again outcome = iota // somebody else was faster
	done
	tooMany
)

func (s *Semaphore) tryAcquire(now semState) outcome {
	c, ok := s.mine(now)
	switch {
	case !ok:
		return again
	case c.held() == layout.SemaphoreCellsHeldMask:
		return tooMany
	case s.swap(now, now.permits()-1, layout.ChangeAcquired, s.me.Index):
		return done
	}
	return again
}

func (s *Semaphore) tryWait(now semState) outcome {
	if s.swap(now, now.permits()-1, layout.ChangeNone, 0) {
		return done
	}
	return again
}

// simply adds n free permits, which can be -1, where that is simple: nobody
// waits, and the last change was of no member.
func (s *Semaphore) simply(n int) bool {
	if life.Forked() {
		return false
	}
	now := semState(s.state.Load())
	permits := now.permits() + n
	if now.waiters() || now.change() != layout.ChangeNone || !now.plausible() || permits < 0 || permits > MaxPermits {
		return false
	}
	return s.state.CompareAndSwap(uint64(now), uint64(now.after(permits, layout.ChangeNone, 0, now.sequence()+1))) && s.space.region.Err() == nil
}

// take has try take a permit when there is one.
func (s *Semaphore) take(ctx context.Context, op string, once bool, try func(semState) outcome) error {
	deaths, low := &s.space.members.Deaths, word.Low(s.state)
	rung := deaths.Rung()
	suspicious, slept := once && s.suspects(&s.tries), false
	if !once {
		s.space.waiting.Add(1)
		defer s.space.waiting.Add(-1)
	}
	for attempts := 0; attempts < attemptsMax; attempts++ {
		word.Here(3, uint64(deaths.Rung()-rung), bit(suspicious), bit(once), uint64(len(op)))
		now, err := s.look()
		if err != nil {
			if slept {
				wait.Wake(low, 1) // it may have been waked for a permit
			}
			return s.fail(op, err, "")
		}
		if now.permits() > 0 {
			switch try(now) {
			case done:
				if err := s.space.check(); err != nil {
					return s.fail(op, err, "")
				}
				return nil
			case tooMany:
				return s.fail(op, ErrTooMany, "release some")
			}
			continue
		}
		if !once && s.spin.Spin(low, uint32(now)) {
			attempts = 0
			continue
		}
		if s.giveBackAll(now, suspicious, !once) {
			continue
		}
		if once {
			return s.busy
		}
		if suspicious, err = s.sleep(ctx, now, &rung); err != nil {
			return s.fail(op, err, "")
		}
		attempts, slept = 0, true
	}
	return s.fail(op, fmt.Errorf("%w: it changes all the time", ErrCorrupt), "")
}

// sleep sleeps until the state, which has no permits, has changed, or a member that
// is watched is gone; it can end early. suspicious says that somebody is gone. Whoever
// holds a permit in this state is watched already: if another has come to hold one
// since, the state is another too.
func (s *Semaphore) sleep(ctx context.Context, now semState, rung *uint32) (suspicious bool, err error) {
	low := word.Low(s.state)
	if !now.waiters() {
		// SYNC POINT semaphore waiters: pairs with the compare-and-swap of who adds
		// permits, which fails now, or has come before.
		next := now | layout.SemaphoreStateWaiters
		if !s.state.CompareAndSwap(uint64(now), uint64(next)) {
			return false, nil
		}
		now = next
	}
	if err := s.park(ctx, low, uint32(now), *rung); err != nil {
		return false, err
	}
	before := *rung
	*rung = s.space.members.Deaths.Rung()
	return *rung != before, nil
}

// Release gives back a permit that this process holds, or the error matches
// [ErrNotHeld].
func (s *Semaphore) Release() error {
	if s.quickly(layout.ChangeReleased) {
		return nil
	}
	for range attemptsMax {
		word.Here(4)
		now, err := s.look()
		if err != nil {
			return s.fail("release", err, "")
		}
		c, ok := s.mine(now)
		if !ok {
			continue
		}
		if c.held() == 0 {
			return s.fail("release", ErrNotHeld, "acquire it first, and release it once; what Wait has taken is not held")
		}
		if now.permits() == MaxPermits {
			return s.fail("release", ErrTooMany, "take some of its permits for good, with Wait")
		}
		if s.swap(now, now.permits()+1, layout.ChangeReleased, s.me.Index) {
			s.wake(1)
			if err := s.space.check(); err != nil {
				return s.fail("release", err, "")
			}
			return nil
		}
	}
	return s.fail("release", fmt.Errorf("%w: it changes all the time", ErrCorrupt), "")
}

// Post adds n permits, which nobody holds. If the semaphore would have more than
// [MaxPermits] it adds none, and the error matches [ErrTooMany]; if n is negative,
// fs.ErrInvalid.
func (s *Semaphore) Post(n int) error {
	if n < 0 {
		return s.fail("post", negative(n), "take permits with Wait")
	}
	if n > 0 && s.simply(n) {
		return nil
	}
	for range attemptsMax {
		word.Here(5)
		now, err := s.look()
		if err != nil {
			return s.fail("post", err, "")
		}
		if n > MaxPermits-now.permits() {
			return s.fail("post", fmt.Errorf("%w: it has %d, and %d more", ErrTooMany, now.permits(), n), fmt.Sprintf("it can have %d", MaxPermits))
		}
		if s.swap(now, now.permits()+n, layout.ChangeNone, 0) {
			s.wake(n)
			if err := s.space.check(); err != nil {
				return s.fail("post", err, "")
			}
			return nil
		}
	}
	return s.fail("post", fmt.Errorf("%w: it changes all the time", ErrCorrupt), "")
}

// negative is why n can be no number of permits.
func negative(n int) error {
	return fmt.Errorf("%w: %d permits are fewer than none", fs.ErrInvalid, n)
}

// wake wakes waiters for n permits that were just added.
func (s *Semaphore) wake(n int) {
	now := semState(s.state.Load())
	if !now.waiters() || n == 0 {
		return
	}
	// Who waits stays noted: the one who is waked can die before he takes it. If
	// nobody is found asleep nobody waits, unless somebody has fallen asleep since:
	// which nobody does while there are permits.
	if wait.Wake(word.Low(s.state), n) == 0 && now.permits() > 0 {
		s.state.CompareAndSwap(uint64(now), uint64(now&^layout.SemaphoreStateWaiters))
	}
}

// SemaphoreStatus is what a semaphore looks like at one moment.
type SemaphoreStatus struct {
	Permits int      // free ones
	Holders []Holder // who holds permits, and how many
	Waiters bool     // somebody waits, or has waited
}

// Status returns what the semaphore looks like now. The numbers are of one moment
// only if nobody uses it meanwhile.
func (s *Semaphore) Status() (SemaphoreStatus, error) {
	now, err := s.look()
	if err != nil {
		return SemaphoreStatus{}, s.fail("look at", err, "")
	}
	st := SemaphoreStatus{Permits: now.permits(), Waiters: now.waiters()}
	for id, held := range s.holders {
		h := s.space.holder(id)
		h.Permits = held
		st.Holders = append(st.Holders, h)
	}
	return st, nil
}
