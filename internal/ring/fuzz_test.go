package ring_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/ring"
)

// What a publisher has in its memory is its own affair: a reader, and who only looks,
// gets messages or an error that says what is wrong, and touches nothing beyond it. An
// input is the beginning of a topic's segment, and then its slots and its arena.
func FuzzTopic(f *testing.F) {
	const slots, slotBytes = 4, 64
	c := ring.Config{Slots: slots, SlotBytes: slotBytes, ArenaBytes: ring.ArenaLeast, ArenaLimit: ring.ArenaLeast, Policy: ring.DropOldest,
		Format: ring.Format{Kind: ring.FormatContentType, Text: "text/csv"}}
	// parts are what of a segment is an input: its header as far as it is used, its slots,
	// the beginning of its arena.
	parts := [][2]int{{0, 40}, {layout.TopicTailAt, layout.TopicTailAt + 16}, {layout.TopicLeftAt, layout.TopicLeftAt + 8},
		{layout.TopicBytes, layout.TopicBytes + slots*slotBytes + 64}}
	memory := region.Heap(c.Bytes())
	all := memory.Bytes(0, memory.Len())
	var seeds [][]byte
	for _, messages := range [][][]byte{nil, {make([]byte, 8)}, {make([]byte, 100)}, {make([]byte, 8), make([]byte, 9), make([]byte, 20)}} {
		for rounds := range 6 {
			tp := newTopic(f, c)
			for range rounds {
				if err := tp.w.TryPublishBatch(messages); err != nil {
					f.Fatal(err)
				}
			}
			b := tp.r.Bytes(0, tp.r.Len())
			var seed []byte
			for _, p := range parts {
				seed = append(seed, b[p[0]:p[1]]...)
			}
			seeds = append(seeds, seed)
		}
	}
	own := region.Heap(layout.ReaderBytes)
	buf := make([]byte, 0, 64)
	proctest.Fuzz(f, seeds, func(b []byte) error {
		start := ring.Start{Position: uint64(len(b) % 7)}
		for _, p := range parts {
			to := all[p[0]:p[1]]
			clear(to[copy(to, b):])
			b = b[min(len(b), len(to)):]
		}
		good := func(err error) error {
			var lagged *ring.LaggedError
			if err == nil || errors.Is(err, ring.ErrCorrupt) || err == ring.ErrEmpty || errors.As(err, &lagged) ||
				errors.Is(err, ring.ErrTooManyHolds) || errors.Is(err, ring.ErrTooLargeToBorrow) {
				return nil
			}
			return err
		}
		view, err := ring.NewView(memory)
		if err != nil {
			return good(err)
		}
		p := view.Look()
		view.Behind(p, start.Position)
		format, err := view.Format()
		if bad := good(err); bad != nil {
			return bad
		}
		// A segment that says that it has fewer slots has more room behind them.
		if n := len(format.Text); n > len(c.Format.Text)+slots*slotBytes+ring.ArenaLeast || (n == 0) != (format.Kind == ring.FormatNone) {
			return fmt.Errorf("a format of kind %d and %d bytes", format.Kind, n)
		}
		e, err := ring.EntryAt(own, 0)
		if err != nil {
			return err
		}
		e.Clear()
		r, err := ring.NewReader(memory, e, start, ring.ArenaLeast, func(int) ([]byte, error) { return nil, ring.ErrCorrupt })
		if err != nil {
			return good(err)
		}
		for i := range 12 {
			var m []byte
			var hold int
			if i%3 == 2 {
				m, hold, _, err = r.Borrow(buf)
			} else {
				m, _, err = r.Next(buf)
			}
			if bad := good(err); bad != nil {
				return bad
			}
			if len(m) > ring.ArenaLeast {
				return fmt.Errorf("a message of %d bytes", len(m))
			}
			sum := 0
			for _, x := range m {
				sum += int(x) // it can be read
			}
			if i%3 == 2 && err == nil {
				r.Release(hold)
			}
			if errors.Is(err, ring.ErrCorrupt) {
				break
			}
		}
		r.Rest()
		if w, _, ok := r.Sleep(); ok && w == nil {
			return errors.New("there is nothing to sleep on")
		}
		r.Awake()
		return nil
	})
}
