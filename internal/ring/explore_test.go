//go:build explore

package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"slices"
	"testing"

	"github.com/memlane/memlane/internal/explore"
	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

var all = flag.Bool("all", false, "explore what takes minutes too")

// scene is a writer, process 0, that publishes some messages, and readers that
// receive them all, or hear that they have lost them.
type scene struct {
	config   Config
	messages [][]byte // a batch of two, if it is one byte long
	readers  int
	borrow   bool
	loans    int // bytes of a loan that each message is published in: room for few
	leaves   int // the writer lets readers go after so many messages, and they do not know it; 0: never
	stay     int // so many, the last ones, it does not
}

type nobody struct{}

func (nobody) Grow(int, int) ([]byte, error) { return nil, ErrFull }
func (nobody) Evict(_ *Member, err error)    { explore.Assert(false, "evicted: %v", err) }

func (s scene) build() *explore.Scene {
	entries := (s.config.Bytes() + layout.ReaderAlign - 1) &^ (layout.ReaderAlign - 1)
	memory := region.Heap(entries + s.readers*layout.ReaderBytes)
	w, err := NewWriter(memory, &s.config, nobody{})
	if err != nil {
		panic(err)
	}
	sc := &explore.Scene{Memory: memory.Bytes(0, memory.Len()), Bells: make([]*wait.Bell, s.readers+1), Mark: func(int) {}, Check: func() error { return nil }}
	for i := range sc.Bells {
		sc.Bells[i] = new(wait.Bell)
	}
	sc.Counters = []*word.Uint64{w.blocked, w.wakes}
	var lengths []int // of each message
	for _, m := range s.messages {
		if len(m) == 1 {
			lengths = append(lengths, 8, 8)
		} else {
			lengths = append(lengths, len(m))
		}
	}
	var acknowledged uint64 // messages; part of what the writer knows
	var members []*Member
	sc.Processes = append(sc.Processes, func() { s.publish(w, members, sc.Bells[1:], &acknowledged) })
	for i := range s.readers {
		e, err := EntryAt(memory, entries+i*layout.ReaderBytes)
		if err != nil {
			panic(err)
		}
		var start Start
		m, err := w.Join(e, 0, 0, true, func(_ *Member, st Start) error { start = st; return nil })
		if err != nil {
			panic(err)
		}
		members = append(members, m)
		r, err := NewReader(memory, e, start, s.config.ArenaLimit, nil)
		if err != nil {
			panic(err)
		}
		sc.Processes = append(sc.Processes, func() {
			s.receive(r, lengths, s.leaves > 0 && i < s.readers-s.stay, sc.Bells[i+1], sc.Memory, &acknowledged)
		})
	}
	return sc
}

// contents is what message i is.
func contents(i uint64, n int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; at += 8 {
		binary.LittleEndian.PutUint64(b[at:], i<<8|uint64(at))
	}
	return b
}

func (s scene) publish(w *Writer, members []*Member, bells []*wait.Bell, acknowledged *uint64) {
	var i uint64
	for n, m := range s.messages {
		if s.leaves > 0 && n == s.leaves {
			for _, m := range members[:s.readers-s.stay] {
				explore.Operation(w.knows()...)
				w.Leave(m)
			}
		}
		explore.Operation(w.knows()...)
		var err error
		if s.loans > 0 {
			var l Loan
			if l, err = w.Loan(context.Background(), s.loans); err == nil {
				word.CopyIn(l.Bytes(), contents(i, len(m)))
				err = w.PublishLoan(context.Background(), l, len(m))
			}
			i++
		} else if len(m) == 1 {
			err = w.PublishBatch(context.Background(), [][]byte{contents(i, 8), contents(i+1, 8)})
			i += 2
		} else {
			err = w.Publish(context.Background(), contents(i, len(m)))
			i++
		}
		explore.Assert(err == nil, "publish: %v", err)
		*acknowledged = i
	}
	if s.leaves > 0 {
		for _, b := range bells {
			b.Ring() // they hear of it at last
		}
	}
}

