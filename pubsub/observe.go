package pubsub

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/observe"
)

// What the two sides tell an observer, when they meet one: see package observe. One
// that does not read is told no more: it is a tool, and asks again. Who has been told all is
// told so, as it would take the beginning for all.

// tellTroubles tells an observer, once for all ports of this process, whom it does not
// exchange messages with any more, last.
func tellTroubles(node *meet.Node, r *meet.Remote) {
	if !r.First() {
		return
	}
	all := slices.DeleteFunc(node.Troubles(), func(t meet.Trouble) bool { return !t.Lasting() })
	for _, t := range all[max(0, len(all)-observe.TroublesMost):] {
		trouble := observe.Trouble{Instance: t.Instance, PID: uint32(t.PID), UID: t.UID, Ago: time.Since(t.At), Reason: fmt.Sprintf("%.1000v", t.Err)}
		if r.Offer(observe.TypeTrouble, trouble.Encode()) != nil {
			return
		}
	}
}

// show tells an observer of the publisher.
func (p *Publisher) show(r *meet.Remote) {
	defer tellTroubles(p.domain.Node(), r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || r.Offer(observe.TypeTopic, observe.Topic{Subscriptions: uint32(len(p.peers))}.Encode(), p.memory.File()) != nil {
		return
	}
	var body []byte
	n := 0
	for other, peer := range p.peers {
		look := peer.member.Look()
		body = observe.AppendMember(body, observe.Member{
			Subscriber: observe.ID(other.Peer().ID(), other.Port()), PID: uint32(other.Peer().PID()),
			Holds: uint16(look.Holds), Asleep: look.Asleep, Peeks: !peer.member.Gates(),
			Position: look.Position, Received: look.Received, Lost: look.Lost, Slow: peer.slow.age(time.Now()),
		})
		if n++; n%observe.MembersMost == 0 || n == len(p.peers) {
			if r.Offer(observe.TypeMembers, body) != nil {
				return
			}
			body = body[:0]
		}
	}
	for other, reason := range p.refused {
		refusal := observe.Refusal{Subscriber: observe.ID(other.Peer().ID(), other.Port()), PID: uint32(other.Peer().PID()), Reason: reason}
		if r.Offer(observe.TypeRefusal, refusal.Encode()) != nil {
			return
		}
	}
}

// show tells an observer of the subscriber.
func (s *Subscriber) show(r *meet.Remote) {
	defer tellTroubles(s.domain.Node(), r)
	s.mu.Lock()
	defer s.mu.Unlock()
	bodies := map[*os.File][]byte{} // by control segment, which has fewer entries than fit
	for _, src := range *s.sources.Load() {
		if src.place == nil {
			continue // closed
		}
		file := src.place.File()
		bodies[file] = observe.AppendEntry(bodies[file], observe.Entry{Publisher: src.id, At: uint32(src.place.Offset()), Peeks: s.config.Peek})
	}
	for file, body := range bodies {
		if r.Offer(observe.TypeEntries, body, file) != nil {
			return
		}
	}
	r.Offer(observe.TypeEntries, nil) // that is all
}
