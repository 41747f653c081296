package shmsync

import (
	"context"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
	"github.com/memlane/memlane/segment"
)

// Mutex is a lock in shared memory that one process at a time holds.
type Mutex struct {
	object
	state *word.Uint64
	mine  uint64 // state when this process holds it, all is well, and nobody waits
	spin  wait.Spinner
	busy  error // what TryLock returns, so that it allocates nothing
	tries atomic.Uint32
}

// MutexAt returns the mutex in the [MutexBytes] bytes at offset of the segment.
// If they are zero it is one that nobody holds.
func MutexAt(s *segment.Segment, offset int) (*Mutex, error) {
	o, err := at(s, layout.KindMutex, offset, MutexBytes)
	if err != nil {
		return nil, err
	}
	return newMutex(o, offset), nil
}

func newMutex(o object, offset int) *Mutex {
	id := o.space.members.ID()
	return &Mutex{
		object: o,
		state:  o.space.region.Uint64(offset + layout.MutexStateAt),
		mine:   uint64(id.Index+1)<<layout.MutexStateOwnerShift | uint64(id.Generation)<<layout.MutexStateOwnerGenerationShift,
		busy:   o.fail("lock", ErrBusy, ""),
	}
}

const (
	ownerBits = layout.MutexStateOwnerMask<<layout.MutexStateOwnerShift | layout.MutexStateOwnerGenerationMask<<layout.MutexStateOwnerGenerationShift
	knownBits = ownerBits | layout.MutexStateInconsistent | layout.MutexStateUnrecoverable | layout.MutexStateWaiters
)

// ownerOf returns the member that holds a mutex with this state.
func ownerOf(state uint64) life.ID {
	return life.ID{
		Index:      int(state>>layout.MutexStateOwnerShift&layout.MutexStateOwnerMask) - 1,
		Generation: uint32(state >> layout.MutexStateOwnerGenerationShift),
	}
}

// Lock locks the mutex, and waits for it if need be, until ctx ends. It returns
// nil, or an error that matches
//
//   - [ErrOwnerDied]: this process holds the mutex, and what it guards may be
//     inconsistent;
//   - the context's cause, [ErrUnrecoverable], [ErrCorrupt], [ErrClosed],
//     mmap.ErrFault if the file was cut short, or [ErrForked]: it does not.
//
// A waiter spins for a little longer than a wake takes on this machine, where
// there is a processor for it, and then sleeps; the first 64 of a process each on
// a thread of their own.
func (m *Mutex) Lock(ctx context.Context) error {
	// SYNC POINT mutex: what the last holder wrote before Unlock is seen from here.
	if !life.Forked() && m.state.CompareAndSwap(0, m.mine) && m.space.region.Err() == nil {
		return nil
	}
	return m.lock(ctx, false)
}

// TryLock locks the mutex if that can be done at once; otherwise the error
// matches [ErrBusy], or is one of [Mutex.Lock]'s.
func (m *Mutex) TryLock() error {
	if !life.Forked() && m.state.CompareAndSwap(0, m.mine) && m.space.region.Err() == nil {
		return nil
	}
	return m.lock(context.Background(), true)
}

// lock is Lock, or TryLock.
func (m *Mutex) lock(ctx context.Context, try bool) error {
	members := m.space.members
	rung := members.Deaths.Rung()
	suspect := try && m.suspects(&m.tries) // the owner may have died, although its life word is not marked
	mine, slept := m.mine, false
	if !try {
		m.space.waiting.Add(1)
		defer m.space.waiting.Add(-1)
	}
	for attempts := 0; ; attempts++ {
		word.Here(1, uint64(members.Deaths.Rung()-rung), bit(suspect), bit(try), mine)
		if err := m.space.check(); err != nil {
			if slept {
				// It may have been waked to have the mutex.
				wait.Wake(word.Low(m.state), 1)
			}
			return m.fail("lock", err, "")
		}
		now := m.state.Load()
		owner := ownerOf(now)
		switch {
		case !plausible(now):
			return m.fail("lock", ErrCorrupt, "something that is no mutex was stored there")
		case now&layout.MutexStateUnrecoverable != 0:
			return m.fail("lock", ErrUnrecoverable, "restore what it guards, with Recover")
		case now&ownerBits == 0:
			if m.state.CompareAndSwap(now, now|mine) {
				return m.holds()
			}
		case (suspect || members.Marked(owner)) && members.Gone(owner):
			if m.state.CompareAndSwap(now, now&^ownerBits|mine|layout.MutexStateInconsistent) {
				if err := m.holds(); err != nil {
					return err
				}
				return m.fail("lock", ErrOwnerDied, "it is yours: repair what it guards, call Consistent, Unlock")
			}
		case try:
			return m.busy
		default:
			sleeps, err := m.await(ctx, now, owner, rung)
			if err != nil {
				return err
			}
			if sleeps {
				slept = true
				// There may be others asleep, and the bit that says so is gone since
				// Unlock has waked this one.
				mine = m.mine | layout.MutexStateWaiters
			}
			before := rung
			rung = members.Deaths.Rung()
			suspect = rung != before
			attempts = 0
		}
		if attempts > attemptsMax {
			return m.fail("lock", fmt.Errorf("%w: it changes all the time", ErrCorrupt), "")
		}
	}
}

// bit is a truth as a number, for package word's Here.
func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// plausible says whether some operation leaves such a state behind.
func plausible(state uint64) bool {
	owned := state&ownerBits != 0
	valid := ownerOf(state).Index >= 0 && ownerOf(state).Index < layout.AreaMembersCount && ownerOf(state).Generation != 0
	return state&^knownBits == 0 && owned == valid &&
		(state&layout.MutexStateInconsistent == 0 || owned) && (state&layout.MutexStateUnrecoverable == 0 || !owned)
}

