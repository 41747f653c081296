package ring

import (
	"errors"
	"fmt"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// Reader is the side that receives: one reader of one writer.
type Reader struct {
	slots
	region  *region.Region // which must stay reachable
	entry   *Entry
	tail    *word.Uint64
	resume  *word.Uint64
	waiting *word.Uint32
	left    *word.Uint64
	known   uint64 // of those who have left, so many are known not to be this reader
	number  uint64 // this one's; see Start
	out     bool   // it may have been let go
	chunk   func(i int) ([]byte, error)

	position uint64 // of the next message, or of the batch that is being read
	flushed  uint64 // the cursor, as others see it
	lazy     uint64 // how far it may be behind
	expect   uint64 // the sequence number of the next message
	first    uint64 // the one it began with
	lost     uint64
	lapped   bool // nothing was received since messages were found lost
	freed    bool // a block was passed since the cursor was stored
	looks    int  // in vain since then
	reading  bool // entry.reading is not 0

	dry    uint64 // where there was nothing when it last looked
	vain   int    // how often it has looked there
	stream uint64 // messages, none of which it had to wait for; see keepDistance

	batch batch  // what is left of it
	own   []byte // what a batch is copied to
	holds holds
}

// batch is a block with several messages, of which some were returned.
type batch struct {
	memory []byte
	next   int  // counts those that were returned
	count  int  // 0: there is none
	at     int  // where the next one is
	copied bool // the memory is the reader's own, which has passed the block
}

// copiedMost is how large a batch may be that is copied as a whole, and not message by
// message: that takes half of the time, for so much memory.
const copiedMost = 64 << 10

// eagerBytes is the size from which on the writer is told at once that a message
// was read.
const eagerBytes = 4096

// NewReader makes a reader of the ring in a region, which somebody else writes,
// that begins where it was told to. Chunk i of the arena, for i > 0, is fetched
// by chunk. arenaLimit is what the writer says that its arena can be.
//
// Errors match [ErrCorrupt].
func NewReader(r *region.Region, e *Entry, s Start, arenaLimit int, chunk func(i int) ([]byte, error)) (*Reader, error) {
	c, err := configOf(r)
	if err != nil {
		return nil, err
	}
	at := layout.TopicBytes
	arena := r.Bytes(at+c.Slots*c.SlotBytes, c.ArenaBytes)
	rd := &Reader{
		slots:    newSlots(r.Bytes(at, c.Slots*c.SlotBytes), c.Slots, c.SlotBytes),
		region:   r,
		entry:    e,
		tail:     r.Uint64(layout.TopicTailAt),
		resume:   r.Uint64(layout.TopicResumeAt),
		waiting:  r.Uint32(layout.TopicWaitingAt),
		left:     r.Uint64(layout.TopicLeftAt),
		known:    s.Left,
		number:   s.Number,
		position: s.Position,
		dry:      s.Position,
		flushed:  s.Position,
		lazy:     Uncounted(c.Slots),
		expect:   s.Sequence & surplusMask,
		first:    s.Sequence & surplusMask,
	}
	rd.chunk = func(i int) ([]byte, error) {
		if i == 0 {
			return arena, nil
		}
		return chunk(i)
	}
	rd.holds.limit = HoldLimit(arenaLimit)
	e.cursor.Store(s.Position)
	return rd, nil
}

// Next returns the next message with its sequence number. It is appended to buf[:0],
// which grows if it must; or is the reader's memory, until the next call, if it is one of
// a batch.
//
// Errors match [ErrEmpty], which is the same value always, if there is none; are a
// [*LaggedError], once, before the first message after those that were lost; match
// [ErrCorrupt], after which there is no use in going on; or are what chunk has
// returned.
func (r *Reader) Next(buf []byte) (message []byte, sequence uint64, err error) {
	if b := &r.batch; b.count != 0 {
		// One of a batch that was copied, and not the last: what fromBatch does.
		if at, end := b.at, b.at+lengthAt(b.memory, b.next); b.copied && b.next+1 < b.count && end <= len(b.memory) {
			b.next++
			b.at = pad(end)
			sequence = r.expect
			r.expect = (sequence + 1) & surplusMask
			return b.memory[at:end:end], sequence, nil
		}
		if message, sequence, err = r.fromBatch(buf); err != errAgain {
			return message, sequence, err
		}
	}
	// A small message, in one piece: what inlined does.
	slot := r.at(r.position)
	if slot.stamp().Load() == r.position+1 {
		meta := word.LoadPlain(slot.meta())
		n := meta & layout.SlotMetaLengthMask
		sequence := (r.position + meta>>surplusShift) & surplusMask
		if meta&layout.SlotMetaBlock == 0 && n <= uint64(r.room) && n <= uint64(cap(buf)) && sequence == r.expect {
			buf = buf[:n]
			word.CopyOut(buf, slot.payload(int(n)))
			if r.still(slot) {
				r.lapped = false
				r.expect = (sequence + 1) & surplusMask
				r.advance()
				return buf, sequence, nil
			}
		}
	}
	return r.next(buf)
}

// next is Next for all messages that are not small and as expected.
func (r *Reader) next(buf []byte) (message []byte, sequence uint64, err error) {
	for range attempts {
		slot := r.at(r.position)
		// SYNC POINT stamp: pairs with Writer.commit.
		if stamp := slot.stamp().Load(); stamp != r.position+1 {
			if r.untouched(stamp) || !r.skipLost() {
				return buf, 0, r.empty()
			}
			continue
		}
		meta := word.LoadPlain(slot.meta())
		if meta&layout.SlotMetaBlock == 0 {
			message, sequence, err = r.inlined(slot, meta, buf)
		} else if p, placeErr := r.enter(slot, meta, true); placeErr != nil {
			err = placeErr
		} else if p.count > 1 {
			message, sequence, err = r.fromBatch(buf)
		} else {
			message = sized(buf, len(p.memory))
			word.CopyOut(message, p.memory)
			if r.kept() {
				return message, r.leave(p), nil
			}
			err = errAgain
		}
		if err != errAgain {
			return message, sequence, err
		}
	}
	// The writer goes round faster than we can look, or makes fun of us.
	return buf, 0, ErrEmpty
}

// untouched says whether a stamp is the one of the round before: then nothing was
// published at the position, let alone lost.
func (r *Reader) untouched(stamp uint64) bool {
	return stamp&^layout.SlotStampDropped == r.position+1-r.count() || stamp == 0 && r.position < r.count()
}

// attempts is how often a message is looked for that is overtaken again and again.
const attempts = 16

// errAgain says that a slot has changed while it was read.
var errAgain = errors.New("again")

// still says whether the slot still has the message that was found there, after it
// has been read.
func (r *Reader) still(slot slot) bool {
	// What was copied is loaded before the stamp is once more.
	word.FenceLoads()
	return slot.stamp().Load() == r.position+1
}

// kept says whether the block at the position was kept for the reader while it was read:
// for certain as long as the writer has not let it go.
func (r *Reader) kept() bool {
	// SYNC POINT left: what was read of the block is loaded before.
	word.FenceLoads()
	return !r.letGo() || r.at(r.position).stamp().Load() == r.position+1
}

// letGo says whether the writer has let this reader go; true also if so many have left
// since it last looked that it cannot know.
func (r *Reader) letGo() bool {
	left := r.left.Load()
	if left == r.known || r.out {
		return r.out
	}
	if r.out = left-r.known > layout.TopicLeaversCount/2; r.out {
		return true
	}
	for ; r.known != left; r.known++ {
		if leaver(r.region, r.known).Load() == r.number {
			r.out = true
			return true
		}
	}
	// What was looked at is still what it was, unless many have left meanwhile.
	r.out = r.left.Load()-left > layout.TopicLeaversCount/2
	return r.out
}

// leaver is the number of who left when n others had.
func leaver(r *region.Region, n uint64) *word.Uint64 {
	return r.Uint64(layout.TopicLeaversAt + 8*int(n%layout.TopicLeaversCount))
}

func (r *Reader) inlined(slot slot, meta uint64, buf []byte) ([]byte, uint64, error) {
	n := int(meta & layout.SlotMetaLengthMask)
	if n > r.inline() {
		return buf, 0, r.unless(slot, fmt.Errorf("%w: an inline message of %d bytes", ErrCorrupt, n))
	}
	buf = sized(buf, n)
	word.CopyOut(buf, slot.payload(n))
	if !r.still(slot) {
		return buf, 0, errAgain
	}
	sequence := (r.position + meta>>surplusShift) & surplusMask
	if sequence != r.expect {
		return buf, 0, r.unexpected(sequence)
	}
	r.lapped = false
	r.expect = (sequence + 1) & surplusMask
	r.advance()
	return buf, sequence, nil
}

// sized returns n bytes, buf's if it has them.
func sized(buf []byte, n int) []byte {
	if n <= cap(buf) {
		return buf[:n]
	}
	return make([]byte, n)
}

// unless returns an error, but not if the slot has changed: then it was not the
// writer's fault.
func (r *Reader) unless(slot slot, err error) error {
	if !r.still(slot) {
		return errAgain
	}
	return err
}

// unexpected says why a message has another sequence number than the next.
func (r *Reader) unexpected(sequence uint64) error {
	lost := (sequence - r.expect) & surplusMask
	if !r.lapped {
		return fmt.Errorf("%w: message %d comes after %d", ErrCorrupt, sequence, r.expect-1)
	}
	r.lapped = false
	r.expect = sequence
	r.lost += lost
	word.StoreRelease(r.entry.lost, r.lost)
	return &LaggedError{Lost: lost}
}

// advance goes on to the next position.
func (r *Reader) advance() {
	r.position++
	if r.position-r.flushed >= r.lazy {
		r.flush()
	}
}

// flush stores the cursor, and wakes the writer if it waits for that.
func (r *Reader) flush() {
	r.flushed = r.position
	r.freed, r.looks = false, 0
	r.doneReading() // first: who sees the cursor wants the block
	word.StoreRelease(r.entry.received, r.received())
	// SYNC POINT waiting: pairs with Writer.until.
	r.entry.cursor.Store(r.position)
	if r.waiting.Load() != 0 {
		wait.Wake(word.Low(r.entry.cursor), wait.All)
	}
}

func (r *Reader) received() uint64 { return (r.expect - r.first - r.lost) & surplusMask }

// empty is called when there is no message: what is not done for each is done now.
// The cursor can wait until the reader sleeps, or has looked for a while: it is no
// further behind than it ever may be, and to store it between two messages makes the
// next one late. But the memory of blocks is to be had again, and a writer that waits
// need not.
func (r *Reader) empty() error {
	r.doneReading()
	if r.position != r.flushed {
		if r.looks++; r.freed || r.looks > looksMost || r.waiting.Load() != 0 {
			r.flush()
		}
	}
	if r.position == r.dry {
		r.vain++
	} else {
		r.keepDistance()
	}
	return ErrEmpty
}

// doneReading lets the block go that was read last.
func (r *Reader) doneReading() {
	if r.reading {
		r.reading = false
		word.StoreRelease(r.entry.reading, 0)
	}
}

// keepDistance is called when the reader has come to the end of what there is. One that
// looks for each message of a stream just before it is there takes its cache line away
// from the writer, who is about to write it, and both wait for lines most of the time.
// Where messages come as fast as that, the reader lets the writer go ahead for a moment,
// and lines travel many at once. Measured between two processes, 40 bytes: 38 million a
// second in the place of 32. It is the temporal slipping of Giacomoni, Moseley and
// Vachharajani, "FastForward for Efficient Pipeline Parallelism", 2008.
func (r *Reader) keepDistance() {
	if r.vain <= LooksOfStream {
		r.stream += r.position - r.dry
	} else {
		r.stream = 0
	}
	r.dry, r.vain = r.position, 1
	if r.stream >= streamLeast {
		wait.Pause(distancePauses)
	}
}

const (
	// LooksOfStream is how often a reader may look in vain for a message that is one of
	// a stream: each look takes about 10 ns. Who waits looks so often first.
	LooksOfStream = 4
	// streamLeast is how many messages in a row are a stream.
	streamLeast = 64
	// distancePauses is how far the reader lets the writer go ahead, about 2 µs. With a
	// fifth of that nothing is lost where processors are near each other; where they are
	// far, 64 bytes, 27 million a second in the place of 18, and no more with twice that.
	distancePauses = 200
)

// Uncounted is how many positions a reader that does not sleep can be further than its cursor
// says, in a ring of so many slots.
func Uncounted(slots int) uint64 { return min(max(uint64(slots)/8, 1), 128) }

// looksMost is how often a reader looks in vain before it stores its cursor.
const looksMost = 64

// skipLost goes on behind the messages that are lost, and says whether there were
// any.
func (r *Reader) skipLost() bool {
	// SYNC POINT tail: the stamp was looked at before.
	tail := r.tail.Load()
	if tail <= r.position || tail-r.position > 1<<62 {
		return false
	}
	resume := r.resume.Load()
	if resume < tail || resume-tail > r.count() {
		resume = tail
	}
	r.lapped = true
	r.position = resume
	r.flush()
	return true
}

// Rest returns how many messages were lost behind the last one, of a writer that writes
// no more and whose last message was passed; nil if there were none. After it they are
// told.
func (r *Reader) Rest() *LaggedError {
	if !r.lapped || r.position == 0 {
		return nil
	}
	// Even if that message has been dropped, its slot is as it was; but for a writer that
	// goes on, because only the connection to it was lost.
	last := r.at(r.position - 1)
	if last.stamp().Load()&^layout.SlotStampDropped != r.position {
		return nil
	}
	next := r.position + last.surplusAfter()
	if word.FenceLoads(); last.stamp().Load()&^layout.SlotStampDropped != r.position {
		return nil
	}
	r.lapped = false
	lost := (next - r.expect) & surplusMask
	if lost == 0 {
		return nil
	}
	r.expect = next & surplusMask
	r.lost += lost
	word.StoreRelease(r.entry.lost, r.lost)
	return &LaggedError{Lost: lost}
}

// Continue has a reader that has read nothing yet go on where another one of the same
// writer was. What it has missed, it finds lost.
func (r *Reader) Continue(from Start) {
	r.expect, r.first = from.Sequence, from.Sequence
	r.lapped = true // what is missing is lost
	if from.Position > r.position {
		r.position, r.dry = from.Position, from.Position
		r.flush()
	}
}

// Within says whether the next message is in the middle of a batch, which Where cannot
// tell.
func (r *Reader) Within() bool { return r.batch.count != 0 }

// Where returns the next message, for Continue.
func (r *Reader) Where() Start { return Start{Position: r.position, Sequence: r.expect} }

// place is where a block is.
type place struct {
	memory []byte
	count  int
}

// find returns the block of a slot, which the writer does not reuse from then on
// until another one is found, or none.
func (r *Reader) find(slot slot, meta uint64) (p place, err error) {
	where := word.LoadPlain(slot.word(layout.SlotChunkAt))
	offset := word.LoadPlain(slot.word(layout.SlotOffsetAt))
	length := word.LoadPlain(slot.word(layout.SlotBlockLengthAt))
	// SYNC POINT hold: pairs with Writer.findHolds. It stands in memory before the
	// stamp is looked at once more; the load comes after what was read of the slot.
	r.reading = true
	r.entry.reading.Store(r.position + 1)
	if slot.stamp().Load() != r.position+1 {
		return p, errAgain
	}
	chunk, err := r.chunk(int(uint32(where)))
	if err != nil {
		return p, err
	}
	if offset%64 != 0 || offset > uint64(len(chunk)) || length > uint64(len(chunk))-offset {
		return p, fmt.Errorf("%w: a block of %d bytes at %d of %d", ErrCorrupt, length, offset, len(chunk))
	}
	p = place{chunk[offset : offset+length : offset+length], 1}
	if meta&layout.SlotMetaPacked != 0 {
		p.count = int(where >> 32)
		if p.count < 2 || p.count > len(p.memory)/4 || packStart(p.count) > len(p.memory) {
			return p, fmt.Errorf("%w: a batch of %d messages in %d bytes", ErrCorrupt, p.count, len(p.memory))
		}
	}
	return p, nil
}

// enter finds the block of the next message, and begins its batch if it is one, which it
// may copy. Nothing was received yet.
func (r *Reader) enter(slot slot, meta uint64, mayCopy bool) (place, error) {
	p, err := r.find(slot, meta)
	if err != nil {
		return p, err
	}
	sequence := (r.position + meta>>surplusShift) & surplusMask
	if sequence != r.expect {
		return p, r.unexpected(sequence)
	}
	if p.count == 1 {
		r.lapped = false
		return p, nil
	}
	b := batch{memory: p.memory, count: p.count, at: packStart(p.count)}
	if mayCopy && len(p.memory) <= copiedMost {
		r.own = sized(r.own, len(p.memory))
		word.CopyOut(r.own, p.memory)
		if !r.kept() {
			return p, errAgain
		}
		b.memory, b.copied = r.own, true
	}
	r.lapped = false
	r.batch = b
	if b.copied {
		r.pass(len(p.memory))
	}
	return p, nil
}

// leave goes on behind the one message of a block, and returns its sequence number.
func (r *Reader) leave(p place) (sequence uint64) {
	sequence = r.expect
	r.expect = (sequence + 1) & surplusMask
	r.pass(len(p.memory))
	return sequence
}

// pass goes on behind a block of n bytes.
func (r *Reader) pass(n int) {
	r.freed = true
	r.advance()
	if n >= eagerBytes && r.position != r.flushed {
		r.flush()
	}
}

// fromBatch returns the next message of the batch.
func (r *Reader) fromBatch(buf []byte) ([]byte, uint64, error) {
	b := &r.batch
	n := lengthAt(b.memory, b.next)
	fits := n <= len(b.memory)-b.at
	switch {
	case !fits:
	case b.copied:
		buf = b.memory[b.at : b.at+n : b.at+n]
	default:
		buf = sized(buf, n)
		word.CopyOut(buf, b.memory[b.at:b.at+n])
	}
	if !b.copied && !r.kept() {
		b.count = 0 // what is left of it is lost
		return buf, 0, errAgain
	}
	if !fits {
		return buf, 0, r.badBatch(n)
	}
	sequence := r.expect
	r.expect = (sequence + 1) & surplusMask
	b.at += pad(n)
	if b.next++; b.next == b.count || b.at > len(b.memory) {
		r.endBatch()
	}
	return buf, sequence, nil
}

func (r *Reader) badBatch(n int) error {
	b := &r.batch
	b.count = 0
	return fmt.Errorf("%w: message %d of a batch has %d bytes at %d of %d", ErrCorrupt, b.next, n, b.at, len(b.memory))
}

// endBatch is called after a message: if it was the last one, the reader goes on; if
// there is no room for the next one's padding, that is found out when it is looked at.
func (r *Reader) endBatch() {
	b := &r.batch
	if b.next < b.count {
		b.at = len(b.memory)
		return
	}
	b.count = 0
	if !b.copied {
		r.pass(len(b.memory))
	}
}

// Sleep says that the reader is going to sleep until there is a message, and
// returns the word to sleep on and what it is. Awake must follow. If there is
// something to find already, ok is false.
func (r *Reader) Sleep() (w *word.Uint32, seen uint32, ok bool) {
	if r.batch.count != 0 {
		return nil, 0, false
	}
	if r.position != r.flushed {
		r.flush()
	}
	r.letGo() // now and then, so that it can know
	slot := r.at(r.position)
	// SYNC POINT sleeps: pairs with Writer.commit, which stores the stamp first.
	r.entry.sleeps.Store(r.position + 1)
	stamp := slot.stamp().Load()
	if stamp == r.position+1 || r.tail.Load() > r.position {
		return nil, 0, false
	}
	return word.Low(slot.stamp()), uint32(stamp), true
}

// Awake says that it does not sleep any more.
func (r *Reader) Awake() { word.StoreRelease(r.entry.sleeps, 0) }

// Stamp returns the word to look at while waiting for the next message, and what it
// is as long as there is none.
func (r *Reader) Stamp() (w *word.Uint32, seen uint32) {
	r.vain = LooksOfStream + 1 // who waits is not in a stream
	stamp := word.Low(r.at(r.position).stamp())
	if seen = stamp.Load(); seen == uint32(r.position+1) {
		seen-- // it has come since the reader looked
	}
	return stamp, seen
}