// knows is all that the writer knows, and that what it does next may depend on. Not of
// these is Member.seen, because it is looked up again before it is used, and cursors never
// go back, which receive makes sure of; nor the budget of wakes, which is a thousand from
// the first one on.
func (w *Writer) knows() []uint64 {
	known := []uint64{w.head, w.ready, w.surplus, w.tail, uint64(w.blocks.len()), uint64(len(w.held))}
	add := func(p published) { known = append(known, p.position, uint64(p.block), uint64(p.bytes)) }
	for i := range w.blocks.len() {
		add(w.blocks.at(i))
	}
	for _, p := range w.held {
		add(p)
	}
	for _, c := range w.arena.chunks {
		known = append(known, number(c.joined))
		for _, free := range c.free {
			known = append(known, uint64(len(free)))
			for _, unit := range free {
				known = append(known, uint64(unit))
			}
		}
	}
	return known
}

// knows is all that a reader knows, and what its caller does.
func (r *Reader) knows(more ...uint64) []uint64 {
	return append(more, r.position, r.flushed, r.expect, r.lost, number(r.lapped), number(r.freed), uint64(r.looks),
		number(r.reading), uint64(r.batch.next), uint64(r.batch.count), number(r.batch.copied), r.known, number(r.out),
		uint64(r.batch.at), r.holds.held)
}

