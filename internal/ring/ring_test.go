package ring_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/internal/wait"
)

// topic is a ring on the heap, whose chunks are there too, with its readers.
type topic struct {
	t testing.TB
	c ring.Config
	w *ring.Writer
	r *region.Region

	mu      sync.Mutex
	chunks  [][]byte
	small   int // bytes of the next chunk, whatever is asked for; 0: that
	evicted []error
}

func newTopic(t testing.TB, c ring.Config) *topic {
	t.Helper()
	tp := &topic{t: t, c: c, r: region.Heap(c.Bytes()), chunks: [][]byte{nil}}
	w, err := ring.NewWriter(tp.r, &c, tp)
	if err != nil {
		t.Fatal(err)
	}
	tp.w = w
	return tp
}

func (tp *topic) Grow(i, n int) ([]byte, error) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if i != len(tp.chunks) {
		return nil, fmt.Errorf("chunk %d after %d", i, len(tp.chunks))
	}
	if tp.small != 0 {
		n, tp.small = tp.small, 0
	}
	b := region.Heap(n).Bytes(0, n)
	tp.chunks = append(tp.chunks, b)
	return b, nil
}

func (tp *topic) Evict(_ *ring.Member, err error) { tp.evicted = append(tp.evicted, err) }

func (tp *topic) chunk(i int) ([]byte, error) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if i >= len(tp.chunks) {
		return nil, ring.ErrCorrupt
	}
	return tp.chunks[i], nil
}

// reader is a reader with its own memory.
type reader struct {
	*ring.Reader
	member *ring.Member
	own    *region.Region
}

func (tp *topic) join(history uint64, gates bool) *reader {
	tp.t.Helper()
	own := region.Heap(layout.ReaderBytes)
	mine, err := ring.EntryAt(own, 0)
	if err != nil {
		tp.t.Fatal(err)
	}
	var start ring.Start
	m, err := tp.w.Join(mine, 0, history, gates, func(_ *ring.Member, s ring.Start) error { start = s; return nil })
	if err != nil {
		tp.t.Fatal(err)
	}
	r, err := ring.NewReader(tp.r, mine, start, tp.c.ArenaLimit, tp.chunk)
	if err != nil {
		tp.t.Fatal(err)
	}
	return &reader{r, m, own}
}

// receive waits for the next message.
func (r *reader) receive(buf []byte) ([]byte, uint64, error) {
	for {
		m, sequence, err := r.Next(buf)
		if err != ring.ErrEmpty {
			return m, sequence, err
		}
		if w, seen, ok := r.Sleep(); ok {
			if err := wait.Park(context.Background(), w, seen, nil, 0); err != nil {
				return nil, 0, err
			}
		}
		r.Awake()
	}
}

// message is what nobody else publishes: its number, and bytes that follow from it.
func message(i uint64, n int) []byte {
	b := make([]byte, max(n, 8))
	binary.LittleEndian.PutUint64(b, i)
	for k := 8; k < len(b); k++ {
		b[k] = byte(i*7 + uint64(k))
	}
	return b
}

func check(b []byte) (uint64, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("a message of %d bytes", len(b))
	}
	i := binary.LittleEndian.Uint64(b)
	if !bytes.Equal(b, message(i, len(b))) {
		return i, fmt.Errorf("message %d is torn: %x", i, b)
	}
	return i, nil
}

var small = ring.Config{Slots: 16, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 1 << 16}

func (tp *topic) publish(rnd *rand.Rand, i uint64) (next uint64, err error) {
	switch rnd.IntN(4) {
	case 0:
		return i + 1, tp.w.Publish(context.Background(), message(i, rnd.IntN(48)))
	case 1:
		return i + 1, tp.w.Publish(context.Background(), message(i, rnd.IntN(2000)))
	case 2:
		var batch [][]byte
		for range 1 + rnd.IntN(9) {
			batch = append(batch, message(i, rnd.IntN(100)))
			i++
		}
		return i, tp.w.PublishBatch(context.Background(), batch)
	}
	b := message(i, 8+rnd.IntN(700))
	l, err := tp.w.Loan(context.Background(), len(b)+rnd.IntN(100))
	if err != nil {
		return i, err
	}
	copyIn(l.Bytes(), b)
	return i + 1, tp.w.PublishLoan(context.Background(), l, len(b))
}

