package ring

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// Writer is the side that publishes.
type Writer struct {
	slots
	region *region.Region
	policy Policy
	limit  int    // of the arena, in bytes
	most   int    // the largest block that there can be
	step   uint64 // how many positions are made ready at once
	owner  Owner

	// The publishing goroutine's alone.
	head    uint64 // the position of the next message
	surplus uint64 // messages more than positions, so far
	bytes   uint64 // of all messages
	arena   arena
	blocks  queue       // that were published, the oldest first
	held    []published // that somebody has held since they were to be reused
	named   []hold      // what readers hold, while blocks are looked at
	spinner wait.Spinner

	// ready is the position up to which slots may be written. Only the publishing
	// goroutine changes it, with mu, and it looks at it without.
	ready uint64

	readers atomic.Pointer[list] // who has joined; changed with mu
	closed  atomic.Bool
	bell    wait.Bell // rung when readers leave, and by Close

	mu    sync.Mutex
	tail  uint64
	joins uint64 // how many readers have joined

	tailWord, resume                       *word.Uint64
	waiting                                *word.Uint32
	blocked, wakes, grown, evictions, left *word.Uint64
	payload                                *word.Uint64
}

// Owner is what a writer needs of those above it.
type Owner interface {
	// Grow makes a further chunk of the arena, and tells all readers that have
	// joined before any message names it. An error means that the arena stays as
	// it is for now. No reader joins meanwhile.
	Grow(chunk, bytes int) ([]byte, error)
	// Evict hears of a reader that was let go because its words made no sense, or, with
	// ErrLeft, because its place is another's.
	Evict(m *Member, err error)
}

const (
	// stepMost is how many slots are made ready at once: their stamps are taken away,
	// one store after the other.
	stepMost = 16
	// prefetchAhead is how many slots before its use a slot is fetched, so that it is
	// there when it is made ready. Measured, 40 bytes: where a line takes 60 ns from one
	// processor to the other it makes no difference from five on; where it takes 250
	// ns, 60 million a second in the place of 25 with 7 slots, and 64 made ready at once.
	prefetchAhead = stepMost + 8
)

// NewWriter makes a ring in memory that is all zero, of c.Bytes.
func NewWriter(r *region.Region, c *Config, owner Owner) (*Writer, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if !r.Has(0, c.Bytes(), 8) {
		return nil, fmt.Errorf("a ring of %d bytes in %d", c.Bytes(), r.Len())
	}
	c.format(r)
	at := layout.TopicBytes
	w := &Writer{
		slots:     newSlots(r.Bytes(at, c.Slots*c.SlotBytes), c.Slots, c.SlotBytes),
		region:    r,
		policy:    c.Policy,
		limit:     c.ArenaLimit,
		most:      max(c.ArenaBytes, ceiling(c.ArenaLimit-c.ArenaBytes+1)/2),
		step:      min(max(uint64(c.Slots)/8, 1), stepMost),
		owner:     owner,
		ready:     uint64(c.Slots),
		tailWord:  r.Uint64(layout.TopicTailAt),
		resume:    r.Uint64(layout.TopicResumeAt),
		waiting:   r.Uint32(layout.TopicWaitingAt),
		blocked:   r.Uint64(layout.TopicBlockedAt),
		wakes:     r.Uint64(layout.TopicWakesAt),
		grown:     r.Uint64(layout.TopicGrownAt),
		evictions: r.Uint64(layout.TopicEvictedAt),
		left:      r.Uint64(layout.TopicLeftAt),
		payload:   r.Uint64(layout.TopicPayloadBytesAt),
	}
	w.arena.add(r.Bytes(at+c.Slots*c.SlotBytes, c.ArenaBytes))
	w.grown.Store(uint64(w.arena.bytes))
	w.readers.Store(listOf(nil))
	return w, nil
}

// Publish publishes a message, a copy of b. Under [Block] it waits for room.
//
// Errors match [ErrClosed], [ErrTooLarge], [ErrArenaFull], and the context's cause;
// the message was not published then. Only with ErrClosed it may have been.
func (w *Writer) Publish(ctx context.Context, b []byte) error { return w.publish(ctx, b, true) }

// TryPublish is [Writer.Publish] that returns [ErrFull] instead of waiting.
func (w *Writer) TryPublish(b []byte) error { return w.publish(context.Background(), b, false) }

func (w *Writer) publish(ctx context.Context, b []byte, mayWait bool) error {
	if w.head == w.ready {
		if err := w.makeRoom(ctx, mayWait); err != nil {
			return err
		}
	}
	if len(b) > w.inline() {
		block, err := w.take(ctx, len(b), mayWait)
		if err != nil {
			return err
		}
		word.CopyIn(w.arena.memory(block)[:len(b)], b)
		return w.commitBlock(block, len(b), 1, len(b))
	}
	slot := w.at(w.head)
	word.CopyIn(slot.payload(len(b)), b)
	word.StorePlain(slot.meta(), uint64(len(b))|w.surplus<<surplusShift)
	// The further lines of a slot that is about to be written; commit does so with the
	// first.
	for at := 64; at < layout.SlotChunkAt+len(b); at += 64 {
		w.at(w.head + 1 + prefetchAhead).prefetch(at)
	}
	return w.commit(slot, len(b))
}

// commit publishes what the slot at the head has been filled with, messages of n bytes.
func (w *Writer) commit(slot slot, n int) error {
	w.head++
	w.bytes += uint64(n)
	word.Note(w.payload, w.bytes)
	// SYNC POINT stamp: pairs with the loads in Reader.next, which then see all
	// that the slot and its block were filled with. SYNC POINT sleeps: it is stored
	// before the readers' words are looked at; see Reader.Park.
	slot.stamp().Store(w.head)
	w.at(w.head + prefetchAhead).prefetch(0)
	readers := w.readers.Load()
	for _, sleeps := range readers.sleeps {
		if sleeps.Load() == w.head {
			w.wake(slot, readers)
			break
		}
	}
	if w.closed.Load() {
		// The store may have come after the memory was cut off.
		return ErrClosed
	}
	return nil
}

