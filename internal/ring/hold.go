package ring

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/word"
)

// holds are what a reader has borrowed.
type holds struct {
	limit int // bytes

	mu    sync.Mutex // borrowed in one goroutine, released in any
	held  uint64     // bit i: hold i is in use
	bytes [layout.ReaderHoldsCount]int
	uses  [layout.ReaderHoldsCount]int // how often each was in use before
	inUse int                          // the sum of bytes
	over  bool                         // nothing can be borrowed any more
}

// Borrow is [Reader.Next] that does not copy what is in the arena: the message is
// the writer's memory, which is not reused until [Reader.Release] of the hold. A
// message that was in a slot is copied to buf, and hold is -1.
//
// Errors match [ErrTooManyHolds] too, after which a Release helps, or
// [ErrTooLargeToBorrow], after which nothing does but Next; the message is still the
// next one then.
func (r *Reader) Borrow(buf []byte) (message []byte, hold int, sequence uint64, err error) {
	for range attempts {
		if r.batch.count != 0 {
			if message, hold, sequence, err = r.borrowFromBatch(buf); err == errAgain {
				continue
			}
			return message, hold, sequence, err
		}
		slot := r.at(r.position)
		// SYNC POINT stamp: pairs with Writer.commit.
		if slot.stamp().Load() != r.position+1 {
			if !r.skipLost() {
				return buf, -1, 0, r.empty()
			}
			continue
		}
		meta := word.LoadPlain(slot.meta())
		hold = -1
		if meta&layout.SlotMetaBlock == 0 {
			message, sequence, err = r.inlined(slot, meta, buf)
		} else if p, placeErr := r.enter(slot, meta, false); placeErr != nil {
			err = placeErr
		} else if p.count > 1 {
			continue
		} else if hold, err = r.holds.add(r.entry, r.position, len(p.memory)); err == nil {
			return p.memory, hold, r.leave(p), nil
		}
		if err != errAgain {
			return message, hold, sequence, err
		}
	}
	return buf, -1, 0, ErrEmpty
}

// Quiet says whether there is nothing to borrow, for certain and at once; what Borrow
// does besides saying so is done. If it is false there may be something.
func (r *Reader) Quiet() bool {
	if r.batch.count != 0 || !r.untouched(r.at(r.position).stamp().Load()) {
		return false
	}
	r.empty()
	return true
}

func (r *Reader) borrowFromBatch(buf []byte) ([]byte, int, uint64, error) {
	b := &r.batch
	if b.copied {
		m, sequence, err := r.fromBatch(nil)
		return append(buf[:0], m...), -1, sequence, err
	}
	n := lengthAt(b.memory, b.next)
	if !r.kept() {
		b.count = 0 // what is left of it is lost
		return buf, -1, 0, errAgain
	}
	if n > len(b.memory)-b.at {
		return buf, -1, 0, r.badBatch(n)
	}
	hold, err := r.holds.add(r.entry, r.position, len(b.memory))
	if err != nil {
		return buf, -1, 0, err
	}
	m := b.memory[b.at : b.at+n : b.at+n]
	sequence := r.expect
	r.expect = (sequence + 1) & surplusMask
	b.at += pad(n)
	if b.next++; b.next == b.count || b.at > len(b.memory) {
		r.endBatch()
	}
	return m, hold, sequence, nil
}

// add holds the block that is being read, at the position. Of the number that it
// returns, one part is which hold it is, and the other which use of it.
func (h *holds) add(e *Entry, position uint64, n int) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n > h.limit {
		return -1, fmt.Errorf("%w: %d bytes of at most %d, an eighth of the arena", ErrTooLargeToBorrow, n, h.limit)
	}
	if h.over {
		return -1, ErrClosed
	}
	i := bits.TrailingZeros64(^h.held)
	if i == len(h.bytes) || h.inUse+n > h.limit {
		return -1, ErrTooManyHolds
	}
	h.held |= 1 << i
	h.bytes[i] = n
	h.inUse += n
	word.StoreRelease(e.holds[i], position+1)
	// SYNC POINT hold: before Reading changes, which holds the block until then.
	e.held.Store(h.held)
	return h.uses[i]*len(h.bytes) + i, nil
}

// Holds says whether anything is borrowed. Any goroutine may call it.
func (r *Reader) Holds() bool {
	r.holds.mu.Lock()
	defer r.holds.mu.Unlock()
	return r.holds.held != 0
}

// Abandon gives back everything, for good: a Release that comes later does nothing. The
// reader's entry can be another's then. Any goroutine may call it.
func (r *Reader) Abandon() {
	r.holds.mu.Lock()
	defer r.holds.mu.Unlock()
	r.holds.held, r.holds.inUse, r.holds.over = 0, 0, true
}

// Release gives back what was borrowed. Any goroutine may call it. To release a hold
// again does nothing, whatever is held in its place.
func (r *Reader) Release(hold int) {
	if hold < 0 {
		return
	}
	h := &r.holds
	h.mu.Lock()
	defer h.mu.Unlock()
	i := hold % len(h.bytes)
	if h.held&(1<<i) == 0 || hold/len(h.bytes) != h.uses[i] {
		return
	}
	h.held &^= 1 << i
	h.uses[i]++
	h.inUse -= h.bytes[i]
	word.StoreRelease(r.entry.held, h.held)
}
