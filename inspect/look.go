package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/format"
	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/observe"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
)

// Snapshot is what a topic looked like at some moment.
type Snapshot struct {
	Topic      string      // its name
	At         time.Time   // the moment
	Publishers []Publisher // by ID
	// Waiting are subscribers without any publisher, not even one that refuses them.
	Waiting []Subscriber
	// Silent are participants that did not answer. They are stopped, or were about to
	// end.
	Silent []Silent
	// Troubles are what those who answer have had with others of the domain, also about
	// other topics: the last ones of each.
	Troubles []Trouble
}

// Trouble is that a participant has dropped another one, for what that has sent, or has
// not accepted it, or was treated so by it. They do not exchange messages any more.
type Trouble struct {
	ID, With     uint64        // of the participants; With 0: it did not say
	PID, PIDWith int           // of their processes, the second as the first knows it; 0: unknown
	UIDWith      int           // the second one's user
	Ago          time.Duration // since then
	Reason       string        // in the first one's words
}

// Publisher is one of the topic's.
type Publisher struct {
	ID            uint64         // see pubsub.Message
	PID           int            // in our PID namespace; 0: unknown
	Policy        pubsub.Policy  // what happens when a subscriber is slow
	Slots         int            // how many messages or batches the ring has
	SlotBytes     int            // of each
	ArenaBytes    uint64         // of larger messages and batches
	Published     uint64         // messages
	Bytes         uint64         // of those, and perhaps of one that is just being published
	Waiting       bool           // it waits for a subscriber just now
	Blocked       uint64         // how often it has had to
	Wakes         uint64         // how often it asked the kernel to wake subscribers
	Evicted       uint64         // subscribers that were let go because their words made no sense
	Schema        *schema.Schema // of its messages, which can be decoded by it; nil: it has none, or says nonsense
	ContentType   string         // of its messages; "": it has none
	Subscriptions []Subscription // by the subscriber's ID
	Refused       []Refusal      // by the subscriber's ID
}

// Subscriber is one of the topic's.
type Subscriber struct {
	ID  uint64 // no other participant's port has it
	PID int    // in our PID namespace; 0: unknown
}

// HoldsMost is how many messages of a publisher a subscriber can have borrowed.
const HoldsMost = layout.ReaderHoldsCount

// Subscription is a subscriber of a publisher's.
type Subscription struct {
	Subscriber
	Peeks    bool   // a publisher that blocks does not wait for it
	Silent   bool   // it did not answer, and this is what its publisher knows of it
	Received uint64 // messages
	Lost     uint64 // messages
	Lag      uint64 // messages that are before it, those that it will find lost not counted
	Behind   uint64 // slots that are before it: a whole ring is what there can be
	Dropped  uint64 // slots that were dropped before it came to them: messages or batches that it will find lost
	Asleep   bool   // until there is a message
	Holds    int    // messages that it has borrowed
	// Slow is for how long it has been so, as its publisher has seen, which looks every few
	// seconds: that half of the ring or more was before it, or something, and it did not move.
	Slow time.Duration
}

// Refusal is a subscriber that a publisher refuses, because it wants messages of another
// schema or content type: it gets none.
type Refusal struct {
	Subscriber
	Reason string // in the publisher's words
}

// Silent is a participant that did not answer.
type Silent struct {
	Role string // "publisher" or "subscriber"
	PID  int    // in our PID namespace; 0: unknown
}

// ErrNobody: nobody takes part in the topic. It matches fs.ErrNotExist.
var ErrNobody error = nobody{}

type nobody struct{}

func (nobody) Error() string { return "nobody takes part in it" }

// Is says that it matches fs.ErrNotExist.
func (nobody) Is(target error) bool { return target == fs.ErrNotExist }

// Look looks at a topic. Those who do not answer within 100 ms, or a second if they are
// seen to be running, are listed as such.
// Errors match [ErrNobody].
func Look(d *memlane.Domain, topic string) (*Snapshot, error) {
	fail := func(err error) (*Snapshot, error) { return nil, fmt.Errorf("inspect: look at %q: %w", topic, err) }
	o := &observer{seen: map[*meet.Remote]*seen{}}
	defer o.close()
	port := &meet.Port{Kind: meet.Topic, Name: topic, Role: meet.Observer, Brief: true, Handler: o}
	inside := domain.Of(d)
	if err := inside.Add(port); err != nil {
		return fail(err)
	}
	list, err := meet.List(d.Folder())
	pending := inside.Node().Pending()
	s := o.snapshot(topic)
	// Nobody calls the handler after this, so that its memory can be closed.
	if err := errors.Join(err, inside.Remove(port)); err != nil {
		return fail(err)
	}
	for _, e := range list {
		if e.Kind != meet.Topic || e.Name != topic || e.Role == meet.Observer || e.State != meet.Alive || o.answered[answer{e.Instance, e.Role}] {
			continue
		}
		silent := Silent{Role: e.Role.String()}
		for _, w := range pending {
			if w.Instance == e.Instance {
				silent.PID = w.PID
			}
		}
		s.Silent = append(s.Silent, silent)
	}
	if len(s.Publishers)+len(s.Waiting)+len(s.Silent) == 0 {
		return fail(ErrNobody)
	}
	return s, nil
}

