package ring

import (
	"math/bits"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/word"
)

// View looks at a ring without taking part: it only loads. The ring may be somebody
// else's, who may write what he likes; then it shows that.
type View struct {
	slots
	region *region.Region // which must stay reachable
	config Config
}

// Picture is what a ring looks like at some moment. A writer that is publishing
// goes on while it is taken.
type Picture struct {
	Slots, SlotBytes int
	Policy           Policy
	ArenaBytes       uint64 // in all chunks

	Tail, Head uint64 // positions: the oldest that is still there, and the next
	Sequence   uint64 // how many messages were published
	Bytes      uint64 // of those, and perhaps of the next, which is being published

	Waiting bool   // it waits for a reader just now
	Blocked uint64 // how often it has had to
	Wakes   uint64 // its system calls that wake readers
	Evicted uint64 // readers whose words made no sense
}

// Behind returns how many slots a reader has before it that is at a position: a whole ring
// at most.
func (p Picture) Behind(position uint64) uint64 {
	if position >= p.Head {
		return 0
	}
	return p.Head - max(position, p.Tail)
}

// Dropped returns how many slots were dropped before a reader came to them that is at a
// position.
func (p Picture) Dropped(position uint64) uint64 { return p.Tail - min(position, p.Tail) }

// NewView returns a view of the ring in a region. Errors match [ErrCorrupt].
func NewView(r *region.Region) (*View, error) {
	c, err := configOf(r)
	if err != nil {
		return nil, err
	}
	return &View{newSlots(r.Bytes(layout.TopicBytes, c.Slots*c.SlotBytes), c.Slots, c.SlotBytes), r, c}, nil
}

// looks is how often it is looked again when the writer has come round meanwhile.
const looks = 1000

// Look returns what there is to see. Of a writer that comes round faster than one can
// look, it may be somewhat old.
func (v *View) Look() Picture {
	p := Picture{
		Slots: v.config.Slots, SlotBytes: v.config.SlotBytes, Policy: v.config.Policy,
		ArenaBytes: v.region.Uint64(layout.TopicGrownAt).Load(),
		Waiting:    v.region.Uint32(layout.TopicWaitingAt).Load() != 0,
		Blocked:    v.region.Uint64(layout.TopicBlockedAt).Load(),
		Wakes:      v.region.Uint64(layout.TopicWakesAt).Load(),
		Evicted:    v.region.Uint64(layout.TopicEvictedAt).Load(),
	}
	for range looks {
		p.Bytes = v.region.Uint64(layout.TopicPayloadBytesAt).Load()
		p.Tail = v.region.Uint64(layout.TopicTailAt).Load()
		p.Head = v.head(p.Tail)
		if p.Head == 0 {
			return p
		}
		// The slot of the last message tells how many there were; it stays as it is
		// even when that message is dropped, until the writer has come round.
		p.Sequence = (p.Head + v.at(p.Head-1).surplusAfter()) & surplusMask
		word.FenceLoads()
		// Nothing is overwritten before the tail has moved.
		if v.region.Uint64(layout.TopicTailAt).Load() == p.Tail {
			break
		}
	}
	return p
}

// head returns the first position from the tail on that has no stamp.
func (v *View) head(tail uint64) uint64 {
	low, high := tail, tail+v.count()
	for low < high {
		middle := low + (high-low)/2
		if v.at(middle).stamp().Load() == middle+1 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// sequence returns what a position's slot says of its message's number.
func (v *View) sequence(position, meta uint64) uint64 {
	return (position + meta>>surplusShift) & surplusMask
}

// Behind returns how many messages a reader has before it that is at a position,
// those that it will find lost not counted.
func (v *View) Behind(p Picture, position uint64) uint64 {
	position = max(position, p.Tail)
	if position >= p.Head {
		return 0
	}
	next := v.sequence(position, word.LoadPlain(v.at(position).meta()))
	if behind := (p.Sequence - next) & surplusMask; behind <= p.Sequence {
		return behind
	}
	return p.Head - position // it was overwritten meanwhile
}

// EntryPicture is what a reader says of itself at some moment.
type EntryPicture struct {
	Position uint64 // that it reads next; some of the last ones may not be counted yet
	Received uint64 // messages; likewise
	Lost     uint64 // messages
	Asleep   bool
	Holds    int // messages that it has borrowed
}

// Look returns what the entry says.
func (e *Entry) Look() EntryPicture {
	return EntryPicture{
		Position: e.cursor.Load(),
		Received: e.received.Load(),
		Lost:     e.lost.Load(),
		Asleep:   e.sleeps.Load() != 0,
		Holds:    bits.OnesCount64(e.held.Load()),
	}
}

// Counts returns how many messages the reader has received and lost, all counted. It
// is for the receiving goroutine.
func (r *Reader) Counts() (received, lost uint64) { return r.received(), r.lost }

// Look returns what the reader says of itself.
func (m *Member) Look() EntryPicture { return m.entry.Look() }

// Gates says whether a writer that blocks waits for it.
func (m *Member) Gates() bool { return m.gates }
