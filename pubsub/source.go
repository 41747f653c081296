package pubsub

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/observe"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/segment"
)

// source is a publisher that a subscriber receives from.
type source struct {
	remote *meet.Remote
	id     uint64
	place  *ring.Place
	entry  *ring.Entry // the place's

	// Once the publisher has granted it.
	memory *memory.Memory
	reader *ring.Reader

	subscriber *Subscriber
	left       atomic.Bool // nothing is received of it any more; what is borrowed is
	closed     bool        // guarded by the subscriber's mu

	gone    atomic.Bool // it publishes no more, or what it does is not to be had
	drained bool        // its ring was empty after that; of the receiving goroutine

	all    bool // it came after the subscriber, whose all of its messages are
	missed bool // it was there when the subscriber came, and could not be met then

	chunks chunks
	quota  int64 // bytes that it may yet have mapped; of the connection's goroutine
}

// chunks are the further ones of a publisher's arena.
type chunks struct {
	mu      sync.Mutex
	memory  map[int]*memory.Memory
	arrived chan struct{} // closed when one comes, or none will any more
	over    bool
	why     error // of over, if it is this process that could not have more
}

// A message waits for the chunk that it is in so many times so long. It was sent before
// the message was published, so that nothing is missing but that our own goroutine reads
// it. If the process is stopped meanwhile, that is one time, however long it takes.
const (
	chunkTimes = 100
	chunkTime  = 100 * time.Millisecond
)

// get returns a chunk, for [ring.NewReader].
func (c *chunks) get(i int) ([]byte, error) {
	for times := 0; ; {
		c.mu.Lock()
		m, over, why, arrived := c.memory[i], c.over, c.why, c.arrived
		c.mu.Unlock()
		switch {
		case m != nil:
			return m.Region().Bytes(0, m.Region().Len()), nil
		case why != nil:
			return nil, why
		case over && i < ring.ChunksMax:
			// It came to nobody, because the connection was gone before; whoever is to blame.
			return nil, fmt.Errorf("%w: a message in chunk %d of the arena", errUnsent, i)
		case over || i >= ring.ChunksMax:
			return nil, fmt.Errorf("%w: a message in chunk %d of the arena, which was never sent", ErrCorrupt, i)
		}
		if times == chunkTimes {
			return nil, fmt.Errorf("%w: chunk %d of the arena has not come in %v", ErrCorrupt, i, chunkTimes*chunkTime)
		}
		select {
		case <-arrived:
		case <-time.After(chunkTime):
			times++
		}
	}
}

// errUnsent is that a publisher went on when nobody was connected to it any more.
var errUnsent = errors.New("what a publisher has sent after the connection was lost has not come")

// put adds a chunk.
func (c *chunks) put(i int, m *memory.Memory) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memory[i] != nil {
		return fmt.Errorf("%w: chunk %d of the arena once more", ErrProtocol, i)
	}
	c.memory[i] = m
	c.tell()
	return nil
}

// end says that no more will come; why, if it is this process that could not have them.
func (c *chunks) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.why == nil {
		c.why = why
	}
	c.tell()
}

// tell has who waits look again. The caller holds mu.
func (c *chunks) tell() {
	close(c.arrived)
	c.arrived = make(chan struct{})
}

// ending returns the error of end.
func (c *chunks) ending() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// close ends the use of the source. The receiving goroutine may still be using it. The
// caller holds the subscriber's mu.
func (src *source) close(d *domain.Domain) {
	if src.closed {
		return
	}
	src.closed = true
	if src.reader != nil {
		src.reader.Abandon() // before another has the place
	}
	if src.place != nil {
		d.Control().Give(src.place)
		src.place = nil
	}
	src.remote.Post(typeUnlink, nil) // if it is there still, because this was not its end
	if src.memory != nil {
		src.memory.Close()
	}
	src.chunks.end(nil)
	src.chunks.mu.Lock()
	defer src.chunks.mu.Unlock()
	for _, m := range src.chunks.memory {
		m.Close()
	}
}

// asker is a subscriber as package meet sees it: these methods are not for who has the
// Subscriber.
type asker struct{ *Subscriber }

// Found is of [meet.Handler]: it asks a publisher for its messages.
func (s asker) Found(r *meet.Remote) {
	switch r.Role() {
	case meet.Observer:
		s.show(r)
	case meet.Publisher:
		s.begin(r)
	}
}