func number(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// receive receives all messages, or those of a writer that was killed, or that has let the
// reader go.
func (s scene) receive(r *Reader, lengths []int, leaves bool, bell *wait.Bell, memory []byte, acknowledged *uint64) {
	total := len(lengths)
	var received, lost uint64
	hold, held := -1, uint64(0)
	var inPlace []byte
	drained := false
	cursor := func() uint32 { return *word.Raw(word.Low(r.entry.cursor)) } // which is no step
	before := cursor()
	for received+lost < uint64(total) {
		explore.Assert(cursor() >= before, "the cursor went from %d to %d", before, cursor())
		before = cursor()
		rung := bell.Rung()
		explore.Watch(0)
		explore.Operation(r.knows(1, received, lost, uint64(hold), held, number(drained))...)
		var m []byte
		var sequence uint64
		var err error
		if hold >= 0 {
			checkContents(inPlace, held)
			r.Release(hold)
			hold = -1
		}
		if s.borrow {
			m, hold, sequence, err = r.Borrow(nil)
			inPlace, held = m, sequence
		} else {
			m, sequence, err = r.Next(make([]byte, 0, 64))
		}
		var lagged *LaggedError
		switch {
		case err == ErrEmpty && drained:
			explore.Assert(received+lost == s.committed(memory, r), "received %d, lost %d of %d that were published", received, lost, s.committed(memory, r))
			if rest := r.Rest(); rest != nil {
				explore.Assert(s.config.Policy == DropOldest || leaves, "lost %d messages", rest.Lost)
				lost += rest.Lost
			}
			explore.Assert(received+lost >= *acknowledged, "received %d, lost %d of %d that were acknowledged", received, lost, *acknowledged)
			return
		case err == ErrEmpty && (explore.Gone(0) || leaves && *acknowledged == uint64(total)):
			drained = true
		case err == ErrEmpty:
			explore.Operation(r.knows(2, received, lost, uint64(bell.Rung()-rung))...)
			if w, seen, ok := r.Sleep(); ok {
				if err := wait.Park(context.Background(), w, seen, bell, rung); err != nil {
					explore.Assert(false, "park: %v", err)
				}
			}
			r.Awake()
		case errors.As(err, &lagged):
			explore.Assert(s.config.Policy == DropOldest || leaves, "lost %d messages", lagged.Lost)
			lost += lagged.Lost
		case err != nil:
			explore.Assert(false, "receive: %v", err)
		default:
			explore.Assert(sequence == received+lost, "message %d after %d and %d lost", sequence, received, lost)
			explore.Assert(len(m) == lengths[sequence], "message %d has %d bytes", sequence, len(m))
			checkContents(m, sequence)
			received++
		}
	}
	explore.Assert(received+lost == uint64(total), "received %d, lost %d of %d", received, lost, total)
}

// committed is how many messages were published, as seen from outside.
func (s scene) committed(memory []byte, r *Reader) uint64 {
	at := layout.TopicBytes + (s.config.Slots-1-int(r.position)%s.config.Slots)*s.config.SlotBytes
	if binary.LittleEndian.Uint64(memory[at:]) == r.position+1 { // which is no step
		return ^uint64(0) // it is not drained
	}
	return r.expect
}

// checkContents looks at a message, word by word as everybody does: what is borrowed is the
// writer's memory.
func checkContents(m []byte, sequence uint64) {
	b := make([]byte, len(m))
	word.CopyOut(b, m)
	for at := 0; at+8 <= len(b); at += 8 {
		got := binary.LittleEndian.Uint64(b[at:])
		explore.Assert(got == sequence<<8|uint64(at), "message %d is torn: %x", sequence, b)
	}
}

func small(n int) []byte { return make([]byte, n) }

func TestExploreRing(t *testing.T) {
	tiny := Config{Slots: 2, SlotBytes: 64, ArenaBytes: ArenaLeast, ArenaLimit: ArenaLeast}
	with := func(p Policy, slots int) Config { c := tiny; c.Policy, c.Slots = p, slots; return c }
	batch := small(1)
	for _, c := range []struct {
		name  string
		slow  bool
		scene scene
		kills int
	}{
		{"drop oldest, inline", false, scene{config: with(DropOldest, 2), messages: [][]byte{small(8), small(8), small(8), small(8)}, readers: 1}, 0},
		{"block, inline", false, scene{config: with(Block, 2), messages: [][]byte{small(8), small(8), small(8), small(8)}, readers: 1}, 0},
		{"drop oldest, two words", false, scene{config: with(DropOldest, 2), messages: [][]byte{small(16), small(16), small(16)}, readers: 1}, 0},
		{"drop oldest, batches and blocks", true, scene{config: with(DropOldest, 2), messages: [][]byte{batch, small(56), small(8), batch}, readers: 1}, 0},
		{"block, batches and blocks", true, scene{config: with(Block, 2), messages: [][]byte{batch, small(56), small(8), batch}, readers: 1}, 0},
		{"drop oldest, borrowed", false, scene{config: with(DropOldest, 2), messages: [][]byte{small(56), batch, small(56)}, readers: 1, borrow: true}, 0},
		{"drop oldest, 2 messages, 1 killed", false, scene{config: with(DropOldest, 2), messages: [][]byte{small(8), small(8)}, readers: 1}, 1},
		{"drop oldest, blocks used again", false, scene{config: with(DropOldest, 4), messages: [][]byte{small(16), small(16), small(16)}, readers: 1, loans: ArenaLeast / 2}, 0},
		{"drop oldest, blocks used again, borrowed", false, scene{config: with(DropOldest, 4), messages: [][]byte{small(16), small(16), small(16)}, readers: 1, loans: ArenaLeast / 2, borrow: true}, 0},
		{"drop oldest, blocks used again, 1 killed", true, scene{config: with(DropOldest, 4), messages: [][]byte{small(16), small(16), small(16)}, readers: 1, loans: ArenaLeast / 2}, 1},
		{"block, inline, let go", false, scene{config: with(Block, 2), messages: [][]byte{small(8), small(8), small(8)}, readers: 1, leaves: 1}, 0},
		{"block, blocks used again, let go", false, scene{config: with(Block, 2), messages: [][]byte{small(16), small(16), small(16)}, readers: 1, loans: ArenaLeast / 2, leaves: 1}, 0},
		{"drop oldest, batches, let go", false, scene{config: with(DropOldest, 2), messages: [][]byte{batch, batch, batch}, readers: 1, leaves: 1}, 0},
		{"block, blocks used again", true, scene{config: with(Block, 4), messages: [][]byte{small(16), small(16), small(16)}, readers: 1, loans: ArenaLeast / 2}, 0},
		{"drop oldest, 4 borrowed", true, scene{config: with(DropOldest, 2), messages: [][]byte{small(56), small(56), small(56), small(56)}, readers: 1, borrow: true}, 0},
		{"drop oldest, 1 killed", true, scene{config: with(DropOldest, 2), messages: [][]byte{small(8), batch, small(8)}, readers: 1}, 1},
		{"drop oldest, 2 messages, 2 readers, 1 killed", true, scene{config: with(DropOldest, 2), messages: [][]byte{small(8), small(8)}, readers: 2}, 1},
		{"block, 2 readers", true, scene{config: with(Block, 2), messages: [][]byte{small(8), small(8), small(8)}, readers: 2}, 0},
		{"drop oldest, 2 readers", true, scene{config: with(DropOldest, 2), messages: [][]byte{small(8), small(8), small(8)}, readers: 2}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.slow && !*all {
				t.Skip("takes minutes: make explore")
			}
			// Only where somebody is killed or let go do readers look at what was
			// acknowledged, or at memory that is no access.
			alone := c.kills == 0 && c.scene.leaves == 0
			r := explore.Run(explore.Config{Build: c.scene.build, Kills: c.kills, Spurious: 1, Reduced: alone})
			t.Logf("%v", r)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if !r.Complete {
				t.Error("not complete")
			}
		})
	}
}

