// Package hostile is processes that mean harm, for tests: they know the protocol and the
// layout, and do what they like with their own memory and their sockets. Each function
// goes on until its process is killed, or what it cannot do without fails.
package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/sys"
)

// Peer is a port of a topic that speaks the protocol as far as it likes.
type Peer struct {
	Node    *meet.Node
	Found   chan *meet.Remote
	Message chan uint16 // types of messages
	Lost    chan struct{}
}

// Join has a peer join a topic of the domain whose folder that is.
func Join(folder, topic string, role meet.Role) (*Peer, error) {
	n, err := meet.Open(folder, nil)
	if err != nil {
		return nil, err
	}
	return JoinAs(n, topic, role)
}

// JoinAs is Join of a participant that is there already.
func JoinAs(n *meet.Node, topic string, role meet.Role) (*Peer, error) {
	return JoinWith(n, topic, role, Settings(layout.FormatNone, nil))
}

// JoinWith is JoinAs with settings of one's own.
func JoinWith(n *meet.Node, topic string, role meet.Role, settings []byte) (*Peer, error) {
	p := &Peer{Node: n, Found: make(chan *meet.Remote, 100), Message: make(chan uint16, 100), Lost: make(chan struct{}, 100)}
	return p, n.Add(&meet.Port{Kind: meet.Topic, Name: topic, Role: role, Settings: settings, Handler: handler{p}})
}

// Settings returns the settings of a port with a format: its kind, and its text's hash.
func Settings(kind byte, hash []byte) []byte {
	return append([]byte{2, layout.PolicyDropOldest, kind}, append(hash, make([]byte, 32-len(hash))...)...)
}

// handler is a peer as package meet sees it.
type handler struct{ *Peer }

func (p handler) Found(r *meet.Remote) { post(p.Peer.Found, r) }

func (p handler) Message(_ *meet.Remote, m *meet.Message) { post(p.Peer.Message, m.Type) }

func (p handler) Lost(*meet.Remote) { post(p.Peer.Lost, struct{}{}) }

func post[T any](to chan T, what T) {
	select {
	case to <- what:
	default:
	}
}

// Link returns the body of a LINK: the entry at an offset, no flags, no history, use 0.
func Link(at uint32) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, at), make([]byte, 20)...)
}

// Linked returns the body of a LINKED: a position, a sequence number, how many have left,
// which one the reader is, and the most bytes that the arena can have.
func Linked(words ...uint64) (b []byte) {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// slots is how many slots a publisher's ring has, of 64 bytes.
const slots = 64

// Scribble stores random words at random places. Some are near what was there. What is
// before from, which is looked at once, stays.
func Scribble(r *region.Region, from int, rnd *rand.Rand) {
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
		case 5:
			w.Store(r.Uint64(rnd.IntN(r.Len()/8) * 8).Load())
		case 6, 7:
			// A stamp that somebody may be waiting for, of what was there or a message.
			position := rnd.IntN(8)
			if at = layout.TopicBytes + (slots-1-position)*64; r.Has(at, 8, 8) {
				if rnd.IntN(2) == 0 {
					r.Uint64(at + layout.SlotMetaAt).Store(uint64(rnd.IntN(64))) // a small message
				}
				r.Uint64(at).Store(uint64(position + 1))
			}
		case 8:
			// A tail that is not far.
			r.Uint64(layout.TopicTailAt + rnd.IntN(2)*8).Store(uint64(rnd.IntN(20)))
		}
	}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// ScribblingSubscriber subscribes again and again, and scribbles over its control segment.
func ScribblingSubscriber(folder, topic string, seed uint64) error {
	rnd := random(seed)
	m, err := memory.Create("scribbled", 64<<10)
	if err != nil {
		return err
	}
	go Scribble(m.Region(), 0, random(seed+1))
	for {
		p, err := Join(folder, topic, meet.Subscriber)
		if err != nil {
			return err
		}
		if r := p.meet(); r != nil {
			err := r.Send(1, Link(uint32(rnd.IntN(50))*layout.ReaderBytes/128*128), m.File())
			if err != nil && !errors.Is(err, meet.ErrGone) {
				return err
			}
			p.stay(20 * time.Millisecond) // unless it is evicted
		}
		p.Node.Close()
	}
}

