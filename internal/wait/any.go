package wait

import (
	"context"
	"errors"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

// On is a word to sleep on, and what it was.
type On struct {
	Word *word.Uint32
	Seen uint32
}

// changed says whether it is something else now.
func (o On) changed() bool { return o.Word.Load() != o.Seen }

// ParkAny is [Park] on several words: it sleeps while all of them are as they were
// seen. The slice must not change until it has returned.
func ParkAny(ctx context.Context, on []On, bell *Bell, rung uint32) error {
	if len(on) == 1 {
		return Park(ctx, on[0].Word, on[0].Seen, bell, rung)
	}
	if ctx.Done() != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	backstop.start()
	if len(on) <= sharedMax {
		if s := takeSeat(); s != nil {
			defer s.give()
			err := s.parkAny(ctx, on, bell, rung)
			if !errors.Is(err, syscall.ENOSYS) && !errors.Is(err, syscall.EPERM) {
				return err
			}
			// A sandbox that does not know the call; the shared threads can do
			// without.
		}
	}
	return shared.parkAny(ctx, on, bell, rung)
}

// parkAny sleeps in the seat on several words, and on one of its own, so that it
// can be got out by a change of that.
func (s *seat) parkAny(ctx context.Context, on []On, bell *Bell, rung uint32) error {
	s.mu.Lock()
	s.turn++
	s.word, s.seen, s.bell, s.rung, s.on = &s.called, s.called.Load(), bell, rung, on
	turn := s.turn
	words := append(s.words[:0], sys.NewFutexWaiter(word.Raw(s.word), s.seen))
	for _, o := range on {
		words = append(words, sys.NewFutexWaiter(word.Raw(o.Word), o.Seen))
	}
	s.words = words
	s.mu.Unlock()
	if bell != nil && bell.Rung() != rung {
		s.leave()
		return nil
	}
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() { s.wake(turn) })
	}
	_, err := sys.FutexWaitv(words)
	s.leave()
	stop()
	if ctx.Err() != nil {
		for _, o := range on {
			passOn(o.Word)
		}
		return context.Cause(ctx)
	}
	return unexpected(err)
}

// call gets a waiter on several words out. The caller holds mu.
func (s *seat) call() {
	// SYNC POINT called: the kernel compares it before it puts the waiter to sleep.
	s.called.Add(1)
	futexWake(&s.called, All)
}

// parkAny is [ParkAny] for a waiter without a seat: one for each word, of which the
// first that is let go lets it go.
func (p *pool) parkAny(ctx context.Context, on []On, bell *Bell, rung uint32) error {
	done := &ending{c: make(chan struct{})}
	mine := make([]*waiter, len(on))
	for i, o := range on {
		mine[i] = &waiter{bell: bell, done: done}
		p.add(mine[i], o)
	}
	var err error
	if bell == nil || bell.Rung() == rung {
		select {
		case <-done.c:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	for i := range mine {
		p.remove(mine[i])
		if err != nil {
			passOn(on[i].Word)
		}
	}
	return err
}