// begin asks a publisher for its messages; or has remove do so, if it was here before,
// and what it published then is still being received.
func (s *Subscriber) begin(r *meet.Remote) {
	id := observe.ID(r.Peer().ID(), r.Port())
	s.mu.Lock()
	before := slices.ContainsFunc(*s.sources.Load(), func(src *source) bool { return src.id == id })
	if before {
		s.again[id] = r
	}
	given := slices.Contains(s.given, id)
	s.mu.Unlock()
	if before || given {
		return
	}
	err := s.ask(r, id)
	if err == nil {
		return
	}
	starved := meet.Starved(err) || errors.Is(err, meet.ErrBusy)
	gone := errors.Is(err, meet.ErrGone)
	s.mu.Lock()
	if src := s.known[r]; src != nil {
		delete(s.known, r)
		src.close(s.domain)
	}
	switch {
	case starved:
		s.report(missed(r, err)) // it is not to blame, and other topics go on
	case !gone:
		s.failed = append(s.failed, err)
	}
	s.change(*s.sources.Load())
	s.mu.Unlock()
	if !starved && !gone {
		s.domain.Node().Drop(r, err)
	}
}

// where is where a publisher was whose connection was lost.
type where struct {
	id uint64
	at ring.Start
}

// whereWas returns the index of that in until; -1 if it is not there. The caller holds mu.
func (s *Subscriber) whereWas(id uint64) int {
	return slices.IndexFunc(s.until, func(w where) bool { return w.id == id })
}

func (s *Subscriber) ask(r *meet.Remote, id uint64) error {
	its, err := decodeSettings(r.Settings())
	if err != nil {
		return err
	}
	place, err := s.domain.Control().Take()
	if err != nil {
		return err
	}
	src := &source{remote: r, id: id, place: place, entry: place.Entry, subscriber: s, quota: s.config.Quota,
		chunks: chunks{memory: map[int]*memory.Memory{}, arrived: make(chan struct{})}}
	l := link{at: uint32(place.Offset()), history: uint64(s.config.History), use: place.Entry.Use()}
	if s.config.Peek {
		l.flags |= flagPeeks
	}
	s.mu.Lock()
	s.known[r] = src
	switch {
	case s.whereWas(id) >= 0:
		l.history = math.MaxUint64 // what was published meanwhile too
	case s.forgotten && r.Again(): // where it was is not known any more
	case !s.port.Saw(r.Peer().ID()):
		// It has come later: all that it has published is this subscriber's, also what was
		// published before the two could meet.
		src.all, l.history = true, math.MaxUint64
	case r.Again() || r.Late():
		src.missed = true
	}
	s.mu.Unlock()
	files := []*os.File{place.File()}
	if its.differ(settingsOf(0, s.format)) {
		// So that the publisher can say what the difference is.
		text, err := textMemory(s.format.Text)
		if err != nil {
			return err
		}
		defer text.Close()
		files = append(files, text.File())
	}
	return r.Post(typeLink, l.encode(), files...)
}

// Message is of [meet.Handler].
func (s asker) Message(r *meet.Remote, m *meet.Message) {
	s.mu.Lock()
	src := s.known[r]
	s.mu.Unlock()
	if src == nil {
		return
	}
	err := s.hear(src, m)
	switch {
	case err == nil:
	case errors.Is(err, segment.ErrQuota), meet.Starved(err):
		s.giveUp(src, err)
	default:
		s.domain.Node().Drop(r, err)
	}
}

// giveUp ends a source of which this process cannot have more: what is there is drained.
// Other topics of its process go on.
func (s *Subscriber) giveUp(src *source, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, src.remote)
	if len(s.given) == untilMost {
		s.given = slices.Delete(s.given, 0, 1)
	}
	s.given = append(s.given, src.id)
	s.over(src, missed(src.remote, why))
}

// over says that no more comes of a source, and why, if that is to be reported. The caller
// holds mu.
func (s *Subscriber) over(src *source, why error) {
	if src.reader != nil {
		// The receiving goroutine drains it, and reports why.
		src.chunks.end(why)
		src.gone.Store(true)
	} else {
		src.close(s.domain)
		if why != nil {
			s.report(why)
		}
	}
	s.change(*s.sources.Load())
}

// open maps memory of the publisher's, and closes its file: a descriptor is one less for
// others as long as it is open, and whoever sees what comes of it may need one.
func (src *source) open(f *os.File) (*memory.Memory, error) {
	m, err := memory.Open(f, src.quota)
	f.Close()
	if err == nil {
		src.quota -= int64(m.Region().Len())
	}
	return m, err
}

