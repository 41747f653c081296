package ring_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/memlane/memlane/internal/ring"
)

// The messages of a batch are the same, received or borrowed in any order, whether the
// batch was copied as a whole or is too large for that.
func TestBatchInAnyOrder(t *testing.T) {
	for name, size := range map[string]int{"copied": 100, "too large": 20_000} {
		t.Run(name, func(t *testing.T) {
			const count = 6
			tp := newTopic(t, ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: 16 << 20, ArenaLimit: 16 << 20, Policy: ring.DropOldest})
			for order := range 1 << count { // bit i: message i is borrowed
				r := tp.join(0, true)
				var batch [][]byte
				for i := range uint64(count) {
					batch = append(batch, message(i, size+int(i)))
				}
				if err := tp.w.PublishBatch(context.Background(), batch); err != nil {
					t.Fatal(err)
				}
				type borrowed struct {
					bytes []byte
					index int
				}
				var all []borrowed
				var buf []byte
				_, first := tp.w.Head()
				first -= count
				for i := range count {
					var m []byte
					var hold int
					var sequence uint64
					var err error
					if order>>i&1 == 0 {
						m, sequence, err = r.Next(buf)
					} else if m, hold, sequence, err = r.Borrow(nil); err == nil {
						all = append(all, borrowed{m, i})
						defer r.Release(hold)
					}
					if err != nil || sequence != first+uint64(i) || !bytes.Equal(m, batch[i]) {
						t.Fatalf("order %b, message %d is %d with %d bytes, %v", order, i, sequence-first, len(m), err)
					}
				}
				// Another one comes where the reader had this one.
				if err := tp.w.PublishBatch(context.Background(), [][]byte{make([]byte, size), make([]byte, 4*size)}); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if _, _, err := r.Next(buf); err != nil {
						t.Fatal(err)
					}
				}
				for _, b := range all {
					if !bytes.Equal(b.bytes, batch[b.index]) {
						t.Fatalf("order %b: borrowed message %d has changed", order, b.index)
					}
				}
				tp.w.Leave(r.member)
			}
		})
	}
}