// holds returns nil if the mutex that was just taken is everybody's.
func (m *Mutex) holds() error {
	if err := m.space.check(); err != nil {
		return m.fail("lock", err, "")
	}
	return nil
}

// await waits until the state, which is that of a mutex that somebody else holds,
// has changed, or a member is gone; it can end early. It says whether it has slept.
func (m *Mutex) await(ctx context.Context, now uint64, owner life.ID, rung uint32) (slept bool, err error) {
	low := word.Low(m.state)
	if m.spin.Spin(low, uint32(now)) {
		return false, nil
	}
	if now&layout.MutexStateWaiters == 0 {
		// SYNC POINT mutex waiters: pairs with the compare-and-swap of Unlock,
		// which fails now, or has come before.
		if !m.state.CompareAndSwap(now, now|layout.MutexStateWaiters) {
			return false, nil
		}
		now |= layout.MutexStateWaiters
	}
	m.space.members.Watch(owner)
	if err := m.park(ctx, low, uint32(now), rung); err != nil {
		return false, m.fail("lock", err, "")
	}
	return true, nil
}

// Unlock unlocks the mutex, which this process must hold, or the error matches
// [ErrNotOwner]. If it has been locked with [ErrOwnerDied] and Consistent was not
// called, nobody can lock it from now on, and the error matches
// [ErrUnrecoverable].
func (m *Mutex) Unlock() error {
	// SYNC POINT mutex: what was written before is seen by the next holder.
	if !life.Forked() && m.state.CompareAndSwap(m.mine, 0) && m.space.region.Err() == nil {
		return nil
	}
	return m.unlock()
}

func (m *Mutex) unlock() error {
	for range attemptsMax {
		word.Here(2)
		if err := m.space.check(); err != nil {
			return m.fail("unlock", err, "")
		}
		now := m.state.Load()
		if now&ownerBits != m.mine {
			return m.notOwner("unlock", now)
		}
		if now&layout.MutexStateInconsistent != 0 {
			if m.state.CompareAndSwap(now, layout.MutexStateUnrecoverable) {
				wait.Wake(word.Low(m.state), wait.All)
				return m.fail("unlock", ErrUnrecoverable, "call Consistent before Unlock when what it guards is repaired; now use Recover")
			}
			continue
		}
		if m.state.CompareAndSwap(now, 0) {
			if now&layout.MutexStateWaiters != 0 {
				wait.Wake(word.Low(m.state), 1)
			}
			if err := m.space.check(); err != nil {
				return m.fail("unlock", err, "")
			}
			return nil
		}
	}
	return m.fail("unlock", fmt.Errorf("%w: it changes all the time", ErrCorrupt), "")
}

func (m *Mutex) notOwner(op string, now uint64) error {
	if now&ownerBits == 0 {
		return m.fail(op, fmt.Errorf("%w: nobody does", ErrNotOwner), "lock it first, and unlock it once")
	}
	identity, _ := m.space.members.Identity(max(0, min(ownerOf(now).Index, layout.AreaMembersCount-1)))
	return m.fail(op, fmt.Errorf("%w: %v does", ErrNotOwner, identity), "lock it first, and unlock it once")
}

// Consistent says that what the mutex guards is in order again after
// [ErrOwnerDied]. This process must hold it. Where nobody has died it does
// nothing.
func (m *Mutex) Consistent() error {
	for range attemptsMax {
		if err := m.space.check(); err != nil {
			return m.fail("declare consistent", err, "")
		}
		now := m.state.Load()
		if now&ownerBits != m.mine {
			return m.notOwner("declare consistent", now)
		}
		if now&layout.MutexStateInconsistent == 0 || m.state.CompareAndSwap(now, now&^layout.MutexStateInconsistent) {
			return nil
		}
	}
	return m.fail("declare consistent", fmt.Errorf("%w: it changes all the time", ErrCorrupt), "")
}

// Recover takes a mutex that is unrecoverable: this process holds it then, as
// after [ErrOwnerDied], restores what it guards, and calls Consistent. Of several
// that call it one gets nil. It is for who can make everything anew, an operator
// for instance. If the mutex is not unrecoverable the error matches
// fs.ErrInvalid.
func (m *Mutex) Recover() error {
	if err := m.space.check(); err != nil {
		return m.fail("recover", err, "")
	}
	if m.state.CompareAndSwap(layout.MutexStateUnrecoverable, m.mine|layout.MutexStateInconsistent) {
		return m.holds()
	}
	return m.fail("recover", fmt.Errorf("it is not unrecoverable: %w", fs.ErrInvalid), "lock it")
}

// MutexStatus is what a mutex looks like at one moment.
type MutexStatus struct {
	Locked        bool   // somebody holds it
	Holder        Holder // who, if it is locked
	Inconsistent  bool   // what it guards was left by a process that died
	Unrecoverable bool   // it was unlocked like that
	Waiters       bool   // somebody waits, or has waited
}

// Status returns what the mutex looks like now.
func (m *Mutex) Status() (MutexStatus, error) {
	now := m.state.Load()
	if err := m.space.check(); err != nil {
		return MutexStatus{}, m.fail("look at", err, "")
	}
	if !plausible(now) {
		return MutexStatus{}, m.fail("look at", ErrCorrupt, "")
	}
	st := MutexStatus{
		Locked:        now&ownerBits != 0,
		Inconsistent:  now&layout.MutexStateInconsistent != 0,
		Unrecoverable: now&layout.MutexStateUnrecoverable != 0,
		Waiters:       now&layout.MutexStateWaiters != 0,
	}
	if st.Locked {
		st.Holder = m.space.holder(ownerOf(now))
	}
	return st, nil
}
