package ring

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// Member is a reader as the writer knows it.
type Member struct {
	entry  *Entry
	use    uint64 // of the entry's place
	number uint64 // among all that have joined, from 1
	start  uint64 // where it was told to begin
	gates  bool   // a writer that blocks waits for it

	seen uint64 // its cursor, when it was last looked at

	// Of the publishing goroutine.
	budget wakeBudget
	bytes  int // that it holds, while blocks are looked at
}

// list is who has joined. It does not change; there is a new one instead.
type list struct {
	members []*Member
	sleeps  []*word.Uint64 // of each: what every publish looks at
}

// Start is where a reader begins.
type Start struct {
	Position uint64
	Sequence uint64 // of the first message
	Left     uint64 // how many readers had left before
	Number   uint64 // of the reader, among all that have joined
}

// Join has a reader join that says what it does in the entry, which is clear, in that
// use of its place. Of
// the messages that were published before, the reader gets up to history, as many
// as the ring still has. A writer that blocks waits for it if it gates.
//
// The reader is told where to begin by acknowledge, which is called while nothing
// else happens to the list: what was published after that is not lost for a
// reader that gates. If it returns an error, nobody has joined.
func (w *Writer) Join(e *Entry, use, history uint64, gates bool, acknowledge func(m *Member, s Start) error) (*Member, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() {
		return nil, ErrClosed
	}
	w.joins++
	m := &Member{entry: e, use: use, number: w.joins, gates: gates}
	old := w.readers.Load()
	w.readers.Store(listOf(append(slices.Clone(old.members), m)))
	// The publishing goroutine cannot make room meanwhile, and overwrites nothing
	// from the tail on.
	head := w.published()
	position := max(w.tail, head-min(history, head))
	s := Start{position, position + w.surplusAt(position, head), w.left.Load(), m.number}
	m.start, m.seen = position, position
	if err := acknowledge(m, s); err != nil {
		w.readers.Store(old)
		return nil, err
	}
	return m, nil
}

func listOf(members []*Member) *list {
	l := &list{members: members}
	for _, m := range members {
		l.sleeps = append(l.sleeps, m.entry.sleeps)
	}
	return l
}

