package ring_test

import (
	"context"
	"fmt"
	"log"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/ring"
)

type alone struct{}

func (alone) Grow(int, int) ([]byte, error)   { return nil, ring.ErrFull }
func (alone) Evict(_ *ring.Member, err error) { log.Fatal(err) }

// Both sides in one process, on the heap.
func Example() {
	c := ring.Config{Slots: 4, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.DropOldest}
	topic := region.Heap(c.Bytes())
	w, err := ring.NewWriter(topic, &c, alone{})
	if err != nil {
		log.Fatal(err)
	}
	entry, err := ring.EntryAt(region.Heap(layout.ReaderBytes), 0)
	if err != nil {
		log.Fatal(err)
	}
	var start ring.Start
	if _, err := w.Join(entry, 0, 0, true, func(_ *ring.Member, s ring.Start) error { start = s; return nil }); err != nil {
		log.Fatal(err)
	}
	r, err := ring.NewReader(topic, entry, start, c.ArenaLimit, nil)
	if err != nil {
		log.Fatal(err)
	}
	for i := range 6 {
		if err := w.Publish(context.Background(), []byte{byte('a' + i)}); err != nil {
			log.Fatal(err)
		}
	}
	for range 4 {
		m, sequence, err := r.Next(nil)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%d %s\n", sequence, m)
	}
	// Output:
	// 3 messages were lost: the reader is slower than the writer, which drops the oldest
	// 3 d
	// 4 e
	// 5 f
}
