package ring

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// published is a block with a message in it.
type published struct {
	position uint64
	block    block
	bytes    int // of the message
}

// hold is what a reader says that it holds.
type hold struct {
	position uint64
	member   *Member
	borrowed bool // and not only being read
}

const (
	// largeBytes is from which size on the block that was read last is wanted again
	// rather than one that has not been used for long: the caches have it.
	largeBytes = 32 << 10
	// largeBlocks is how many may be out before readers are asked: to look at their
	// cursors takes as long as to fetch a line that they have just written.
	largeBlocks = 4
	// holdsShare is which part of the arena one reader can hold.
	holdsShare = 8
)

// take returns a free block of n bytes. It gets one, in this order: from those that
// are free; from those that every reader has passed; by making the arena larger; by
// dropping the oldest messages, or waiting for readers, as the policy has it.
func (w *Writer) take(ctx context.Context, n int, mayWait bool) (block, error) {
	if n >= largeBytes && w.blocks.len() >= largeBlocks {
		w.reclaim(false)
	}
	if b, ok := w.arena.take(n, false); ok {
		return b, nil
	}
	return w.takeElsewhere(ctx, n, mayWait)
}

func (w *Writer) takeElsewhere(ctx context.Context, n int, mayWait bool) (b block, err error) {
	if n > w.most {
		return b, w.tooLarge(n)
	}
	w.reclaim(false)
	for _, join := range []bool{false, true} {
		if b, ok := w.arena.take(n, join); ok {
			return b, nil
		}
	}
	if w.closed.Load() {
		return b, ErrClosed
	}
	growErr := w.grow(n)
	for ; growErr == nil; growErr = w.grow(n) {
		// A chunk can be smaller than this: one that could not be announced before.
		if b, ok := w.arena.take(n, true); ok {
			return b, nil
		}
	}
	if !w.arena.canHave(n) {
		// Dropping or waiting would be in vain.
		return b, fmt.Errorf("%w: it has grown in pieces smaller than %d bytes: %w", ErrArenaFull, n, growErr)
	}
	if w.policy == DropOldest {
		b, err = w.dropFor(n)
	} else {
		b, err = w.waitFor(ctx, n, mayWait)
	}
	if errors.Is(err, ErrArenaFull) && growErr != nil {
		err = fmt.Errorf("%w, and cannot grow: %w", err, growErr)
	}
	return b, err
}

// tooLarge is the error of a message that can never have a block. The arena grows by
// powers of two, so that it is half of what it can be, or what is left of that.
func (w *Writer) tooLarge(n int) error {
	why := "half of ArenaLimit"
	if 2*w.most != w.limit {
		why = fmt.Sprintf("as ArenaLimit is %d", w.limit)
	}
	return fmt.Errorf("%w: %d bytes of at most %d, %s", ErrTooLarge, n, w.most, why)
}

// dropFor drops the oldest messages until there is a block of n bytes.
func (w *Writer) dropFor(n int) (block, error) {
	for drop := 1; w.blocks.len() > 0; drop *= 2 {
		last := w.blocks.at(min(drop, w.blocks.len()) - 1)
		w.reclaimTo(last.position + 1)
		if b, ok := w.arena.take(n, true); ok {
			return b, nil
		}
	}
	return 0, ErrArenaFull
}

// waitFor waits until readers have passed what makes room for n bytes.
func (w *Writer) waitFor(ctx context.Context, n int, mayWait bool) (b block, err error) {
	for {
		if w.blocks.len() == 0 {
			return b, ErrArenaFull // on loan, or held
		}
		oldest := w.blocks.at(0).position
		if err := w.until(ctx, mayWait, func(consumed uint64) bool { return consumed > oldest }); err != nil {
			return b, err
		}
		w.reclaim(true)
		if b, ok := w.arena.take(n, true); ok {
			return b, nil
		}
	}
}