// published returns the head, as any goroutine can know it: the first position
// without its stamp. The caller holds mu.
func (w *Writer) published() uint64 {
	low, high := w.tail, w.ready
	for low < high {
		middle := low + (high-low)/2
		if w.at(middle).stamp().Load() == middle+1 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// surplusAt returns how many messages more than positions come before a position
// from the tail to the head. The caller holds mu.
func (w *Writer) surplusAt(position, head uint64) uint64 {
	if position < head {
		return word.LoadPlain(w.at(position).meta()) >> surplusShift
	}
	if head == 0 {
		return 0
	}
	return w.at(head - 1).surplusAfter() // even if that one has been dropped, its slot is as it was
}

// surplusAfter returns how many messages more than positions there are up to the slot's
// message, and with it.
func (s slot) surplusAfter() uint64 {
	meta := word.LoadPlain(s.meta())
	surplus := meta >> surplusShift
	if meta&layout.SlotMetaPacked != 0 {
		surplus += word.LoadPlain(s.word(layout.SlotChunkAt))>>32 - 1
	}
	return surplus & surplusMask
}

// Leave lets a reader go: nobody waits for it any more, and what it holds is not
// held. If it reads on, because it has not heard of that yet, it finds what it missed.
func (w *Writer) Leave(m *Member) {
	w.mu.Lock()
	w.remove(m)
	w.mu.Unlock()
	w.bell.Ring()
}

func (w *Writer) remove(m *Member) {
	// SYNC POINT left: before anything that it holds is reused. Its process may be there
	// still: it was let go, or the connection was lost.
	n := w.left.Load()
	leaver(w.region, n).Store(m.number)
	w.left.Store(n + 1)
	members := slices.Clone(w.readers.Load().members)
	w.readers.Store(listOf(slices.DeleteFunc(members, func(other *Member) bool { return other == m })))
}

// Members returns how many readers have joined.
func (w *Writer) Members() int { return len(w.readers.Load().members) }

// makeRoom makes at least one slot ready to be written. The caller is the
// publishing goroutine.
func (w *Writer) makeRoom(ctx context.Context, mayWait bool) error {
	if w.closed.Load() {
		return ErrClosed
	}
	return w.until(ctx, mayWait, func(consumed uint64) bool {
		ready := w.ready + w.step
		if w.policy == Block {
			// Never further than a round ahead of the head, whatever the cursors
			// say: consumed is at most the head.
			ready = min(ready, consumed+w.count())
		}
		if ready <= w.ready {
			return false
		}
		w.setTail(ready - w.count())
		w.ready = ready
		return true
	})
}

// until calls enough, with mu, until that returns true: now, and whenever the
// slowest of the readers that gate has gone on, or somebody has left. consumed is
// the position that all who gate have reached.
func (w *Writer) until(ctx context.Context, mayWait bool, enough func(consumed uint64) bool) error {
	waits := false
	for {
		word.Here(w.head, w.ready)
		rung := w.bell.Rung()
		w.mu.Lock()
		if w.closed.Load() {
			// Readers leave because of that; what they have not read yet, they
			// still will.
			w.mu.Unlock()
			return ErrClosed
		}
		consumed, slowest, out := w.consumed(true)
		done := enough(consumed)
		w.mu.Unlock()
		for _, e := range out {
			w.owner.Evict(e.member, e.err)
		}
		switch {
		case done:
			if waits {
				w.waiting.Store(0)
			}
			return nil
		case !mayWait:
			return ErrFull
		case slowest == nil:
			return ErrArenaFull // there is nobody to wait for
		}
		cursor := word.Low(slowest.entry.cursor)
		if !waits && w.spinner.Spin(cursor, uint32(slowest.seen)) {
			continue
		}
		if !waits {
			waits = true
			// SYNC POINT waiting: pairs with Reader.flush. We look at the cursors
			// once more.
			w.waiting.Store(1)
			w.blocked.Store(w.blocked.Load() + 1)
			continue
		}
		if err := wait.Park(ctx, cursor, uint32(slowest.seen), &w.bell, rung); err != nil {
			w.waiting.Store(0)
			return err
		}
	}
}

// eviction is a reader whose words make no sense.
type eviction struct {
	member *Member
	err    error
}

// consumed returns the position that all readers have reached, at most the head,
// and the one that is there; or only of those that gate. Who is beyond the head,
// or has gone back, is let go. The caller holds mu.
func (w *Writer) consumed(gating bool) (position uint64, slowest *Member, out []eviction) {
	position = w.head
	for _, m := range w.readers.Load().members {
		cursor := m.entry.cursor.Load()
		// 0 until it has got the acknowledgement.
		if cursor != 0 && (cursor < m.seen || cursor > w.head) {
			err := fmt.Errorf("%w: its cursor went from %d to %d, and %d is the head", ErrCorrupt, m.seen, cursor, w.head)
			if m.entry.use.Load() != m.use {
				err = ErrLeft
			} else {
				w.evictions.Store(w.evictions.Load() + 1)
			}
			out = append(out, eviction{m, err})
			w.remove(m)
			continue
		}
		m.seen = max(m.seen, cursor)
		if (m.gates && w.policy == Block || !gating) && (slowest == nil || m.seen < position) {
			position, slowest = m.seen, m
		}
	}
	return position, slowest, out
}

// setTail gives up the positions before tail, which is at most the head. After
// it, whoever reads them finds out, and holds can be looked at. The caller holds mu.
func (w *Writer) setTail(tail uint64) {
	if tail <= w.tail {
		return
	}
	// In the middle of what is left, so that a reader which is lapped has time.
	word.StoreRelease(w.resume, tail+(w.head-tail)/2)
	// SYNC POINT tail: before the stamps.
	word.StoreRelease(w.tailWord, tail)
	for position := w.tail; position < tail; position++ {
		// Under Block too, where all who gate have passed: there are others, and those
		// that have been let go and do not know it yet. It also fetches many of the
		// slots' lines at once: without it each message waits for its own, and half as
		// many get through.
		//
		// The low half stays: a reader that has looked, and is about to sleep on it,
		// would not notice that the slot was filled meanwhile if it were again what
		// it was before.
		word.StoreRelease(w.at(position).stamp(), position+1|layout.SlotStampDropped)
	}
	w.tail = tail
	// SYNC POINT hold: the stamps are gone before the holds are looked at, and
	// before what they stamped is overwritten: a store and a load of the same word
	// are that fence on arm64 too.
	w.tailWord.Store(tail)
	w.tailWord.Load()
}

// wakeBudget bounds what a reader can cost that says it sleeps, and does not.
type wakeBudget struct {
	left  int // wakes in vain that it may still cause
	since time.Time
}

const (
	// A reader that finds its message between its store and its sleep causes a wake
	// in vain too, but not so often: it has spun before.
	vainMost  = 1000
	vainEvery = 100 * time.Microsecond
)

// wake wakes the readers that sleep for the slot's message, the one before the head.
func (w *Writer) wake(slot slot, readers *list) {
	vain := true
	for _, m := range readers.members {
		if m.entry.sleeps.Load() == w.head && m.budget.allows() {
			vain = false
			break
		}
	}
	if vain {
		return // they look once a second at least
	}
	word.StoreRelease(w.wakes, word.LoadPlain(w.wakes)+1)
	if wait.Wake(word.Low(slot.stamp()), wait.All) > 0 {
		return
	}
	for _, m := range readers.members {
		if m.entry.sleeps.Load() == w.head {
			m.budget.left--
		}
	}
}

func (b *wakeBudget) allows() bool {
	if b.left > 0 {
		return true
	}
	now := time.Now()
	b.left = int(min(now.Sub(b.since)/vainEvery, vainMost))
	if b.left > 0 {
		b.since = now
	}
	return b.left > 0
}
