package history

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/memlane/memlane/pubsub"
)

// A topicHistory is what publishers and subscribers of a topic did, each with the moments
// before and after. Whoever closes and begins again is another one.
type topicHistory struct {
	policy pubsub.Policy
	// slots is how many the publishers' rings have: each call that publishes takes one. Under
	// Block it is judged by them how far a publisher is ahead; not if it is 0.
	slots       int
	publishers  []*publisherLife
	subscribers []*subscriberLife
}

// A publisherLife is a publisher from Publish to Close, or to its death.
type publisherLife struct {
	name       string
	begun      int64 // when Publish was called
	ready      int64 // when it had returned; forever, if it had not
	slow       bool  // that took so long that some subscribers may not have answered
	closed     int64 // when Close was called; forever, if it was not
	postings   []posting
	assurances []assurance
}

// A posting is a call that publishes: one message, or a batch of consecutive values.
type posting struct {
	begin, end int64
	first      uint64
	many       int
	answer     answer // ok; busy: ErrFull; late, discarded: not published; unknown: it was killed
}

// An assurance is that WaitSubscribers has returned: there were at least so many.
type assurance struct {
	begin, end int64
	many       int
}

// A subscriberLife is a subscriber from Subscribe to Close, or to its death.
type subscriberLife struct {
	name     string
	begun    int64 // when Subscribe was called
	ready    int64 // when it had returned; forever, if it had not
	slow     bool
	hearings []hearing
	last     int64     // when its last call began, with Close
	fate     fate      // what became of it
	from     []*hearer // of each publisher
}

// A fate is how a subscriber's part of the history ends.
type fate int

const (
	goesOn  fate = iota // it lives
	drained             // it lives, and has received all there is
	isGone              // it was closed, or killed
)

// A hearing is a call that receives.
type hearing struct {
	begin, end int64
	answer     answer // ok: a message; lagged; no: ErrEmpty; unknown: it was killed
	value      uint64
	sequence   uint64
	publisher  uint64 // the id of it
	lost       uint64
}

// A violation is what a topic must not do, and a history shows.
type violation struct {
	rule, text string
	at         int64
	// unless more is received: the history may only not have come to its end yet.
	pending bool
}

func (v *violation) Error() string { return v.rule + ": " + v.text }

// The rules.
const (
	ruleMadeUp     = "received, and nobody published it"
	ruleTwice      = "received twice by one subscriber"
	ruleOrder      = "received after what its publisher published later"
	ruleTime       = "received before it was published"
	ruleSequence   = "another sequence number than its place"
	ruleIdentity   = "two publishers with one id, or one with two"
	ruleMissing    = "missing between two messages, and nobody said so"
	ruleCounted    = "more or fewer were said to be lost than were"
	ruleBlock      = "lost under Block"
	ruleDivided    = "a batch of which a part was received"
	ruleOld        = "received, and it was published before the subscriber came"
	ruleJoined     = "missing, and the subscriber was known to be there"
	ruleEnd        = "acknowledged, and missing at the end"
	ruleSomeOnly   = "published by one who died, and received by some only"
	ruleEmpty      = "ErrEmpty, and there was a message"
	ruleFull       = "ErrFull, and there was room"
	ruleOverrun    = "published a ring ahead of a subscriber under Block"
	ruleTorn       = "not what was published, or not as long as it was borrowed"
	ruleUnexpected = "an answer that no call may give"
)

// A place is where a message is among those of its publisher.
type place struct {
	publisher int
	index     int // among the messages: its sequence number
	position  int // among the calls that have published: its slot
}

// A topicCheck is a check under way.
type topicCheck struct {
	*topicHistory
	places map[uint64]place
	of     []*published    // by publisher
	ids    map[uint64]int  // publishers by what they call themselves
	failed map[uint64]bool // values that were not published
}

// published is what a publisher has published, and may have.
type published struct {
	life     *publisherLife
	messages []int // the position of each
	slots    []int // the posting of each position
	firsts   []int // the first message of each position, and how many there are
	sure     int   // messages that were acknowledged; those behind may have been published
	seen     bool  // one of those was received
	named    bool  // its id is known
}

// A hearer is what a subscriber has heard of one publisher.
type hearer struct {
	start   int // the first message that it received, or was told is lost; -1: none
	next    int
	pending int // lost behind the last one
	begins  []int64
	ends    []int64 // of the calls that received the messages from start on
	assured int     // the first message that it had to get
	visible bool    // it cannot miss that there is a message
}