// Nothing is lost, doubled, torn or out of order under Block; all is accounted for
// under DropOldest.
func TestConcurrently(t *testing.T) {
	for _, policy := range []ring.Policy{ring.Block, ring.DropOldest} {
		t.Run(policy.String(), func(t *testing.T) {
			c := small
			c.Policy = policy
			tp := newTopic(t, c)
			const n = 10_000
			var wg sync.WaitGroup
			for k := range 3 {
				r := tp.join(0, true)
				wg.Go(func() {
					if err := r.all(n, policy, uint64(k)); err != nil {
						t.Errorf("reader %d: %v", k, err)
						tp.w.Close() // which would wait for it
					}
				})
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := uint64(0); i < n; {
				next, err := tp.publish(rnd, i)
				if err != nil {
					t.Fatal(err)
				}
				i = next
			}
			// The last one tells that it is.
			if err := tp.w.Publish(context.Background(), message(1<<60, 8)); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if len(tp.evicted) > 0 {
				t.Error(tp.evicted)
			}
		})
	}
}

// all receives until the last message, copying or borrowing.
func (r *reader) all(n uint64, policy ring.Policy, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 9))
	var next uint64
	var buf []byte
	type borrowed struct {
		hold int
		b    []byte
		i    uint64
	}
	var kept []borrowed
	release := func() error {
		for _, b := range kept {
			if i, err := check(copyOut(b.b)); err != nil || i != b.i {
				return fmt.Errorf("borrowed message %d: now it is %d, %v", b.i, i, err)
			}
			r.Release(b.hold)
		}
		kept = kept[:0]
		return nil
	}
	for {
		var m []byte
		var err error
		var sequence uint64
		hold := -1
		if rnd.IntN(3) == 0 {
			m, hold, sequence, err = r.Borrow(buf)
			if err == ring.ErrEmpty {
				continue
			}
			if errors.Is(err, ring.ErrTooManyHolds) {
				if err := release(); err != nil {
					return err
				}
				continue
			}
		} else {
			m, sequence, err = r.receive(buf)
		}
		var lagged *ring.LaggedError
		if errors.As(err, &lagged) && policy == ring.DropOldest {
			next += lagged.Lost
			continue
		}
		if err != nil {
			return err
		}
		inPlace := m
		if hold >= 0 {
			m = copyOut(m)
		}
		i, err := check(m)
		if err != nil {
			return err
		}
		if i == 1<<60 {
			if sequence < n || sequence != next {
				return fmt.Errorf("the last message has the number %d, and %d were seen or lost", sequence, next)
			}
			return release()
		}
		if i != next || sequence != next {
			return fmt.Errorf("message %d, number %d; want %d", i, sequence, next)
		}
		if hold >= 0 {
			kept = append(kept, borrowed{hold, inPlace, i})
		} else {
			buf = m
		}
		if len(kept) > rnd.IntN(12) {
			if err := release(); err != nil {
				return err
			}
		}
		next++
	}
}

// A writer goes round a tiny ring as fast as it can while readers copy: what they
// return is whole, and what they miss is counted.
func TestOvertaken(t *testing.T) {
	for _, c := range []ring.Config{
		{Slots: 2, SlotBytes: 4096, ArenaBytes: 4096, ArenaLimit: 4096},
		{Slots: 4, SlotBytes: 64, ArenaBytes: 1 << 14, ArenaLimit: 1 << 14},
	} {
		c.Policy = ring.DropOldest
		tp := newTopic(t, c)
		const n = 8_000
		var wg sync.WaitGroup
		for k := range 2 {
			r := tp.join(0, true)
			wg.Go(func() {
				var received, lost uint64
				for buf := []byte(nil); ; {
					m, sequence, err := r.receive(buf)
					var lagged *ring.LaggedError
					if errors.As(err, &lagged) {
						lost += lagged.Lost
						continue
					}
					if err != nil {
						t.Errorf("reader %d: %v", k, err)
						return
					}
					i, err := check(m)
					if err != nil || sequence != received+lost {
						t.Errorf("reader %d: message %d, number %d, after %d and %d lost: %v", k, i, sequence, received, lost, err)
						return
					}
					if i == 1<<60 {
						return
					}
					received++
					buf = m
				}
			})
		}
		for i := range uint64(n) {
			if err := tp.w.Publish(context.Background(), message(i, 4000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tp.w.Publish(context.Background(), message(1<<60, 8)); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}

// A chunk that was made for a small message, and could not be announced then, is what a
// larger one is given first: the arena grows once more for it.
func TestGrowsAgainForALargerMessage(t *testing.T) {
	for _, policy := range []ring.Policy{ring.DropOldest, ring.Block} {
		tp := newTopic(t, ring.Config{Slots: 4, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 1 << 20, Policy: policy})
		tp.small = 8192
		m := make([]byte, 100_000)
		if err := tp.w.TryPublish(m); err != nil {
			t.Errorf("%v: %v", policy, err)
		}
	}
}
