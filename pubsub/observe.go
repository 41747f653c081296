package pubsub

import (
	"fmt"
	"os"
	"time"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/observe"
)

// What the two sides tell an observer, when they meet one: see package observe. One
// that does not read is told no more: it is a tool, and asks again.

// tellTroubles tells an observer with whom this process has had trouble, last.
func tellTroubles(node *meet.Node, r *meet.Remote) {
	all := node.Troubles()
	for _, t := range all[max(0, len(all)-observe.TroublesMost):] {
		trouble := observe.Trouble{Instance: t.Instance, PID: uint32(t.PID), UID: t.UID, Ago: time.Since(t.At), Reason: fmt.Sprintf("%.1000v", t.Err)}
		if r.Send(observe.TypeTrouble, trouble.Encode()) != nil {
			return
		}
	}
}

// show tells an observer of the publisher.
func (p *Publisher) show(r *meet.Remote) {
	defer tellTroubles(p.domain.Node(), r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || r.Send(observe.TypeTopic, observe.Topic{Subscriptions: uint32(len(p.peers))}.Encode(), p.memory.File()) != nil {
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
			if r.Send(observe.TypeMembers, body) != nil {
				return
			}
			body = body[:0]
		}
	}
	for other, reason := range p.refused {
		refusal := observe.Refusal{Subscriber: observe.ID(other.Peer().ID(), other.Port()), PID: uint32(other.Peer().PID()), Reason: reason}
		if r.Send(observe.TypeRefusal, refusal.Encode()) != nil {
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
		if r.Send(observe.TypeEntries, body, file) != nil {
			return
		}
	}
}
