package pubsub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/internal/wait"
)

// Member is what can be in a [Group]: a *Subscriber, or a *SubscriberOf any type.
type Member interface{ member() *Subscriber }

func (s *Subscriber) member() *Subscriber { return s }

func (s *SubscriberOf[T]) member() *Subscriber { return s.bytes }

// Group is several subscribers, of any topics and domains, that one goroutine waits for. It
// is for that goroutine, as its members are while they are in it; Close of a member may be
// called at any time.
//
// It sleeps on the memory of all publishers of its members, with one system call as long as
// they are 127 at most; with more each sleep costs about a microsecond for each of them, so
// that thousands of topics are better served by a goroutine each, which costs no thread.
type Group struct {
	members []*Subscriber
	ended   []bool    // of the members: it was closed, and that was told
	open    int       // members that have not ended
	turn    int       // which is asked first
	bell    wait.Bell // rung when sources of a member change, or one is closed
	spinner wait.Spinner
	on      []wait.On
	looked  [][]*source // that are slept on, by member
}

// NewGroup returns a group of subscribers. One that is in another group, or twice in this, is
// an error that matches os.ErrInvalid. The group need not be closed: it ends with its members,
// or with [Group.Leave].
func NewGroup(members ...Member) (*Group, error) {
	g := &Group{}
	for _, m := range members {
		s := m.member()
		if !s.group.CompareAndSwap(nil, g) {
			g.Leave()
			return nil, &Error{"wait for", s.topic, fmt.Errorf("%w: it is in a group already", os.ErrInvalid), "leave that one first"}
		}
		g.members = append(g.members, s)
	}
	g.looked, g.ended, g.open = make([][]*source, len(g.members)), make([]bool, len(g.members)), len(g.members)
	return g, nil
}

// Leave takes all members out of the group, which is empty then.
func (g *Group) Leave() {
	for _, s := range g.members {
		s.group.Store(nil)
	}
	g.members, g.looked, g.ended, g.open = nil, nil, nil, 0
}

// Wait waits until a member may have something: a message, a loss or an error, which its
// TryReceive or TryBorrow returns; or until the context ends, whose cause the error matches.
// It can return early, so it is called in a loop, after all members had nothing more. That
// one was closed is something too, until [Group.TryReceive] has said so; if all were, the
// error matches [ErrClosed].
func (g *Group) Wait(ctx context.Context) error {
	if err := cause(ctx); err != nil {
		return g.explain(err)
	}
	if g.open == 0 {
		return g.explain(ErrClosed)
	}
	rung := g.bell.Rung()
	g.on = g.on[:0]
	for i, s := range g.members {
		if g.ended[i] {
			g.looked[i] = nil
			continue
		}
		g.looked[i] = *s.sources.Load()
		if s.closed.Load() || s.unreported.Load() {
			return nil
		}
		g.on = stamps(g.looked[i], g.on)
	}
	if len(g.on) > 0 && g.spinner.SpinAny(g.on) {
		return nil
	}
	g.on = g.on[:0]
	ready := false
	asleep := 0
	for ; asleep < len(g.members) && !ready; asleep++ {
		g.on, ready = sleep(g.looked[asleep], g.on)
	}
	var err error
	switch {
	case ready:
	case len(g.on) == 0:
		err = g.bell.Wait(ctx, rung) // nobody publishes yet
	default:
		err = wait.ParkAny(ctx, g.on, &g.bell, rung)
	}
	for _, sources := range g.looked[:asleep] {
		awake(sources)
	}
	return g.explain(err)
}

func (g *Group) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("pubsub: wait for %d subscribers: %w", len(g.members), err)
}

// Receive returns the next message of any member, in turns, and which member that is, in
// the order of NewGroup; it waits for it until the context ends. Data is good until the next
// call. Errors are those of [Subscriber.Receive] of that member, or of [Group.Wait], for which
// the member is -1. That a member was closed is told once.
func (g *Group) Receive(ctx context.Context) (member int, m Message, err error) {
	for looks := 1; ; looks++ {
		if err := cause(ctx); err != nil {
			return -1, Message{}, g.explain(err)
		}
		if member, m, err = g.TryReceive(); err != ErrEmpty {
			return member, m, err
		}
		if looks%ring.LooksOfStream != 0 {
			continue
		}
		if err := g.Wait(ctx); err != nil {
			return -1, Message{}, err
		}
	}
}

// TryReceive is [Group.Receive] that returns [ErrEmpty], exactly that value, if no member has
// a message.
func (g *Group) TryReceive() (member int, m Message, err error) {
	for range g.members {
		if g.turn >= len(g.members) {
			g.turn = 0
		}
		member = g.turn
		g.turn++
		if g.ended[member] {
			continue
		}
		if m, err = g.members[member].TryReceive(); err == ErrEmpty {
			continue
		}
		if err != nil && errors.Is(err, ErrClosed) {
			g.ended[member] = true
			g.open--
		}
		return member, m, err
	}
	if g.open == 0 {
		return -1, Message{}, g.explain(ErrClosed)
	}
	return -1, Message{}, ErrEmpty
}

// Received is a message, and which member of a group has received it.
type Received struct {
	Member int // in the order of NewGroup; -1 of an error of the whole group
	Message
}

// All returns the messages of all members as they come, until the context ends, or all members
// were closed: that error is the last that it yields. After others it goes on.
func (g *Group) All(ctx context.Context) iter.Seq2[Received, error] {
	return func(yield func(Received, error) bool) {
		for {
			member, m, err := g.Receive(ctx)
			if !yield(Received{member, m}, err) || member < 0 {
				return
			}
		}
	}
}
