package inspect

import (
	"fmt"
	"slices"
	"sync"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/observe"
	"github.com/memlane/memlane/internal/ring"
)

// Meter counts what is published to a topic from when it was made on, by all publishers,
// also by those that come, and end or are killed, while nobody asks: a publisher that comes
// meets the meter before it publishes, and the meter keeps its memory until it has read the
// last counts in it. All methods may be called at once.
type Meter struct {
	domain *domain.Domain
	port   *meet.Port

	mu      sync.Mutex
	closed  bool
	before  map[uint64]bool   // participants that were publishers when it was made
	met     map[uint64]uint32 // of those, the last of their ports that were met then
	added   bool              // they were, but for those that did not answer
	there   map[*meet.Remote]*metered
	last    map[uint64]Published // by port: of those whose connection was lost, who may be here again
	order   []uint64             // of last, the oldest first
	counted Published            // by those that are gone
}

// Published is how much was published.
type Published struct {
	Messages, Bytes uint64 // in all
}

// minus returns what was added since an earlier count. Somebody broken can count backwards.
func (p Published) minus(earlier Published) Published {
	return Published{p.Messages - min(p.Messages, earlier.Messages), p.Bytes - min(p.Bytes, earlier.Bytes)}
}

// metered is a publisher that is there.
type metered struct {
	id     uint64
	was    bool // there when the meter was made
	memory *memory.Memory
	view   *ring.View // nil before it has sent its segment
	begun  Published  // when it began to be counted
}

func (p *metered) now() Published {
	look := p.view.Look()
	return Published{look.Sequence, look.Bytes}
}

// lastMost is of how many publishers whose connection was lost it is remembered what they had
// counted.
const lastMost = 1 << 12

// NewMeter begins to count. Nobody need take part in the topic yet.
func NewMeter(d *memlane.Domain, topic string) (*Meter, error) {
	m := &Meter{domain: domain.Of(d), before: map[uint64]bool{}, met: map[uint64]uint32{}, there: map[*meet.Remote]*metered{}, last: map[uint64]Published{}}
	list, err := meet.List(d.Folder())
	if err == nil {
		for _, e := range list {
			if e.Kind == meet.Topic && e.Name == topic && e.Role == meet.Publisher {
				m.before[e.Instance] = true
			}
		}
		m.port = &meet.Port{Kind: meet.Topic, Name: topic, Role: meet.Observer, Handler: meterer{m}}
		err = m.domain.Add(m.port)
	}
	m.mu.Lock()
	m.added = true
	m.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("inspect: count what is published to %q: %w", topic, err)
	}
	return m, nil
}

// Published returns what was published so far.
func (m *Meter) Published() Published {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := m.counted
	for _, p := range m.there {
		if p.view != nil {
			sum.add(p.now().minus(p.begun))
		}
	}
	return sum
}

func (p *Published) add(more Published) {
	p.Messages += more.Messages
	p.Bytes += more.Bytes
}

// Close ends it. What it has counted stays as it is. Closing it again does nothing.
func (m *Meter) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	return m.domain.Remove(m.port) // all are lost by that
}

// meterer is a meter as package meet sees it.
type meterer struct{ *Meter }

// Found is of [meet.Handler].
func (m meterer) Found(r *meet.Remote) {
	if r.Role() != meet.Publisher {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id, port := r.Peer().ID(), r.Port()
	was := m.before[id]
	last, met := m.met[id]
	switch {
	case !m.added && was:
		m.met[id] = max(last, port)
	case met && port > last:
		was = false // a further publisher of a participant that had others
	}
	m.there[r] = &metered{id: observe.ID(id, port), was: was}
}

// Message is of [meet.Handler]. Who talks nonsense is not counted.
func (m meterer) Message(r *meet.Remote, msg *meet.Message) {
	if msg.Type != observe.TypeTopic || len(msg.Files) != 1 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.there[r]
	if p == nil || p.view != nil {
		return
	}
	opened, err := memory.Open(msg.Files[0], mostBytes)
	if err != nil {
		return
	}
	view, err := ring.NewView(opened.Region())
	if err != nil {
		opened.Close()
		return
	}
	p.memory, p.view = opened, view
	if last, again := m.last[p.id]; again {
		p.begun = last // its connection was lost
		m.forget(p.id)
	} else if p.was {
		p.begun = p.now()
	}
}

// Lost is of [meet.Handler].
func (m meterer) Lost(r *meet.Remote) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.there[r]
	delete(m.there, r)
	if p == nil || p.view == nil {
		return
	}
	last := p.now()
	m.counted.add(last.minus(p.begun))
	if r.Err() != nil { // else it was closed, and does not come again
		if len(m.order) == lastMost {
			m.forget(m.order[0])
		}
		m.last[p.id] = last
		m.order = append(m.order, p.id)
	}
	p.memory.Close()
}

// forget takes a port out of last. The caller holds mu.
func (m *Meter) forget(id uint64) {
	delete(m.last, id)
	m.order = slices.DeleteFunc(m.order, func(other uint64) bool { return other == id })
}
