package pubsub_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/pubsub"
)

// A peer that speaks the protocol, and then does what it likes with its memory and
// its socket.
type hostile struct {
	found   chan *meet.Remote
	message chan uint16
	lost    chan struct{}
}

func (h *hostile) Found(r *meet.Remote) { h.found <- r }

func (h *hostile) Message(_ *meet.Remote, m *meet.Message) {
	select {
	case h.message <- m.Type:
	default:
	}
}

func (h *hostile) Lost(*meet.Remote) { h.lost <- struct{}{} }

func newHostile(folder string, role meet.Role) (*hostile, *meet.Node, error) {
	h := &hostile{make(chan *meet.Remote, 100), make(chan uint16, 100), make(chan struct{}, 100)}
	path, err := memlane.DomainFolder("test", &memlane.Config{Folder: folder})
	if err != nil {
		return nil, nil, err
	}
	n, err := meet.Open(path, nil)
	if err != nil {
		return nil, nil, err
	}
	return h, n, n.Add(&meet.Port{Kind: meet.Topic, Name: "numbers", Role: role, Settings: []byte{1, 1}, Handler: h})
}

// words of the settings of a link: entry at 0, no flags, no history.
func aLink(at uint32) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, at), make([]byte, 12)...)
}

// scribbledSlots is how many slots the scribbling publisher's ring has, of 64 bytes.
const scribbledSlots = 64

// scribble stores random words at random places, until the process is killed. Some
// are near what was there. What is before from, which is looked at once, stays.
func scribble(r *region.Region, from int, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for {
		at := rnd.IntN(r.Len()/8) * 8
		if rnd.IntN(4) > 0 {
			at %= min(r.Len(), 12*1024)
		}
		if at < from {
			continue
		}
		w := r.Uint64(at)
		switch rnd.IntN(9) {
		case 0:
			w.Store(rnd.Uint64())
		case 1:
			w.Store(0)
		case 2:
			w.Store(uint64(rnd.IntN(4096)))
		case 3:
			w.Store(w.Load() + uint64(rnd.IntN(5)) - 2)
		case 4:
			w.Store(w.Load() ^ 1<<rnd.IntN(64))
		case 6, 7:
			// A stamp that somebody may be waiting for, of what was there or a message.
			position := rnd.IntN(8)
			if at = layout.TopicBytes + (scribbledSlots-1-position)*64; r.Has(at, 8, 8) {
				if rnd.IntN(2) == 0 {
					r.Uint64(at + layout.SlotMetaAt).Store(uint64(rnd.IntN(64))) // a small message
				}
				r.Uint64(at).Store(uint64(position + 1))
			}
		case 8:
			// A tail that is not far.
			r.Uint64(layout.TopicTailAt + rnd.IntN(2)*8).Store(uint64(rnd.IntN(20)))
		case 5:
			w.Store(r.Uint64(rnd.IntN(r.Len()/8) * 8).Load())
		}
	}
}

// endWithTest ends the process when the test does, however that ends.
func endWithTest() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// scribblingSubscriber is a process that subscribes again and again, and scribbles
// over its control segment. Args: the folder, a seed.
func scribblingSubscriber(args []string) error {
	seed, _ := strconv.ParseUint(args[1], 10, 64)
	m, err := memory.Create("scribbled", 64<<10)
	if err != nil {
		return err
	}
	go scribble(m.Region(), 0, seed)
	go endWithTest()
	fmt.Println("scribbling")
	for {
		h, n, err := newHostile(args[0], meet.Subscriber)
		if err != nil {
			return err
		}
		r := <-h.found
		if err := r.Send(1, aLink(uint32(rand.IntN(50))*layout.ReaderBytes/128*128), m.File()); err != nil && !errors.Is(err, meet.ErrGone) {
			return err
		}
		select {
		case <-h.lost: // evicted
		case <-time.After(20 * time.Millisecond):
		}
		n.Close()
	}
}

// scribblingPublisher is a process that publishes a segment which is all right at
// first, and scribbles over it. Args: the folder, a seed.
func scribblingPublisher(args []string) error {
	seed, _ := strconv.ParseUint(args[1], 10, 64)
	go endWithTest()
	fmt.Println("scribbling")
	for ; ; seed++ {
		m, err := memory.Create("scribbled", layout.TopicBytes+scribbledSlots*64+4096)
		if err != nil {
			return err
		}
		r := m.Region()
		r.Uint64(layout.TopicMagicAt).Store(layout.TopicMagic)
		r.Uint32(layout.TopicSlotCountAt).Store(scribbledSlots)
		r.Uint32(layout.TopicSlotBytesAt).Store(64)
		r.Uint32(layout.TopicPolicyAt).Store(layout.PolicyDropOldest)
		r.Uint64(layout.TopicArenaBytesAt).Store(4096)
		go scribble(r, 128, seed)
		h, n, err := newHostile(args[0], meet.Publisher)
		if err != nil {
			return err
		}
		remote := <-h.found
		for {
			body := append(binary.LittleEndian.AppendUint64(nil, uint64(rand.IntN(3))), make([]byte, 24)...)
			body[16], body[25] = byte(rand.IntN(2)), 16
			if err := remote.Send(2, body, m.File()); err != nil {
				break
			}
			// Once is enough; what comes after that is nonsense for which it is dropped.
			select {
			case <-h.lost:
			case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
				continue
			}
			break
		}
		n.Close()
	}
}