// hear handles what a publisher sends. An error means that it was nonsense, or that
// this process cannot have the memory.
func (s *Subscriber) hear(src *source, m *meet.Message) error {
	switch {
	case m.Type == typeLinked && len(m.Files) == 1 && src.reader == nil:
		l, err := decodeLinked(m.Body)
		if err != nil {
			return err
		}
		mem, err := src.open(m.Files[0])
		if err != nil {
			return err
		}
		reader, err := ring.NewReader(mem.Region(), src.entry, l.start, int(l.arena), src.chunks.get)
		if err != nil {
			mem.Close()
			return err
		}
		s.mu.Lock()
		if i := s.whereWas(src.id); i >= 0 {
			reader.Continue(s.until[i].at)
			s.until = slices.Delete(s.until, i, i+1)
		} else if src.all {
			reader.Continue(ring.Start{}) // what the ring does not have any more is lost
		} else if src.missed && l.start.Sequence > 0 {
			s.report(fmt.Errorf("%w (%s)", ErrMissed, process(src.remote)))
		}
		src.memory, src.reader = mem, reader
		s.change(append(slices.Clone(*s.sources.Load()), src))
		s.mu.Unlock()
		return nil
	case m.Type == typeChunk && len(m.Files) == 1:
		c, err := decodeChunk(m.Body)
		if err != nil {
			return err
		}
		mem, err := src.open(m.Files[0])
		if err != nil {
			return err
		}
		if err = src.chunks.put(int(c.index), mem); err != nil {
			mem.Close()
		}
		return err
	case m.Type == typeRefused && src.reader == nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.known, src.remote)
		s.refuse(src.remote, m.Body)
		s.change(*s.sources.Load())
		src.close(s.domain)
		return nil
	}
	return fmt.Errorf("%w: message %d with %d files to a subscriber", ErrProtocol, m.Type, len(m.Files))
}

// change has the receiving goroutine, and Subscribe, look again. The caller holds mu.
func (s *Subscriber) change(sources []*source) {
	s.sources.Store(&sources)
	close(s.news)
	s.news = make(chan struct{})
	s.ring()
}

// Lost is of [meet.Handler].
func (s asker) Lost(r *meet.Remote) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.again, func(_ uint64, other *meet.Remote) bool { return other == r })
	src := s.known[r]
	if src == nil {
		return
	}
	delete(s.known, r)
	var why error
	if err := r.Err(); meet.Starved(err) || errors.Is(err, meet.ErrStarved) {
		why = fmt.Errorf("%w (%s): %w", errLost, process(r), err)
	}
	s.over(src, why)
}

// remove forgets a source that has nothing more. It is for the receiving goroutine.
func (s *Subscriber) remove(src *source) {
	if r := s.forget(src); r != nil {
		s.begin(r)
	}
}

// handOver has a publisher that is here again take the place of the source that it was
// before, between two messages, and says whether it did. That source may never be drained:
// the publisher lives, and writes into the same ring as before; and while this is no
// subscriber of its, it waits for nobody here.
func (s *Subscriber) handOver(src *source) bool {
	if !src.gone.Load() || src.reader.Within() {
		return false
	}
	s.mu.Lock()
	here := s.again[src.id] != nil
	s.mu.Unlock()
	if here {
		s.remove(src)
	}
	return here
}

// forget is remove that returns the source's publisher, if it is here again.
func (s *Subscriber) forget(src *source) *meet.Remote {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := *s.sources.Load()
	after := slices.DeleteFunc(slices.Clone(before), func(other *source) bool { return other == src })
	if len(after) < len(before) { // Close has not been here
		received, lost := src.reader.Counts()
		s.past.Received += received
		s.past.Lost += lost
		s.sources.Store(&after)
		s.kept = append(s.kept, src)
		if src.remote.Err() != nil {
			// The connection was lost: it may come again.
			if len(s.until) == untilMost {
				s.until = slices.Delete(s.until, 0, 1)
				s.forgotten = true
			}
			s.until = append(s.until, where{src.id, src.reader.Where()})
		}
	}
	src.left.Store(true)
	s.close(src)
	r := s.again[src.id]
	delete(s.again, src.id)
	return r
}

// letGo forgets a source of which nothing is received any more, if that was the last
// of it that was borrowed.
func (s *Subscriber) letGo(src *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(src)
}

// close closes a source that has been removed, unless something of it is borrowed: then
// its memory, and the words that say so, are needed still. The caller holds mu.
func (s *Subscriber) close(src *source) {
	if i := slices.Index(s.kept, src); i >= 0 && !src.reader.Holds() {
		s.kept = slices.Delete(s.kept, i, i+1)
		src.close(s.domain)
	}
}
