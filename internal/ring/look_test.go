package ring_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/ring"
)

// What a view shows is what the writer knows, whatever was published and dropped.
func TestLook(t *testing.T) {
	for _, policy := range []ring.Policy{ring.DropOldest, ring.Block} {
		c := ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 16384, Policy: policy}
		tp := newTopic(t, c)
		r := tp.join(0, true)
		view, err := ring.NewView(tp.r)
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(1, uint64(policy)))
		var received, bytes, position uint64
		for i := uint64(0); i < 5000; {
			next, err := tp.publish(rnd, i)
			if err != nil {
				t.Fatal(err)
			}
			i = next
			look := view.Look()
			if head, sequence := tp.w.Head(); look.Head != head || look.Sequence != sequence || look.Policy != policy || look.Slots != 8 {
				t.Fatalf("%+v; the head is %d, %d", look, head, sequence)
			}
			// Nothing has been read since all was.
			if behind := view.Behind(look, position); policy == ring.Block && behind != look.Sequence-received {
				t.Fatalf("%d behind; %d of %d were received", behind, received, look.Sequence)
			}
			for policy == ring.Block || rnd.IntN(3) == 0 {
				data, _, err := r.Next(nil)
				if err == ring.ErrEmpty {
					break
				}
				received++
				bytes += uint64(len(data))
			}
			if look := view.Look(); policy == ring.Block && look.Bytes != bytes {
				t.Fatalf("%d bytes were published; %d came", look.Bytes, bytes)
			}
			position = r.member.Look().Position
		}
		if received == 0 {
			t.Error("nothing was received")
		}
	}
}

// While a writer publishes, what is seen never goes back.
func TestLookMeanwhile(t *testing.T) {
	tp := newTopic(t, ring.Config{Slots: 64, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.DropOldest})
	view, err := ring.NewView(tp.r)
	if err != nil {
		t.Fatal(err)
	}
	const last = 20000
	done := make(chan error, 1)
	go func() {
		b := make([]byte, 8)
		for i := range uint64(last) {
			binary.LittleEndian.PutUint64(b, i)
			if err := tp.w.Publish(context.Background(), b); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for seen := uint64(0); seen < last; {
		look := view.Look()
		if look.Head < seen || look.Head > last || look.Head-look.Tail > 64 || look.Sequence != look.Head {
			t.Fatalf("%+v after %d", look, seen)
		}
		seen = max(seen, look.Head)
		view.Behind(look, look.Tail)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if look := view.Look(); look.Sequence != last {
		t.Errorf("%+v", look)
	}
}

// Memory that says anything at all is looked at without harm.
func TestLookAtNonsense(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 3))
	c := ring.Config{Slots: 8, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.Block}
	for range 2000 {
		r := region.Heap(c.Bytes())
		if _, err := ring.NewWriter(r, &c, &topic{}); err != nil {
			t.Fatal(err)
		}
		view, err := ring.NewView(r)
		if err != nil {
			t.Fatal(err)
		}
		for at := 32; at < layout.TopicBytes+8*64; at += 8 {
			if v := rnd.Uint64() >> rnd.IntN(64); rnd.IntN(3) > 0 {
				r.Uint64(at).Store(v)
			}
		}
		look := view.Look()
		view.Behind(look, rnd.Uint64()>>rnd.IntN(64))
		view.Behind(look, look.Tail)
		// And whoever does not know the ring yet.
		for at := 0; at < 32; at += 8 {
			if rnd.IntN(2) == 0 {
				r.Uint64(at).Store(rnd.Uint64() >> rnd.IntN(64))
			}
		}
		if view, err := ring.NewView(r); err == nil {
			view.Look()
		}
	}
}
