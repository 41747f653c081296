package pubsub_test

import (
	"testing"

	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/pubsub"
)

// A subscriber has all chunks of the arena before it has joined: what is published while
// it does may lie in any of them, and the publisher may be killed before it has sent
// the next. (Found by make prove-topics: "a message in chunk 1 of the arena, which was
// never sent", once in five thousand kills.)
func TestChunksComeBeforeTheirMessages(t *testing.T) {
	folder := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, folder)
	p, err := pubsub.Publish(d, "numbers", nil)
	check(err)
	for _, n := range []int{1 << 10, 1 << 20, 16 << 20} { // each makes a chunk, but the first
		_, err := p.Loan(background, n)
		check(err)
	}
	h, err := hostile.Join(d.Folder(), "numbers", meet.Subscriber)
	check(err)
	defer h.Node.Close()
	m, err := memory.Create("control", layout.ReaderBytes)
	check(err)
	check((<-h.Found).Send(1, hostile.Link(0), m.File()))
	const linked, chunk = 2, 3
	chunks := 0
	for typ := range h.Message {
		if typ == linked {
			break
		}
		if typ != chunk {
			t.Fatalf("message %d before LINKED", typ)
		}
		chunks++
	}
	if chunks != 2 {
		t.Errorf("%d chunks came before LINKED; want both", chunks)
	}
	select {
	case typ := <-h.Message:
		t.Errorf("message %d after LINKED", typ)
	default:
	}
}