// checkTopic returns what the history shows that must not be; nil if there is nothing. It
// takes O(n log n) for n calls, as long as the number of publishers and subscribers is
// bounded: what is said of a message depends on its publisher and one subscriber alone.
// That another subscriber has received it says nothing: subscribers are not in step.
func checkTopic(h *topicHistory) *violation {
	c := &topicCheck{topicHistory: h, places: map[uint64]place{}, ids: map[uint64]int{}, failed: map[uint64]bool{}}
	if v := c.place(); v != nil {
		return v
	}
	for _, s := range c.subscribers {
		for i := range s.hearings {
			if v := c.identify(s, &s.hearings[i]); v != nil {
				return v
			}
		}
	}
	for _, s := range c.subscribers {
		s.from = nil
		for p := range c.publishers {
			s.from = append(s.from, &hearer{start: -1, assured: c.assured(s, p), visible: c.publishers[p].ready < s.begun && !s.slow && !c.publishers[p].slow})
		}
		if v := c.hear(s); v != nil {
			return v
		}
	}
	for _, s := range c.subscribers {
		if v := c.finish(s); v != nil {
			return v
		}
	}
	if c.policy == pubsub.Block && c.slots > 0 {
		return c.room()
	}
	return nil
}

// place notes where each value is.
func (c *topicCheck) place() *violation {
	for p, life := range c.publishers {
		of := &published{life: life, firsts: []int{0}}
		c.of = append(c.of, of)
		for i := range life.postings {
			o := &life.postings[i]
			switch o.answer {
			case ok, unknown:
			case busy, late, discarded:
				for n := range o.many {
					c.failed[o.first+uint64(n)] = true
				}
				continue
			default:
				return &violation{rule: ruleUnexpected, at: o.end, text: fmt.Sprintf("%s: publish %x: %v", life.name, o.first, o.answer)}
			}
			for n := range o.many {
				c.places[o.first+uint64(n)] = place{p, len(of.messages), len(of.slots)}
				of.messages = append(of.messages, len(of.slots))
			}
			of.slots = append(of.slots, i)
			of.firsts = append(of.firsts, len(of.messages))
			if o.answer == ok {
				of.sure = len(of.messages)
			}
		}
	}
	return nil
}

// posting returns the call that published a message.
func (of *published) posting(index int) *posting {
	return &of.life.postings[of.slots[of.messages[index]]]
}

// whole says whether a batch begins, or the last one ends, before the message.
func (of *published) whole(index int) bool {
	return index == len(of.messages) || of.firsts[of.messages[index]] == index
}

// identify learns what publishers call themselves.
func (c *topicCheck) identify(s *subscriberLife, r *hearing) *violation {
	if r.answer != ok {
		return nil
	}
	at, known := c.places[r.value]
	if !known {
		text := fmt.Sprintf("%s: value %x", s.name, r.value)
		if c.failed[r.value] {
			text += ", which Publish has returned an error for"
		}
		return &violation{rule: ruleMadeUp, at: r.end, text: text}
	}
	of := c.of[at.publisher]
	other, has := c.ids[r.publisher]
	if has && other != at.publisher || !has && of.named {
		return &violation{rule: ruleIdentity, at: r.end, text: fmt.Sprintf("%s: %x of %s has the id %x", s.name, r.value, of.life.name, r.publisher)}
	}
	c.ids[r.publisher], of.named = at.publisher, true
	return nil
}

// assured returns the first message of a publisher that a subscriber had to get; one
// behind the last if there is none: everything from the first one on of who came later, and
// what was published after Subscribe had returned, or WaitSubscribers had said that all are
// there.
func (c *topicCheck) assured(s *subscriberLife, p int) int {
	life, of := c.publishers[p], c.of[p]
	from := int64(forever)
	if !s.slow && !life.slow {
		switch {
		case life.begun > s.ready:
			from = math.MinInt64
		case life.ready < s.begun:
			from = s.ready
		}
	}
	for _, a := range life.assurances {
		came := 0
		for _, other := range c.subscribers {
			if other.begun < a.end {
				came++
			}
		}
		if came == a.many && s.begun < a.end {
			from = min(from, a.end)
		}
	}
	i := sort.Search(len(of.slots), func(i int) bool { return life.postings[of.slots[i]].begin > from })
	return of.firsts[i]
}