// observer is the port that looks.
type observer struct {
	mu       sync.Mutex
	seen     map[*meet.Remote]*seen
	answered map[answer]bool
}

// answer is a side of a participant's.
type answer struct {
	instance uint64
	role     meet.Role
}

// seen is a port of the topic's.
type seen struct {
	role     meet.Role
	pid      int
	id       uint64
	instance uint64
	troubles []observe.Trouble

	// Of a publisher.
	memory  *memory.Memory
	view    *ring.View
	members []observe.Member
	refused []observe.Refusal

	// Of a subscriber.
	complete bool // it has told all
	controls []*memory.Memory
	entries  map[uint64]entry // by publisher
}

type entry struct {
	*ring.Entry
	peeks bool
}

// Found is of [meet.Handler].
func (o *observer) Found(r *meet.Remote) {
	o.mu.Lock()
	defer o.mu.Unlock()
	peer := r.Peer()
	o.seen[r] = &seen{role: r.Role(), pid: peer.PID(), id: observe.ID(peer.ID(), r.Port()), instance: peer.ID(), entries: map[uint64]entry{}}
}

// Message is of [meet.Handler].
func (o *observer) Message(r *meet.Remote, m *meet.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// Who talks nonsense is not listened to; it is nobody's concern but ours.
	if s := o.seen[r]; s != nil && s.hear(m) != nil {
		delete(o.seen, r)
		s.close()
	}
}

// Lost is of [meet.Handler].
func (o *observer) Lost(*meet.Remote) {}

// mostBytes bounds what is mapped of somebody. Only few pages of it are looked at.
const mostBytes = 1 << 40

// hear handles what a port tells. An error means that it was nonsense.
func (s *seen) hear(m *meet.Message) error {
	switch {
	case s.role == meet.Publisher && m.Type == observe.TypeTopic && len(m.Files) == 1 && s.view == nil:
		_, err := observe.DecodeTopic(m.Body)
		if err != nil {
			return err
		}
		if s.memory, err = memory.Open(m.Files[0], mostBytes); err != nil {
			return err
		}
		s.view, err = ring.NewView(s.memory.Region())
		return err
	case s.role == meet.Publisher && m.Type == observe.TypeMembers && len(m.Files) == 0:
		members, err := observe.DecodeMembers(m.Body)
		if err == nil && len(s.members)+len(members) > membersMost {
			err = fmt.Errorf("%w: more than %d members", observe.ErrProtocol, membersMost)
		}
		s.members = append(s.members, members...)
		return err
	case s.role == meet.Publisher && m.Type == observe.TypeRefusal && len(m.Files) == 0 && len(s.refused) < refusalsMost:
		r, err := observe.DecodeRefusal(m.Body)
		s.refused = append(s.refused, r)
		return err
	case s.role != meet.Observer && m.Type == observe.TypeTrouble && len(m.Files) == 0 && len(s.troubles) < observe.TroublesMost:
		t, err := observe.DecodeTrouble(m.Body)
		s.troubles = append(s.troubles, t)
		return err
	case s.role == meet.Subscriber && m.Type == observe.TypeEntries && len(m.Files) == 0 && len(m.Body) == 0:
		s.complete = true
		return nil
	case s.role == meet.Subscriber && m.Type == observe.TypeEntries && len(m.Files) == 1 && len(s.controls) < controlsMost:
		list, err := observe.DecodeEntries(m.Body)
		if err != nil {
			return err
		}
		control, err := memory.Open(m.Files[0], mostBytes)
		if err != nil {
			return err
		}
		s.controls = append(s.controls, control)
		for _, e := range list {
			at, err := ring.EntryAt(control.Region(), int(e.At))
			if err != nil {
				return err
			}
			s.entries[e.Publisher] = entry{at, e.Peeks}
		}
		return nil
	}
	return fmt.Errorf("%w: message %d with %d files from a %v", observe.ErrProtocol, m.Type, len(m.Files), s.role)
}

// The most that one port can tell.
const (
	membersMost  = 1 << 16
	controlsMost = 1 << 10
	refusalsMost = 1 << 12
)

func (s *seen) close() {
	if s.memory != nil {
		s.memory.Close()
	}
	for _, c := range s.controls {
		c.Close()
	}
}

func (o *observer) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.seen {
		s.close()
	}
}

