// Package ring is the structure of a topic (layer L4): one process writes
// messages, and any number of others read them, each at its own pace.
//
// A [Writer] works in the memory that its process alone can write: a ring of
// slots, and an arena for what does not fit into a slot. A [Reader] works in that
// memory, which it can only read, and in a few lines of its own process's memory,
// which the writer can only read. To tell the other side something is to store it
// in one's own memory.
//
// # A message's way
//
// The message at position p is in one of the slots, which are used from the last to the
// first, and then again; see slots.at. The writer fills in the slot, then stores p+1 as
// its stamp, with one atomic store; a reader at p looks at the stamp until it is that.
// Then it copies, and looks at the stamp again: if the writer has come round meanwhile,
// what was copied is not used.
//
// Before the writer comes round to slots that have messages, it says so: it stores
// the tail, the oldest position that is still good, and takes the stamps away of
// those before it. So a reader that does not find the stamp it looks for knows
// which: before the tail, the message is lost; else it is not there yet.
//
// # Where the writer waits for readers
//
// Only under [Block]: not further than a round ahead of the slowest cursor. Under
// [DropOldest] cursors only tell which blocks of the arena nobody needs any more.
//
// # Holds
//
// A slot can always be reused. A block of the arena cannot while a reader holds
// it: the reader stores the hold, then looks at the stamp; the writer takes the
// stamp away, then looks at the holds. One of them sees the other's.
//
// What may run at once: one goroutine publishes, and any other joins readers and
// lets them leave. A reader is for one goroutine.
package ring

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/word"
)

// Policy is what a writer does when the ring is full of what somebody has not
// read.
type Policy uint32

// The policies.
const (
	// DropOldest drops the oldest messages, and says so to who missed them.
	DropOldest Policy = layout.PolicyDropOldest
	// Block waits for the slowest reader.
	Block Policy = layout.PolicyBlock
)

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case DropOldest:
		return "drop oldest"
	case Block:
		return "block"
	}
	return fmt.Sprintf("Policy(%d)", uint32(p))
}

// Errors.
var (
	// ErrFull: there is no room now, and the caller would not wait.
	ErrFull = errors.New("the ring is full")
	// ErrTooLarge: the message can never fit.
	ErrTooLarge = errors.New("the message is larger than any part of the arena can be")
	// ErrArenaFull: all memory of the arena is on loan or held.
	ErrArenaFull = errors.New("the arena is full of messages that are on loan or held")
	// ErrClosed: the writer or the reader was closed.
	ErrClosed error = closed{}
	// ErrEmpty: there is no message now.
	ErrEmpty = errors.New("there is no message yet")
	// ErrCorrupt: the other side's memory makes no sense.
	ErrCorrupt = errors.New("the other side's memory makes no sense")
	// ErrLeft: a reader's entry is another's now: it has left, and that was not heard yet.
	ErrLeft = errors.New("the reader has left, and another has its place")
	// ErrTooLargeToBorrow: the message is larger than all that a reader may borrow.
	ErrTooLargeToBorrow = errors.New("the message is larger than what may be borrowed")
	// ErrTooManyHolds: the reader has borrowed all that it may.
	ErrTooManyHolds = errors.New("too many messages are borrowed; release some")
)

// closed is ErrClosed. It matches what a file says that was closed.
type closed struct{}

func (closed) Error() string { return "closed" }

// Is says that it matches fs.ErrClosed, by its other name os.ErrClosed.
func (closed) Is(target error) bool { return target == fs.ErrClosed }

// LaggedError says that messages were dropped before the reader came to them.
type LaggedError struct {
	Lost uint64
}

func (e *LaggedError) Error() string {
	return fmt.Sprintf("%d messages were lost: the reader is slower than the writer, which drops the oldest", e.Lost)
}

// Config says how large a ring is. All sizes are powers of two.
type Config struct {
	Slots      int // 2 to 1<<20
	SlotBytes  int // 64 to 4096; 16 less is what an inline message has at most
	ArenaBytes int // at first, 4096 or more
	ArenaLimit int // with all that it grows by
	Policy     Policy
	Format     Format
}

// The bounds of a [Config].
const (
	SlotsLeast, SlotsMost         = 2, 1 << 20
	SlotBytesLeast, SlotBytesMost = 64, 4096
	ArenaLeast                    = 4096
	// ChunksMax is how many pieces an arena can have.
	ChunksMax = 64
)

// Bytes returns how much memory a ring needs.
func (c *Config) Bytes() int {
	return layout.TopicBytes + c.Slots*c.SlotBytes + c.ArenaBytes + len(c.Format.Text)
}

