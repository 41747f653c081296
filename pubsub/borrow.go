package pubsub

import (
	"context"
	"errors"
	"sync"

	"github.com/memlane/memlane/internal/ring"
)

// Borrowed is a message that is read in place: the publisher does not reuse the
// memory before it is released.
//
// It is somebody else's memory: a publisher that is broken or hostile can change it
// while it is being read. Copy what is checked before it is used, or receive copies.
type Borrowed struct {
	Message
	src    *source
	hold   int
	spares *spares
	spare  ticket // of a message that was copied, whose hold is -1
}

// Release gives the memory back: Data must not be touched any more. Any goroutine
// may call it. Releasing again does nothing, be it a copy that is released.
func (b *Borrowed) Release() {
	if b.src == nil {
		return
	}
	if l := b.src.subscriber.leaks; l != nil {
		l.give(borrowing{b.src, b.hold, b.spare})
	}
	switch {
	case b.hold < 0:
		b.spares.put(b.spare)
	default:
		b.src.reader.Release(b.hold)
		if b.src.left.Load() {
			b.src.subscriber.letGo(b.src)
		}
	}
	*b = Borrowed{}
}

// Borrow is [Subscriber.Receive] that does not copy messages which are in the
// publisher's arena; small ones it copies. Data is good until Release, or until the
// subscriber is closed, whatever else is received meanwhile; but if the connection to a
// publisher that lives is lost, as when one of the two has no descriptors left, it may use
// again what was borrowed of it before.
//
// At most 64 messages of a publisher can be borrowed at once, and an eighth of its
// ArenaLimit, where a message of a batch counts as the whole batch. Beyond that the
// error matches [ErrTooManyHolds], until something is released. A message or a batch
// that is larger than the eighth by itself cannot be borrowed: the error matches
// [ErrTooLargeToBorrow], and the next Receive returns a copy of it. After both errors
// the message is still the next one.
func (s *Subscriber) Borrow(ctx context.Context) (b Borrowed, err error) {
	for looks := 1; ; looks++ {
		if err := cause(ctx); err != nil {
			return b, s.explain(err)
		}
		if err = s.tryBorrow(&b); err != ErrEmpty {
			return b, err
		}
		if looks%ring.LooksOfStream != 0 {
			continue
		}
		if err := s.wait(ctx); err != nil {
			return b, s.explain(err)
		}
	}
}

// TryBorrow is [Subscriber.Borrow] that returns [ErrEmpty], exactly that value, if
// there is no message.
func (s *Subscriber) TryBorrow() (b Borrowed, err error) {
	err = s.tryBorrow(&b)
	return b, err
}

// borrow is ring.Reader.Borrow, but a copy of what is left of a publisher that is gone: it
// may live, and keep nothing for us any more.
func borrow(src *source, buffer []byte) (data []byte, hold int, sequence uint64, err error) {
	if !src.gone.Load() {
		return src.reader.Borrow(buffer)
	}
	data, sequence, err = src.reader.Next(nil)
	if err == nil {
		data = append(buffer, data...)
	}
	return data, -1, sequence, err
}

// tryBorrow fills in b, field by field: a structure of its size that is copied just
// after its fields were stored waits for these stores.
func (s *Subscriber) tryBorrow(b *Borrowed) error {
	if s.unreported.Load() {
		if err := s.refusal(); err != nil {
			return err
		}
	}
	s.current = nil
	sources := *s.sources.Load()
	for range sources {
		src := s.turnTo(sources)
		if src.reader.Quiet() && !src.gone.Load() || s.handOver(src) {
			continue
		}
		spare, buffer := s.spares.get()
		data, hold, sequence, err := borrow(src, buffer)
		if err != nil && err != ErrEmpty && errors.Is(err, ErrTooLargeToBorrow) {
			s.current, s.streak = src, 0 // it is the next one that Receive returns
		}
		if err == nil {
			if hold >= 0 {
				s.spares.put(spare)
			} else {
				s.spares.keep(spare, data)
			}
			if s.closed.Load() {
				return s.explain(ErrClosed) // the memory may have been cut off before
			}
			b.Data, b.Publisher, b.Sequence = data, src.id, sequence
			b.src, b.hold, b.spares, b.spare = src, hold, &s.spares, spare
			if s.leaks != nil {
				s.leaks.take(borrowing{src, hold, spare})
			}
			return nil
		}
		s.spares.put(spare)
		if err = s.ended(src, err); err != nil {
			return err
		}
	}
	if s.closed.Load() {
		return s.explain(ErrClosed)
	}
	return ErrEmpty
}

// spares are buffers for small messages that are borrowed.
type spares struct {
	mu      sync.Mutex
	tickets tickets
	buffers [][]byte // by the tickets' index
}

// get lends a buffer of no bytes, until it is put back.
func (s *spares) get() (ticket, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.tickets.take()
	if k.index == len(s.buffers) {
		s.buffers = append(s.buffers, make([]byte, 0, 128))
	}
	return k, s.buffers[k.index]
}

// keep notes what the buffer has become, which may have had to grow.
func (s *spares) keep(k ticket, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffers[k.index] = b[:0]
}

// put takes a buffer back, once.
func (s *spares) put(k ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets.give(k)
}
