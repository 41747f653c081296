package ring

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/memory"
)

const (
	controlBytes = 64 << 10
	// colours is at how many places the first entry can be.
	colours = 8
	entries = (controlBytes - (colours-1)*layout.ReaderAlign) / layout.ReaderBytes
)

// Control is where a process says what its readers do: segments that it alone
// writes, with an [Entry] for each. Its methods may be called at once.
//
// Writers look at one word of each of their readers after every message. So that
// these words of a hundred processes do not all lie in the same few sets of the
// processor's caches, entries have an odd number of pairs of lines between them, and
// the first of them is somewhere else in every segment.
type Control struct {
	mu       sync.Mutex
	segments []*memory.Memory
	free     []spot
	given    int // spots that nobody uses and that are not known to be unreachable
	closed   bool
}

// spot is where an entry lies.
type spot struct {
	segment *memory.Memory
	at      int
}

// Place is an entry in use.
type Place struct {
	control *Control
	spot    spot

	// Entry is the entry, all clear.
	Entry *Entry
}

// File returns the descriptor of the segment that the entry is in.
func (p *Place) File() *os.File { return p.spot.segment.File() }

// Offset returns where the entry is in it.
func (p *Place) Offset() int { return p.spot.at }

// Take returns an entry that nobody uses.
func (p *Control) Take() (*Place, error) {
	p.mu.Lock()
	if len(p.free) == 0 && p.given > entries/2 {
		// Many have been given back, and it is only not known yet.
		p.mu.Unlock()
		runtime.GC()
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if len(p.free) == 0 {
		m, err := memory.Create("memlane control", controlBytes)
		if err != nil {
			return nil, fmt.Errorf("a segment for subscriptions: %w", err)
		}
		p.segments = append(p.segments, m)
		first := rand.IntN(colours) * layout.ReaderAlign
		for i := range entries {
			p.free = append(p.free, spot{m, first + i*layout.ReaderBytes})
		}
	}
	last := len(p.free) - 1
	s := p.free[last]
	e, err := EntryAt(s.segment.Region(), s.at)
	if err != nil {
		return nil, err
	}
	p.free = p.free[:last]
	e.Clear()
	return &Place{p, s, e}, nil
}

// Give gives a place back. A goroutine may still be using its entry: it is given to
// somebody else only when the garbage collector has found that nobody can. So
// whoever uses the entry keeps it, and not its words alone.
func (p *Control) Give(place *Place) {
	p.mu.Lock()
	p.given++
	p.mu.Unlock()
	runtime.AddCleanup(place.Entry, func(s spot) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.given--
		p.free = append(p.free, s)
	}, place.spot)
	place.Entry = nil
}

// Close ends all entries.
func (p *Control) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, m := range p.segments {
		m.Close()
	}
}

// OpenEntry returns the entry of another process at an offset of the segment that
// it has sent, and the memory, which is closed when the entry is not needed any more.
func OpenEntry(f *os.File, at int) (*memory.Memory, *Entry, error) {
	m, err := memory.Open(f, controlBytes)
	if err != nil {
		return nil, nil, err
	}
	e, err := EntryAt(m.Region(), at)
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return m, e, nil
}