// snapshot puts together what was told, and looks into the memory.
func (o *observer) snapshot(topic string) *Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	snap := &Snapshot{Topic: topic, At: time.Now()}
	o.answered = map[answer]bool{}
	subscribers := map[uint64]*seen{}
	busy := map[*seen]bool{}
	for _, s := range o.seen {
		// That a participant has answered says nothing about further ports of its.
		o.answered[answer{s.instance, s.role}] = true
		if s.role == meet.Publisher && s.view == nil || s.role == meet.Subscriber && !s.complete {
			snap.Silent = append(snap.Silent, Silent{s.role.String(), s.pid})
		}
		if s.role == meet.Subscriber {
			subscribers[s.id] = s
		}
	}
	for _, s := range o.seen {
		if s.view == nil {
			continue
		}
		look := s.view.Look()
		p := Publisher{
			ID: s.id, PID: s.pid, Policy: pubsub.Policy(look.Policy), Slots: look.Slots, SlotBytes: look.SlotBytes, ArenaBytes: look.ArenaBytes,
			Published: look.Sequence, Bytes: look.Bytes, Waiting: look.Waiting, Blocked: look.Blocked, Wakes: look.Wakes, Evicted: look.Evicted,
		}
		if f, err := s.view.Format(); err == nil {
			p.Schema, p.ContentType = format.Decode(f)
		}
		told := map[*seen]bool{}
		for _, m := range s.members {
			answers := subscribers[m.Subscriber]
			if answers != nil {
				if e, ok := answers.entries[s.id]; ok {
					told[answers], busy[answers] = true, true
					p.add(s.view, look, answers, e, m.Slow)
					continue
				}
			}
			p.Subscriptions = append(p.Subscriptions, Subscription{
				Subscriber: Subscriber{m.Subscriber, int(m.PID)}, Peeks: m.Peeks, Silent: true, Received: m.Received, Lost: m.Lost,
				Lag: s.view.Behind(look, m.Position), Behind: look.Behind(m.Position), Dropped: look.Dropped(m.Position), Asleep: m.Asleep, Holds: int(m.Holds), Slow: m.Slow,
			})
		}
		// Those that the publisher has not told of: it has just met them.
		for _, other := range subscribers {
			if e, ok := other.entries[s.id]; ok && !told[other] {
				busy[other] = true
				p.add(s.view, look, other, e, 0)
			}
		}
		for _, r := range s.refused {
			refused := Subscriber{r.Subscriber, int(r.PID)}
			if other := subscribers[r.Subscriber]; other != nil {
				refused.PID = other.pid // in our PID namespace
				busy[other] = true
			}
			p.Refused = append(p.Refused, Refusal{refused, r.Reason})
		}
		slices.SortFunc(p.Refused, func(a, b Refusal) int { return cmp.Compare(a.ID, b.ID) })
		slices.SortFunc(p.Subscriptions, func(a, b Subscription) int { return cmp.Compare(a.ID, b.ID) })
		snap.Publishers = append(snap.Publishers, p)
	}
	for _, s := range subscribers {
		if !busy[s] && s.complete {
			snap.Waiting = append(snap.Waiting, Subscriber{s.id, s.pid})
		}
	}
	snap.Troubles = o.troubles()
	slices.SortFunc(snap.Publishers, func(a, b Publisher) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(snap.Waiting, func(a, b Subscriber) int { return cmp.Compare(a.ID, b.ID) })
	return snap
}

// troubles returns those that were told, once: each port of a participant tells the same.
func (o *observer) troubles() (list []Trouble) {
	type key struct {
		id, with uint64
		reason   string
	}
	told := map[key]bool{}
	for _, s := range o.seen {
		for _, t := range s.troubles {
			k := key{s.instance, t.Instance, t.Reason}
			if !told[k] {
				told[k] = true
				list = append(list, Trouble{s.instance, t.Instance, s.pid, int(t.PID), int(t.UID), t.Ago, t.Reason})
			}
		}
	}
	slices.SortFunc(list, func(a, b Trouble) int { return cmp.Or(cmp.Compare(a.Ago, b.Ago), cmp.Compare(a.ID, b.ID)) })
	return list
}

// add adds a subscription, out of what its entry says.
func (p *Publisher) add(v *ring.View, look ring.Picture, s *seen, e entry, slow time.Duration) {
	own := e.Look()
	if look.Behind(own.Position) == 0 {
		slow = 0 // since its publisher has looked
	}
	p.Subscriptions = append(p.Subscriptions, Subscription{
		Subscriber: Subscriber{s.id, s.pid}, Peeks: e.peeks, Received: own.Received, Lost: own.Lost,
		Lag: v.Behind(look, own.Position), Behind: look.Behind(own.Position), Dropped: look.Dropped(own.Position), Asleep: own.Asleep, Holds: own.Holds, Slow: slow,
	})
}