// meet waits until somebody is found; nil if nobody is.
func (p *Peer) meet() *meet.Remote {
	select {
	case r := <-p.Found:
		return r
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}

// stay waits so long, or until the peer is lost, and says whether it is not.
func (p *Peer) stay(d time.Duration) bool {
	select {
	case <-p.Lost:
		return false
	case <-time.After(d):
		return true
	}
}

// topicMemory returns a segment that could be a topic's, with a format.
func topicMemory() (*memory.Memory, error) {
	const text = `{"array":8,"of":"u64"}`
	m, err := memory.Create("scribbled", layout.TopicBytes+slots*64+4096+len(text)+2)
	if err != nil {
		return nil, err
	}
	r := m.Region()
	r.Uint64(layout.TopicMagicAt).Store(layout.TopicMagic)
	r.Uint32(layout.TopicSlotCountAt).Store(slots)
	r.Uint32(layout.TopicSlotBytesAt).Store(64)
	r.Uint32(layout.TopicPolicyAt).Store(layout.PolicyDropOldest)
	r.Uint64(layout.TopicArenaBytesAt).Store(4096)
	r.Uint32(layout.TopicFormatKindAt).Store(layout.FormatSchema)
	r.Uint32(layout.TopicFormatBytesAt).Store(uint32(len(text)))
	copy(r.Bytes(layout.TopicBytes+slots*64+4096, len(text)), text)
	return m, nil
}

// ScribblingPublisher publishes a segment that is all right at first, and scribbles over
// it; again and again.
func ScribblingPublisher(folder, topic string, seed uint64) error {
	rnd := random(seed)
	m, err := topicMemory()
	if err != nil {
		return err
	}
	go Scribble(m.Region(), 128, random(seed+1))
	for {
		p, err := Join(folder, topic, meet.Publisher)
		if err != nil {
			return err
		}
		for r := p.meet(); r != nil; {
			body := Linked(uint64(rnd.IntN(3)), 0, uint64(rnd.IntN(2)), uint64(rnd.IntN(3)), 4096)
			if err := r.Send(2, body, m.File()); err != nil {
				break
			}
			// Once is enough; what comes after that is nonsense for which it is dropped.
			if !p.stay(time.Duration(rnd.IntN(20)) * time.Millisecond) {
				break
			}
		}
		p.Node.Close()
	}
}

// Liar joins a topic in one role or the other, and sends messages of all types with
// memory that is not what it has to be: files, unsealed, short, too large, of the wrong
// type, or that of which it has sent before.
func Liar(folder, topic string, seed uint64) error {
	rnd := random(seed)
	var files []*os.File
	for _, size := range []int{64, 4096, 64 << 10, 1 << 20} {
		m, err := memory.Create("small", size)
		if err != nil {
			return err
		}
		files = append(files, m.File())
		// The same without seals, and sparse.
		fd, err := sys.Memfd("unsealed", 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "unsealed")
		if err := f.Truncate(int64(size)); err != nil {
			return err
		}
		files = append(files, f)
	}
	whole, err := topicMemory()
	if err != nil {
		return err
	}
	files = append(files, whole.File())
	for {
		n, err := meet.Open(folder, nil)
		if err != nil {
			return err
		}
		settings := Settings(layout.FormatNone, nil)
		if kind := byte(rnd.IntN(4)); kind != layout.FormatNone {
			settings = Settings(kind, []byte{byte(rnd.Uint32())})
		}
		p, err := JoinWith(n, topic, meet.Role(1+rnd.IntN(3)), settings)
		if err != nil {
			return err
		}
		if r := p.meet(); r != nil {
			for range 1 + rnd.IntN(20) {
				body := make([]byte, []int{0, 4, 8, 24, 32, 40, rnd.IntN(3000)}[rnd.IntN(7)])
				for i := range body {
					if rnd.IntN(4) == 0 {
						body[i] = byte(rnd.Uint32())
					}
				}
				var with []*os.File
				for range rnd.IntN(3) {
					with = append(with, files[rnd.IntN(len(files))])
				}
				if err := r.Send(uint16(rnd.IntN(15)), body, with...); err != nil {
					break
				}
			}
			p.stay(time.Duration(rnd.IntN(5)) * time.Millisecond)
		}
		p.Node.Close()
	}
}

// errNobody: the folder has no sockets yet.
var errNobody = fmt.Errorf("nobody is there: %w", os.ErrNotExist)