// Check returns an error that says what is wrong with the sizes.
func (c *Config) Check() error {
	power := func(name string, n, least, most int) error {
		if n < least || n > most || n&(n-1) != 0 {
			return fmt.Errorf("%s is %d; want a power of two from %d to %d", name, n, least, most)
		}
		return nil
	}
	err := errors.Join(
		power("Slots", c.Slots, SlotsLeast, SlotsMost),
		power("SlotBytes", c.SlotBytes, SlotBytesLeast, SlotBytesMost),
		power("ArenaBytes", c.ArenaBytes, ArenaLeast, 1<<40),
	)
	if err == nil && c.ArenaLimit < c.ArenaBytes {
		err = fmt.Errorf("ArenaLimit is %d; want at least ArenaBytes, %d", c.ArenaLimit, c.ArenaBytes)
	}
	if err == nil && c.Policy != DropOldest && c.Policy != Block {
		err = fmt.Errorf("Policy is %d; want DropOldest or Block", c.Policy)
	}
	if n := len(c.Format.Text); err == nil && (n > FormatMost || (n == 0) != (c.Format.Kind == FormatNone)) {
		err = fmt.Errorf("Format is of kind %d and %d bytes; want at most %d", c.Format.Kind, n, FormatMost)
	}
	return err
}

// format writes what does not change into a ring's memory, which is all zero.
func (c *Config) format(r *region.Region) {
	store := func(at int, v uint32) { r.Uint32(at).Store(v) }
	store(layout.TopicSlotCountAt, uint32(c.Slots))
	store(layout.TopicSlotBytesAt, uint32(c.SlotBytes))
	store(layout.TopicPolicyAt, uint32(c.Policy))
	r.Uint64(layout.TopicArenaBytesAt).Store(uint64(c.ArenaBytes))
	c.Format.write(r, c.Bytes()-len(c.Format.Text))
	r.Uint64(layout.TopicMagicAt).Store(layout.TopicMagic)
}

// configOf reads it, all but the format, out of memory that somebody else writes.
func configOf(r *region.Region) (c Config, err error) {
	if !r.Has(0, layout.TopicBytes, 8) || r.Uint64(layout.TopicMagicAt).Load() != layout.TopicMagic {
		return c, fmt.Errorf("%w: it is not a topic's segment, or of another version", ErrCorrupt)
	}
	arena := r.Uint64(layout.TopicArenaBytesAt).Load()
	c = Config{
		Slots:      int(r.Uint32(layout.TopicSlotCountAt).Load()),
		SlotBytes:  int(r.Uint32(layout.TopicSlotBytesAt).Load()),
		Policy:     Policy(r.Uint32(layout.TopicPolicyAt).Load()),
		ArenaBytes: int(min(arena, 1<<40)),
	}
	c.ArenaLimit = c.ArenaBytes
	if err = c.Check(); err == nil && !r.Has(0, c.Bytes(), 8) {
		err = fmt.Errorf("it has %d bytes, and needs %d", r.Len(), c.Bytes())
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return c, err
}

// surplus is a number of messages modulo 1<<surplusBits.
const (
	surplusShift = layout.SlotMetaSurplusShift
	surplusMask  = 1<<(64-surplusShift) - 1
)

// Entry is where a reader says what it does: in memory of its process.
type Entry struct {
	region                                        *region.Region // which must stay reachable
	cursor, received, lost, sleeps, reading, held *word.Uint64
	use                                           *word.Uint64
	holds                                         [layout.ReaderHoldsCount]*word.Uint64
}

// EntryAt returns the entry at an offset of a region, which is checked.
func EntryAt(r *region.Region, at int) (*Entry, error) {
	if at < 0 || !r.Has(at, layout.ReaderBytes, layout.ReaderAlign) {
		return nil, fmt.Errorf("%w: a reader's entry at %d of %d bytes", ErrCorrupt, at, r.Len())
	}
	e := &Entry{
		region:   r,
		cursor:   r.Uint64(at + layout.ReaderCursorAt),
		received: r.Uint64(at + layout.ReaderReceivedAt),
		lost:     r.Uint64(at + layout.ReaderLostAt),
		sleeps:   r.Uint64(at + layout.ReaderSleepsAt),
		reading:  r.Uint64(at + layout.ReaderReadingAt),
		held:     r.Uint64(at + layout.ReaderHeldAt),
		use:      r.Uint64(at + layout.ReaderUseAt),
	}
	for i := range e.holds {
		e.holds[i] = r.Uint64(at + layout.ReaderHoldsAt + 8*i)
	}
	return e, nil
}

// Use returns which use of its place the entry is.
func (e *Entry) Use() uint64 { return e.use.Load() }

// Clear makes an entry of this process ready for another writer, in another use.
func (e *Entry) Clear() {
	e.use.Store(e.use.Load() + 1)
	for _, w := range []*word.Uint64{e.cursor, e.received, e.lost, e.sleeps, e.reading, e.held} {
		w.Store(0)
	}
	for _, w := range e.holds {
		w.Store(0)
	}
}
