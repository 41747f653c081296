package pubsub

import (
	"time"

	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/internal/wait"
)

// Since when a subscriber is slow its publisher notes, for tools: nobody else has been there
// all the time. It takes no time from messages, which carry none: the publisher's process
// looks now and then, when it looks after those that wait.

// slowness is since when a subscriber is slow.
type slowness struct {
	since    time.Time // zero: it is not
	position uint64    // at the last look
}

// look notes whether it is: it has half of the ring before it or more, or more than it need
// have counted, and has not moved.
func (s *slowness) look(picture ring.Picture, position uint64, now time.Time) {
	behind := picture.Behind(position)
	// Who looks for messages now and then, and does not sleep, stores where it is only after
	// so many, or when it has looked in vain for long.
	slow := behind > ring.Uncounted(picture.Slots) && position == s.position || behind >= uint64(max(picture.Slots/2, 1))
	switch {
	case !slow:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = now
	}
	s.position = position
}

// age returns for how long it is.
func (s *slowness) age(now time.Time) time.Duration {
	if s.since.IsZero() {
		return 0
	}
	return now.Sub(s.since)
}

// timeSubscribers has the subscribers looked at from now on, as long as there are any. The
// caller holds mu.
func (p *Publisher) timeSubscribers() {
	if !p.timing {
		p.timing = true
		wait.AlsoAtRecheck(p.time)
	}
}

// time looks at the subscribers, and says whether to call it again.
func (p *Publisher) time() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.peers) == 0 {
		p.timing = false
		return false
	}
	view, err := ring.NewView(p.memory.Region())
	if err != nil {
		return false
	}
	look := view.Look()
	for _, peer := range p.peers {
		peer.slow.look(look, peer.member.Look().Position, time.Now())
	}
	return true
}