// reclaim frees the blocks that every reader has passed, or every one that gates,
// and those before the tail.
func (w *Writer) reclaim(gating bool) {
	w.mu.Lock()
	if w.closed.Load() {
		w.mu.Unlock()
		return // see until
	}
	consumed, _, out := w.consumed(gating)
	w.mu.Unlock()
	for _, e := range out {
		w.owner.Evict(e.member, e.err)
	}
	w.reclaimTo(consumed)
}

// reclaimTo gives up the positions before tail that have blocks, and frees those
// that nobody holds. Positions after the last of these are kept for who comes late.
func (w *Writer) reclaimTo(tail uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < w.blocks.len() && w.blocks.at(n).position < max(tail, w.tail) {
		n++
	}
	if n == 0 && len(w.held) == 0 {
		return
	}
	if n > 0 {
		w.setTail(w.blocks.at(n-1).position + 1)
	}
	w.findHolds()
	w.held = slices.DeleteFunc(w.held, func(p published) bool {
		if w.isHeld(p) {
			return false
		}
		w.arena.give(p.block)
		return true
	})
	for range n {
		if p := w.blocks.pop(); w.isHeld(p) {
			w.held = append(w.held, p)
		} else {
			w.arena.give(p.block)
		}
	}
}

// findHolds notes what all readers hold.
func (w *Writer) findHolds() {
	w.named = w.named[:0]
	for _, m := range w.readers.Load().members {
		m.bytes = 0
		// SYNC POINT hold: the stamps were taken away before. A reader stores what it
		// borrows before it reads another block, so this is the order.
		if p := m.entry.reading.Load(); p != 0 {
			w.named = append(w.named, hold{p - 1, m, false})
		}
		for held := m.entry.held.Load(); held != 0; held &= held - 1 {
			if p := m.entry.holds[bits.TrailingZeros64(held)].Load(); p != 0 {
				w.named = append(w.named, hold{p - 1, m, true})
			}
		}
	}
}

// isHeld says whether somebody holds a block. Nobody can hold more than its share.
func (w *Writer) isHeld(p published) bool {
	for _, h := range w.named {
		if h.position != p.position {
			continue
		}
		if !h.borrowed {
			return true
		}
		if h.member.bytes += p.bytes; h.member.bytes <= HoldLimit(w.limit) {
			return true
		}
	}
	return false
}

// HoldLimit returns how many bytes of an arena that can have so many a reader can
// borrow at once, beside the block that it is reading.
func HoldLimit(arenaLimit int) int { return arenaLimit / holdsShare }

// grow makes the arena larger, so that it has room for n bytes more.
func (w *Writer) grow(n int) error {
	if len(w.arena.chunks) == ChunksMax {
		return fmt.Errorf("it has %d chunks, as many as it can", ChunksMax)
	}
	// Twice as much as before, and room for some messages of that size.
	size := ceiling(max(w.arena.bytes, 4*n))
	for size > w.limit-w.arena.bytes {
		size /= 2
	}
	if size < max(n, ArenaLeast) {
		return fmt.Errorf("it has %d bytes of at most %d", w.arena.bytes, w.limit)
	}
	w.mu.Lock()
	bytes, err := w.owner.Grow(len(w.arena.chunks), size)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	w.arena.add(bytes)
	w.grown.Store(uint64(w.arena.bytes))
	return nil
}

// ceiling returns the least power of two that is at least n.
func ceiling(n int) int { return 1 << bits.Len(uint(n-1)) }

// queue is blocks in the order in which they were published.
type queue struct {
	ring  []published // a power of two
	first int         // counts those that were taken
	next  int         // counts those that were put in
}

func (q *queue) len() int { return q.next - q.first }

func (q *queue) at(i int) published { return q.ring[(q.first+i)&(len(q.ring)-1)] }

func (q *queue) push(p published) {
	if q.len() == len(q.ring) {
		larger := make([]published, max(2*len(q.ring), 64))
		for i := range q.len() {
			larger[i] = q.at(i)
		}
		q.ring, q.first, q.next = larger, 0, q.len()
	}
	q.ring[q.next&(len(q.ring)-1)] = p
	q.next++
}

func (q *queue) pop() published {
	p := q.at(0)
	q.first++
	return p
}