// commitBlock publishes n bytes of a block that have been filled in, with so many messages
// of so many bytes.
func (w *Writer) commitBlock(b block, n, count, bytes int) error {
	slot := w.at(w.head)
	word.StorePlain(slot.word(layout.SlotChunkAt), uint64(b.chunk())|uint64(count)<<32)
	word.StorePlain(slot.word(layout.SlotOffsetAt), uint64(w.arena.offset(b)))
	word.StorePlain(slot.word(layout.SlotBlockLengthAt), uint64(n))
	meta := uint64(layout.SlotMetaBlock)
	if count > 1 {
		meta |= layout.SlotMetaPacked
	}
	word.StorePlain(slot.meta(), meta|w.surplus<<surplusShift)
	w.surplus = (w.surplus + uint64(count-1)) & surplusMask
	w.blocks.push(published{w.head, b, n})
	err := w.commit(slot, bytes)
	// While readers are busy with this one.
	prefetchBlock(w.arena.next(b), n)
	return err
}

// PublishBatch publishes several messages at once, and in a row: readers get all of
// them or none. They take one slot, and one block of the arena.
func (w *Writer) PublishBatch(ctx context.Context, messages [][]byte) error {
	return w.publishBatch(ctx, messages, true)
}

// TryPublishBatch is [Writer.PublishBatch] that returns [ErrFull] instead of
// waiting.
func (w *Writer) TryPublishBatch(messages [][]byte) error {
	return w.publishBatch(context.Background(), messages, false)
}

func (w *Writer) publishBatch(ctx context.Context, messages [][]byte, mayWait bool) error {
	switch len(messages) {
	case 0:
		return nil
	case 1:
		return w.publish(ctx, messages[0], mayWait)
	}
	if w.head == w.ready {
		if err := w.makeRoom(ctx, mayWait); err != nil {
			return err
		}
	}
	total := packStart(len(messages))
	for _, m := range messages {
		if len(m) > packedMost {
			return fmt.Errorf("%w: %d bytes in a batch, of at most %d", ErrTooLarge, len(m), packedMost)
		}
		total += pad(len(m))
	}
	if total > w.most {
		return fmt.Errorf("a batch: %w", w.tooLarge(total))
	}
	block, err := w.take(ctx, total, mayWait)
	if err != nil {
		return err
	}
	memory := w.arena.memory(block)
	at := packStart(len(messages))
	for i := 0; i < len(messages); i += 2 {
		// Two lengths of 32 bits are a word.
		lengths := uint64(len(messages[i]))
		if i+1 < len(messages) {
			lengths |= uint64(len(messages[i+1])) << 32
		}
		word.StorePlain(wordAt(memory, 4*i), lengths)
	}
	bytes := 0
	for _, m := range messages {
		word.CopyIn(memory[at:at+len(m)], m)
		at += pad(len(m))
		bytes += len(m)
	}
	return w.commitBlock(block, total, len(messages), bytes)
}

// packStart is where the first of so many packed messages begins.
func packStart(count int) int { return pad(4 * count) }

func pad(n int) int { return (n + 7) &^ 7 }

// packedMost is how large one message of a batch can be.
const packedMost = 1<<32 - 1

// Loan is memory of the arena that is being filled in. It is the publishing
// goroutine's until it is published or returned.
type Loan struct {
	block block
	bytes []byte
}

// Bytes returns the memory. It is not cleared: it may have an old message.
func (l Loan) Bytes() []byte { return l.bytes }

// Loan takes n bytes of the arena, to be filled in in place. There can be several.
// Errors are those of [Writer.Publish].
func (w *Writer) Loan(ctx context.Context, n int) (Loan, error) {
	if w.closed.Load() {
		return Loan{}, ErrClosed // before somebody fills it in for nothing
	}
	b, err := w.take(ctx, max(n, 1), true)
	if err != nil {
		return Loan{}, err
	}
	return Loan{b, w.arena.memory(b)[:n:n]}, nil
}

// PublishLoan publishes the first n bytes of a loan, which then are nobody's to
// change. After an error other than [ErrClosed] the loan is still the caller's.
func (w *Writer) PublishLoan(ctx context.Context, l Loan, n int) error {
	return w.publishLoan(ctx, l, n, true)
}

// TryPublishLoan is [Writer.PublishLoan] that returns [ErrFull] instead of waiting.
func (w *Writer) TryPublishLoan(l Loan, n int) error {
	return w.publishLoan(context.Background(), l, n, false)
}

func (w *Writer) publishLoan(ctx context.Context, l Loan, n int, mayWait bool) error {
	if w.head == w.ready {
		if err := w.makeRoom(ctx, mayWait); err != nil {
			return err
		}
	}
	return w.commitBlock(l.block, n, 1, n)
}

// Return gives a loan back that is not going to be published.
func (w *Writer) Return(l Loan) { w.arena.give(l.block) }

// Head returns the position of the next message, and its sequence number: how many
// messages were published. It is for the publishing goroutine.
func (w *Writer) Head() (position, sequence uint64) {
	return w.head, (w.head + w.surplus) & surplusMask
}

// Close ends the writer: calls that wait return [ErrClosed], and so do later ones.
// The memory is not needed any more when it is cut off after that; see
// region.Region.Retire.
func (w *Writer) Close() {
	w.closed.Store(true)
	w.bell.Ring()
}