// hear goes through what a subscriber has received.
func (c *topicCheck) hear(s *subscriberLife) *violation {
	lost := map[uint64]int{} // by id, since the last message
	heard := map[uint64]bool{}
	for i := range s.hearings {
		r := &s.hearings[i]
		wrong := func(rule, format string, args ...any) *violation {
			return &violation{rule: rule, at: r.end, text: s.name + ": " + fmt.Sprintf(format, args...)}
		}
		switch r.answer {
		case unknown, late:
		case no:
			if v := c.empty(s, r); v != nil {
				return v
			}
		case lagged:
			if c.policy == pubsub.Block {
				return wrong(ruleBlock, "%d messages of publisher %x", r.lost, r.publisher)
			}
			if r.lost == 0 || r.lost > 1<<32 {
				return wrong(ruleCounted, "%d of publisher %x", r.lost, r.publisher)
			}
			lost[r.publisher] += int(r.lost)
		case ok:
			at := c.places[r.value]
			of, from := c.of[at.publisher], s.from[at.publisher]
			skipped := lost[r.publisher]
			delete(lost, r.publisher)
			name := fmt.Sprintf("message %d (%x) of %s", at.index, r.value, of.life.name)
			switch {
			case of.posting(at.index).begin >= r.end:
				return wrong(ruleTime, "%s at %d, and Publish was called at %d", name, r.end, of.posting(at.index).begin)
			case heard[r.value]:
				return wrong(ruleTwice, "%s", name)
			case from.start >= 0 && at.index < from.next:
				return wrong(ruleOrder, "%s after message %d", name, from.next-1)
			case r.sequence != uint64(at.index):
				return wrong(ruleSequence, "%s has the number %d", name, r.sequence)
			}
			heard[r.value] = true
			if from.start < 0 {
				if v := c.first(s, from, of, at.index-skipped, name, wrong); v != nil {
					return v
				}
			}
			switch gap := at.index - from.next - skipped; {
			case gap == 0:
			case skipped == 0:
				return wrong(ruleMissing, "%s comes after message %d", name, from.next-1)
			default:
				return wrong(ruleCounted, "%s comes after message %d, and %d were said to be lost", name, from.next-1, skipped)
			}
			if skipped > 0 && (!of.whole(from.next) || !of.whole(at.index)) {
				return wrong(ruleDivided, "%s comes after message %d", name, from.next-1)
			}
			for range skipped {
				from.begins, from.ends = append(from.begins, r.begin), append(from.ends, r.end)
			}
			from.begins, from.ends = append(from.begins, r.begin), append(from.ends, r.end)
			from.next, from.visible = at.index+1, true
			of.seen = of.seen || at.index >= of.sure
		case torn:
			return wrong(ruleTorn, "a message that begins with %x", r.value)
		default:
			return wrong(ruleUnexpected, "receive: %v", r.answer)
		}
	}
	for id, n := range lost {
		if p, known := c.ids[id]; known {
			s.from[p].pending = n
		}
	}
	return nil
}

// first judges where a subscriber begins to get a publisher's messages.
func (c *topicCheck) first(s *subscriberLife, from *hearer, of *published, start int, name string, wrong func(rule, format string, args ...any) *violation) *violation {
	switch {
	case start < 0:
		return wrong(ruleCounted, "%s is the first that is received, and more were said to be lost", name)
	case !of.whole(start):
		return wrong(ruleDivided, "%s is the first that is received, or the first of those that are lost before it is not of its batch", name)
	case of.posting(start).end < s.begun:
		return wrong(ruleOld, "%s, or what was said to be lost before it: message %d was acknowledged before Subscribe was called", name, start)
	case start > from.assured:
		return wrong(ruleJoined, "%s is the first of it, with what was lost before; from message %d on they had to come", name, from.assured)
	}
	from.start, from.next = start, start
	return nil
}

// empty judges an ErrEmpty: no publisher whose messages the subscriber gets may have
// acknowledged the next one before.
func (c *topicCheck) empty(s *subscriberLife, r *hearing) *violation {
	if c.policy != pubsub.Block {
		return nil // a reader that is overtaken again and again may say so too
	}
	for p, from := range s.from {
		next := from.next
		if from.start < 0 {
			next = from.assured
		}
		if of := c.of[p]; from.visible && next < len(of.messages) && of.posting(next).end < r.begin {
			return &violation{rule: ruleEmpty, at: r.end, text: fmt.Sprintf("%s: message %d of %s was acknowledged before the call", s.name, next, of.life.name)}
		}
	}
	return nil
}

