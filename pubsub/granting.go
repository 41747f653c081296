package pubsub

import (
	"errors"
	"fmt"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/ring"
)

// How subscribers come to a publisher, and go. The calls come from package meet, of
// several peers at once, beside the publishing goroutine.

// granter is a publisher as package meet and its ring see it: these methods are not
// for who has the Publisher.
type granter struct{ *Publisher }

// Found is of [meet.Handler]: a subscriber speaks first.
func (p granter) Found(r *meet.Remote) {
	if r.Role() == meet.Observer {
		p.show(r)
	}
}

// Message is of [meet.Handler].
func (p granter) Message(r *meet.Remote, m *meet.Message) {
	if r.Role() != meet.Subscriber {
		return
	}
	// Whoever comes while this is being closed has done nothing wrong, and is met again.
	if err := p.grant(r, m); err != nil && !errors.Is(err, ErrClosed) {
		p.domain.Node().Drop(r, err)
	}
}

// grant lets a subscriber join, or go that wants no more. An error means that it has said nonsense, or is not
// told what it has to know, if it is not that the publisher is closed.
func (p *Publisher) grant(r *meet.Remote, m *meet.Message) error {
	if m.Type == typeUnlink && len(m.Body) == 0 && len(m.Files) == 0 {
		p.letGo(r) // if it was there
		return nil
	}
	if m.Type != typeLink || len(m.Files) < 1 || len(m.Files) > 2 {
		return fmt.Errorf("%w: message %d with %d files to a publisher", ErrProtocol, m.Type, len(m.Files))
	}
	l, err := decodeLink(m.Body)
	if err != nil {
		return err
	}
	its, err := decodeSettings(r.Settings())
	if err != nil {
		return err
	}
	p.mu.Lock()
	known := p.peers[r] != nil
	p.mu.Unlock()
	if known {
		return fmt.Errorf("%w: a second link", ErrProtocol)
	}
	reason, err := p.unsuited(its, m.Files[1:])
	if reason != "" {
		return p.refuse(r, reason)
	}
	var mem *memory.Memory
	var entry *ring.Entry
	if err == nil {
		mem, entry, err = ring.OpenEntry(m.Files[0], int(l.at))
	}
	for _, f := range m.Files {
		f.Close() // see source.open
	}
	if meet.Starved(err) {
		return p.refuse(r, fmt.Sprintf("the publisher's process cannot have the subscriber's memory: %.1000v", err))
	}
	if err != nil {
		return err
	}
	joined := &peer{remote: r, memory: mem}
	_, err = p.writer.Join(entry, l.use, l.history, l.flags&flagPeeks == 0, func(member *ring.Member, s ring.Start) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		joined.member = member
		// Messages are published meanwhile, and are the subscriber's from LINKED on: it
		// must have all their memory then, if this process dies here.
		for i, c := range p.chunks {
			if err := r.Post(typeChunk, chunk{uint32(i + 1)}.encode(), c.File()); err != nil {
				return err
			}
		}
		if err := r.Post(typeLinked, linked{s, uint64(p.limit)}.encode(), p.memory.File()); err != nil {
			return err
		}
		p.peers[r] = joined
		p.timeSubscribers()
		p.notify()
		return nil
	})
	if err != nil {
		mem.Close()
	}
	return err
}

// Lost is of [meet.Handler].
func (p granter) Lost(r *meet.Remote) {
	p.mu.Lock()
	delete(p.refused, r)
	p.mu.Unlock()
	p.letGo(r)
}

// letGo lets a subscriber go, if it is one.
func (p *Publisher) letGo(r *meet.Remote) {
	p.mu.Lock()
	gone := p.peers[r]
	delete(p.peers, r)
	if gone != nil {
		if p.pending != nil {
			delete(p.pending.told, r)
		}
		p.notify()
		if p.closed {
			// It is not let go: what it has begun to read of a batch it can read to its end. A
			// call in flight still asks what it holds.
			p.parted = append(p.parted, gone.memory)
			gone = nil
		}
	}
	p.mu.Unlock()
	if gone != nil {
		p.writer.Leave(gone.member)
		gone.memory.Close()
	}
}

// Evict is of [ring.Owner].
func (p granter) Evict(m *ring.Member, err error) {
	p.mu.Lock()
	var evicted *meet.Remote
	for r, other := range p.peers {
		if other.member == m {
			evicted = r
		}
	}
	p.mu.Unlock()
	switch {
	case evicted == nil:
	case errors.Is(err, ring.ErrLeft):
		p.letGo(evicted) // it will be heard of; it is not to blame
	default:
		p.domain.Node().Drop(evicted, err)
	}
}

// Grow is of [ring.Owner]: nobody joins meanwhile.
func (p granter) Grow(index, bytes int) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.pending == nil {
		m, err := memory.Create("memlane arena", bytes)
		if err != nil {
			return nil, err
		}
		p.pending = &pending{m, map[*meet.Remote]bool{}}
	}
	// Everybody gets it before a message names it: whoever joins from now on gets
	// it after the others. Of a peer who does not read it waits in the queue.
	for r := range p.peers {
		if p.pending.told[r] {
			continue
		}
		switch err := r.Post(typeChunk, chunk{uint32(index)}.encode(), p.pending.memory.File()); {
		case errors.Is(err, meet.ErrBusy):
			p.domain.Node().Drop(r, err) // for too long: it goes on when it reads again
		case err != nil && !errors.Is(err, meet.ErrGone):
			return nil, fmt.Errorf("announce it: %w", err)
		}
		p.pending.told[r] = true
	}
	m := p.pending.memory
	p.pending = nil
	p.chunks = append(p.chunks, m)
	return m.Region().Bytes(0, m.Region().Len()), nil
}