// A subscriber writes what it likes into its own memory. The publisher goes on, and
// another subscriber gets everything.
func TestScribblingSubscriber(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block, ArenaLimit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	good := proctest.Start(t, nil, "subscribe", folder, "receive", "may not")
	good.Line()
	for seed := range 3 {
		proctest.Start(t, nil, "scribbling subscriber", folder, strconv.Itoa(seed)).Line()
	}
	ctx, cancel := context.WithTimeout(background, 2*time.Second)
	defer cancel()
	var i uint64
	for ctx.Err() == nil {
		// A subscriber that says that it has read nothing is waited for; it asked
		// for that right, and this topic grants it, until it is evicted or gone.
		err := p.Publish(ctx, message(i, size(i)%5000))
		if errors.Is(err, pubsub.ErrArenaFull) {
			continue // it says that it holds everything, of what is its share
		}
		if err != nil {
			break
		}
		i++
	}
	if i < 1000 {
		t.Errorf("only %d messages in 2 s", i)
	}
	if err := p.Publish(background, message(last, 8)); err != nil {
		t.Fatal(err)
	}
	if got, want := good.Line(), fmt.Sprintf("all %d lost 0", i); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// A publisher writes what it likes into its own memory. Its subscriber gets errors
// that say so, or messages that nobody knows; it goes on, and gets everything of
// another publisher.
func TestScribblingPublisher(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range 3 {
		proctest.Start(t, nil, "scribbling publisher", folder, strconv.Itoa(1000*seed)).Line()
	}
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block})
	if err != nil {
		t.Fatal(err)
	}
	enough, stop := context.WithCancel(background)
	defer stop()
	done := make(chan error)
	go func() {
		for i := uint64(0); enough.Err() == nil; i++ {
			if err := p.Publish(background, message(i, 40)); err != nil {
				done <- err
				return
			}
		}
		done <- p.Publish(background, message(last, 8))
	}()
	var next uint64
	errs := map[string]int{}
	for until := time.Now().Add(20 * time.Second); ; {
		if errs["corrupt"] >= 20 && errs["nonsense"] >= 3 || time.Now().After(until) {
			stop()
		}
		m, err := s.Receive(background)
		var lagged *pubsub.LaggedError
		switch {
		case errors.Is(err, pubsub.ErrCorrupt):
			errs["corrupt"]++
		case errors.As(err, &lagged):
			errs["lagged"]++
		case err != nil:
			t.Fatal(err)
		default:
			switch i, err := number(m.Data); {
			case err == nil && i == last && m.Sequence == next:
				if err := <-done; err != nil {
					t.Error(err)
				}
				if t.Log(next, errs); errs["corrupt"] == 0 || errs["nonsense"] == 0 || next < 1000 {
					t.Error("nobody has scribbled")
				}
				return
			case err != nil || i != next || m.Sequence != next || len(m.Data) != 40:
				errs["nonsense"]++ // of one of the others
			default:
				next++
			}
		}
	}
}

// Memory that is not what it has to be is refused when it comes.
func TestHostileMemory(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	good, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	file := func(size int64) *os.File {
		f, err := os.CreateTemp(folder, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	small, err := memory.Create("small", 4096)
	if err != nil {
		t.Fatal(err)
	}
	large, err := memory.Create("large", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func(r *meet.Remote) error{
		"a file":             func(r *meet.Remote) error { return r.Send(1, aLink(0), file(64<<10)) },
		"too large":          func(r *meet.Remote) error { return r.Send(1, aLink(0), large.File()) },
		"beyond its end":     func(r *meet.Remote) error { return r.Send(1, aLink(4096), small.File()) },
		"far beyond its end": func(r *meet.Remote) error { return r.Send(1, aLink(1<<32-128), small.File()) },
		"not aligned":        func(r *meet.Remote) error { return r.Send(1, aLink(4), small.File()) },
		"no file":            func(r *meet.Remote) error { return r.Send(1, aLink(0)) },
		"a short link":       func(r *meet.Remote) error { return r.Send(1, aLink(0)[:9], small.File()) },
		"another type":       func(r *meet.Remote) error { return r.Send(77, nil) },
		"what we say":        func(r *meet.Remote) error { return r.Send(2, make([]byte, 32), small.File()) },
		"twice": func(r *meet.Remote) error {
			return errors.Join(r.Send(1, aLink(0), small.File()), r.Send(1, aLink(0), small.File()))
		},
	} {
		h, n, err := newHostile(folder, meet.Subscriber)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(<-h.found); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-h.lost:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: it was not dropped", name)
		}
		n.Close()
	}
	if err := p.Publish(background, message(1, 8)); err != nil {
		t.Fatal(err)
	}
	if m, err := good.Receive(background); err != nil || m.Sequence != 0 {
		t.Error(err)
	}
}