// What is too large to be explored whole.
func TestExploreWalks(t *testing.T) {
	with := func(p Policy, slots int) Config {
		return Config{Slots: slots, SlotBytes: 64, ArenaBytes: ArenaLeast, ArenaLimit: ArenaLeast, Policy: p}
	}
	batch, block, one, several := small(1), small(56), small(8), small(24)
	mixed := [][]byte{batch, block, one, batch, several, block, block, batch, one, one}
	inline := [][]byte{one, one, one, several, one, one, several, several, one, one}
	blocks := [][]byte{several, several, several, several, several, several, several, several, several, several}
	// So many loans at once that readers can keep neither all by reading nor by borrowing.
	const read, borrowed = ArenaLeast / 4, ArenaLeast / 8
	for _, c := range []struct {
		name  string
		scene scene
		kills int
	}{
		{"drop oldest, inline, 3 readers", scene{config: with(DropOldest, 2), messages: inline, readers: 3}, 0},
		{"block, inline, 3 readers", scene{config: with(Block, 2), messages: inline, readers: 3}, 0},
		{"drop oldest, batches and blocks, 2 readers", scene{config: with(DropOldest, 4), messages: mixed, readers: 2}, 0},
		{"block, batches and blocks, 2 readers", scene{config: with(Block, 4), messages: mixed, readers: 2}, 0},
		{"drop oldest, borrowed, 2 readers", scene{config: with(DropOldest, 2), messages: mixed, readers: 2, borrow: true}, 0},
		{"block, borrowed, 3 readers", scene{config: with(Block, 2), messages: mixed, readers: 3, borrow: true}, 0},
		{"drop oldest, blocks used again, 2 readers", scene{config: with(DropOldest, 4), messages: blocks, readers: 2, loans: read}, 0},
		{"drop oldest, blocks used again, borrowed, 3 readers", scene{config: with(DropOldest, 8), messages: slices.Repeat(blocks, 2), readers: 3, loans: borrowed, borrow: true}, 0},
		{"block, blocks used again, 2 readers", scene{config: with(Block, 4), messages: blocks, readers: 2, loans: read}, 0},
		{"block, blocks used again, borrowed, 2 readers", scene{config: with(Block, 4), messages: slices.Repeat(blocks, 2), readers: 2, loans: borrowed, borrow: true}, 0},
		{"drop oldest, inline, 2 readers, 2 killed", scene{config: with(DropOldest, 2), messages: inline, readers: 2}, 2},
		{"drop oldest, batches and blocks, 3 readers, 2 killed", scene{config: with(DropOldest, 2), messages: mixed, readers: 3}, 2},
		{"drop oldest, blocks used again, 2 readers, 2 killed", scene{config: with(DropOldest, 4), messages: blocks, readers: 2, loans: read}, 2},
		{"block, inline, 2 readers, 1 let go", scene{config: with(Block, 2), messages: inline, readers: 2, leaves: 3, stay: 1}, 0},
		{"block, blocks used again, 3 readers, 2 let go", scene{config: with(Block, 4), messages: blocks, readers: 3, loans: read, leaves: 2, stay: 1}, 0},
		{"drop oldest, batches and blocks, 3 readers, 2 let go", scene{config: with(DropOldest, 2), messages: mixed, readers: 3, leaves: 4, stay: 1}, 0},
	} {
		explore.Walks(t, "ring", c.name, explore.Config{Build: c.scene.build, Kills: c.kills, Spurious: 2})
	}
}