// finish judges what a subscriber has of each publisher in the end.
func (c *topicCheck) finish(s *subscriberLife) *violation {
	strangers := 0 // messages that are said to be lost of publishers nobody has received from
	for i := range s.hearings {
		if r := &s.hearings[i]; r.answer == lagged {
			if _, known := c.ids[r.publisher]; !known {
				strangers += int(r.lost)
			}
		}
	}
	for p, from := range s.from {
		of := c.of[p]
		wrong := func(rule, format string, args ...any) *violation {
			return &violation{rule: rule, at: s.last, pending: true, text: s.name + ": " + fmt.Sprintf(format, args...)}
		}
		end := from.next + from.pending
		if end > len(of.messages) {
			return &violation{rule: ruleCounted, at: s.last, text: fmt.Sprintf("%s: %d of %s, %d of them lost at the end, and %d were published", s.name, end, of.life.name, from.pending, len(of.messages))}
		}
		if s.fate != drained {
			continue
		}
		if from.start < 0 {
			// What is lost of it is anywhere.
			had := from.pending + strangers
			switch {
			case from.assured < of.sure && had < of.sure-from.assured:
				return wrong(ruleEnd, "nothing of %s was received, from message %d to %d it had to be", of.life.name, from.assured, of.sure-1)
			case of.seen && from.assured <= of.sure && had < len(of.messages)-from.assured:
				return wrong(ruleSomeOnly, "message %d of %s, which others have, was not received", of.sure, of.life.name)
			}
			continue
		}
		switch {
		case end < of.sure:
			return wrong(ruleEnd, "%d of %s, and %d were acknowledged", end, of.life.name, of.sure)
		case end > of.sure && end < len(of.messages):
			return wrong(ruleDivided, "%d of %s", end, of.life.name)
		case end == of.sure && of.seen:
			return wrong(ruleSomeOnly, "message %d of %s, which others have, was not received", of.sure, of.life.name)
		}
	}
	return nil
}

// room judges how far publishers that block are ahead of their subscribers.
func (c *topicCheck) room() *violation {
	for p, of := range c.of {
		position := 0 // of the next
		for i := range of.life.postings {
			o := &of.life.postings[i]
			// What used the slot before has to be received.
			before := position - c.slots
			switch {
			case o.answer == busy && !c.behind(p, before, o):
				return &violation{rule: ruleFull, at: o.end, text: fmt.Sprintf("%s: call %d that publishes, and all subscribers had received what is a ring before it", of.life.name, position)}
			case o.answer == ok && before >= 0:
				for _, s := range c.subscribers {
					if v := c.overrun(p, before, o, s); v != nil {
						return v
					}
				}
			}
			if o.answer == ok || o.answer == unknown {
				position++
			}
		}
	}
	return nil
}

// behind says whether a subscriber may not have passed the position when the call began.
func (c *topicCheck) behind(p, position int, o *posting) bool {
	if position < 0 {
		return false
	}
	return slices.ContainsFunc(c.subscribers, func(s *subscriberLife) bool {
		from := s.from[p]
		if s.begun > o.end {
			return false
		}
		if from.start < 0 {
			return true // wherever it begins
		}
		last := c.of[p].firsts[position+1] - 1 - from.start
		return last >= len(from.ends) || last >= 0 && from.ends[last] > o.begin
	})
}

// overrun judges a call that publishes by a subscriber that had to pass the position first.
func (c *topicCheck) overrun(p, position int, o *posting, s *subscriberLife) *violation {
	of, from := c.of[p], s.from[p]
	first := of.firsts[position]
	start := from.start
	if start < 0 {
		start = from.assured
	}
	if first < start {
		return nil // it came later
	}
	at := first - start // among those that it receives
	began := s.last     // its last call: later, if it lives
	if s.fate != isGone {
		began = forever
	}
	if at < len(from.begins) {
		began = from.begins[at]
	} else if n := len(s.hearings); at == len(from.begins) && n > 0 && s.hearings[n-1].answer == unknown {
		began = s.hearings[n-1].begin // it may be receiving that
	}
	if began <= o.end {
		return nil
	}
	return &violation{rule: ruleOverrun, at: o.end, text: fmt.Sprintf("%s published %x before %s began to receive message %d", of.life.name, o.first, s.name, first)}
}
