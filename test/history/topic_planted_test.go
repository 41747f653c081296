package history

import (
	"testing"

	"github.com/memlane/memlane/pubsub"
)

// How planted histories are written: the publisher there is from 0 to 10 and calls itself 7,
// the subscriber Subscribe from 20 to 30.

func planted(policy pubsub.Policy, p *publisherLife, subscribers ...*subscriberLife) *topicHistory {
	return &topicHistory{policy: policy, slots: 4, publishers: []*publisherLife{p}, subscribers: subscribers}
}

func publisher(postings ...posting) *publisherLife {
	return &publisherLife{name: "publisher", ready: 10, closed: forever, postings: postings}
}

func subscriber(hearings ...hearing) *subscriberLife {
	return &subscriberLife{name: "subscriber", begun: 20, ready: 30, last: 10_000, fate: drained, hearings: hearings}
}

func posted(begin, end int64, first uint64, many int) posting {
	return posting{begin, end, first, many, ok}
}

// neverEnded is of a publisher that was killed.
func neverEnded(begin int64, first uint64, many int) posting {
	return posting{begin, forever, first, many, unknown}
}

func got(begin, end int64, value, sequence uint64) hearing {
	return hearing{begin, end, ok, value, sequence, 7, 0}
}

func lostSome(begin, end int64, n uint64) hearing { return hearing{begin, end, lagged, 0, 0, 7, n} }

func nothing(begin, end int64) hearing { return hearing{begin, end, no, 0, 0, 0, 0} }

// six are single messages 100 to 105, published at 100, 110 and so on.
func six() (all []posting) {
	for i := range int64(6) {
		all = append(all, posted(100+10*i, 101+10*i, uint64(100+i), 1))
	}
	return all
}

// heard are these of them, received one after the other when all are there.
func heard(values ...uint64) (all []hearing) {
	for i, v := range values {
		all = append(all, got(200+10*int64(i), 201+10*int64(i), v, v-100))
	}
	return all
}

// gone is a subscriber that was closed, or killed, when its last call had begun at that time.
func gone(s *subscriberLife, last int64) *subscriberLife {
	s.fate, s.last = isGone, last
	return s
}

// The checker refuses what a topic must not do, and says why: beside each wrong history stands
// one that differs in that alone, and is accepted.
func TestPlantedTopicHistories(t *testing.T) {
	const drop, block = pubsub.DropOldest, pubsub.Block
	second := publisher(posted(100, 101, 200, 1))
	second.name = "second"
	secondSays := func(value, sequence, id uint64) []hearing {
		return []hearing{got(110, 111, 100, 0), {120, 121, ok, value, sequence, id, 0}}
	}
	both := func(hearings []hearing) *topicHistory {
		h := planted(block, publisher(posted(100, 101, 100, 1)), subscriber(hearings...))
		h.publishers = append(h.publishers, second)
		return h
	}
	assured := func(many int) *topicHistory {
		p := publisher(six()...)
		p.begun, p.ready = 25, 35 // beside Subscribe, which promises nothing then
		p.assurances = []assurance{{40, 115, many}}
		return planted(block, p, subscriber(heard(103, 104, 105)...))
	}
	killed := func(one, other []hearing) *topicHistory {
		return planted(block, publisher(posted(100, 101, 100, 1), neverEnded(110, 101, 2)), subscriber(one...), subscriber(other...))
	}
	three := []hearing{got(200, 201, 100, 0), got(210, 211, 101, 1), got(220, 221, 102, 2)}
	full := func(at int64) *topicHistory {
		return planted(block, publisher(posted(100, 101, 100, 1), posted(102, 103, 101, 1), posted(104, 105, 102, 1), posted(106, 107, 103, 1), posting{at, at + 1, 104, 1, busy}),
			subscriber(got(110, 112, 100, 0), got(120, 121, 101, 1), got(130, 131, 102, 2), got(140, 141, 103, 3)))
	}
	ahead := func(at int64) *topicHistory {
		return planted(block, publisher(posted(100, 101, 100, 1), posted(102, 103, 101, 1), posted(104, 105, 102, 1), posted(106, 107, 103, 1), posted(108, at, 104, 1)),
			subscriber(got(110, 112, 100, 0), got(120, 121, 101, 1), got(130, 131, 102, 2), got(140, 141, 103, 3), got(150, 151, 104, 4)))
	}
	later := func(begun int64, hearings ...hearing) *topicHistory {
		s := subscriber(hearings...)
		s.begun, s.ready = begun, begun+1
		return planted(drop, publisher(six()...), s)
	}
	batches := func(hearings ...hearing) *topicHistory {
		return planted(drop, publisher(posted(100, 101, 100, 3), posted(110, 111, 103, 3)), subscriber(hearings...))
	}
	unsure := func(p *publisherLife, answer answer) *publisherLife {
		p.postings[0].answer = answer
		return p
	}

	for name, tc := range map[string]struct {
		rule        string
		wrong, fine *topicHistory
	}{
		"nobody's value": {ruleMadeUp,
			planted(drop, publisher(six()...), subscriber(append(heard(100, 101, 102, 103, 104, 105), got(300, 301, 106, 6))...)),
			planted(drop, publisher(append(six(), posted(290, 291, 106, 1))...), subscriber(append(heard(100, 101, 102, 103, 104, 105), got(300, 301, 106, 6))...))},
		"a value that was refused": {ruleMadeUp,
			planted(drop, unsure(publisher(posted(100, 101, 100, 1)), late), subscriber(got(110, 111, 100, 0))),
			planted(drop, unsure(publisher(posted(100, 101, 100, 1)), late), subscriber())},
		"a loan that was discarded": {ruleMadeUp,
			planted(drop, unsure(publisher(posted(100, 101, 100, 1)), discarded), subscriber(got(110, 111, 100, 0))),
			planted(drop, unsure(publisher(posted(100, 101, 100, 1)), discarded), subscriber())},
		"after a lap once more": {ruleTwice,
			planted(drop, publisher(six()...), subscriber(heard(100, 101, 102, 103, 104, 105, 105)...)),
			planted(drop, publisher(six()...), subscriber(heard(100, 101, 102, 103, 104, 105)...))},
		"by each subscriber once": {ruleTwice,
			planted(drop, publisher(six()...), subscriber(heard(100, 101, 102, 103, 104, 105)...), subscriber(heard(100, 101, 100, 102, 103, 104, 105)...)),
			planted(drop, publisher(six()...), subscriber(heard(100, 101, 102, 103, 104, 105)...), subscriber(heard(100, 101, 102, 103, 104, 105)...))},
		"back to front": {ruleOrder,
			later(105, got(200, 201, 101, 1), lostSome(201, 202, 1), got(202, 203, 103, 3), got(203, 204, 102, 2), got(204, 205, 104, 4), got(205, 206, 105, 5)),
			later(105, got(200, 201, 101, 1), lostSome(201, 202, 1), got(202, 203, 103, 3), got(204, 205, 104, 4), got(205, 206, 105, 5))},
		"from the future": {ruleTime,
			planted(drop, publisher(posted(100, 101, 100, 1)), subscriber(got(98, 99, 100, 0))),
			planted(drop, publisher(posted(98, 101, 100, 1)), subscriber(got(98, 99, 100, 0)))},
		"a wrong number": {ruleSequence,
			planted(drop, publisher(six()...), subscriber(append(heard(100, 101, 102, 103, 104), got(300, 301, 105, 6))...)),
			planted(drop, publisher(six()...), subscriber(append(heard(100, 101, 102, 103, 104), got(300, 301, 105, 5))...))},
		"the id of another": {ruleIdentity, both(secondSays(200, 0, 7)), both(secondSays(200, 0, 8))},
		"another id": {ruleIdentity,
			planted(drop, publisher(posted(100, 101, 100, 2)), subscriber(got(110, 111, 100, 0), hearing{120, 121, ok, 101, 1, 8, 0})),
			planted(drop, publisher(posted(100, 101, 100, 2)), subscriber(got(110, 111, 100, 0), hearing{120, 121, ok, 101, 1, 7, 0}))},
		"a gap": {ruleMissing,
			planted(drop, publisher(six()...), subscriber(heard(100, 101, 104, 105)...)),
			planted(drop, publisher(six()...), subscriber(got(200, 201, 100, 0), got(201, 202, 101, 1), lostSome(202, 203, 2), got(203, 204, 104, 4), got(204, 205, 105, 5)))},
		"one too few counted": {ruleCounted,
			planted(drop, publisher(six()...), subscriber(got(200, 201, 100, 0), lostSome(202, 203, 3), got(204, 205, 105, 5))),
			planted(drop, publisher(six()...), subscriber(got(200, 201, 100, 0), lostSome(202, 203, 4), got(204, 205, 105, 5)))},
		"one too many counted": {ruleCounted,
			planted(drop, publisher(six()...), subscriber(got(200, 201, 100, 0), lostSome(202, 203, 5), got(204, 205, 105, 5))),
			planted(drop, publisher(six()...), subscriber(got(200, 201, 100, 0), lostSome(202, 203, 1), lostSome(203, 204, 3), got(204, 205, 105, 5)))},
		"counted, and nothing lost": {ruleCounted,
			planted(drop, publisher(six()...), subscriber(append([]hearing{lostSome(150, 151, 0)}, heard(100, 101, 102, 103, 104, 105)...)...)),
			planted(drop, publisher(six()...), subscriber(append([]hearing{lostSome(150, 151, 1)}, heard(101, 102, 103, 104, 105)...)...))},
		"more counted than there were": {ruleCounted,
			planted(drop, publisher(six()...), subscriber(append(heard(100, 101, 102, 103, 104), lostSome(300, 301, 2))...)),
			planted(drop, publisher(six()...), subscriber(append(heard(100, 101, 102, 103, 104), lostSome(300, 301, 1))...))},
		"more counted before the first than there were": {ruleCounted,
			planted(drop, publisher(six()...), subscriber(append([]hearing{lostSome(150, 151, 2)}, heard(101, 102, 103, 104, 105)...)...)),
			planted(drop, publisher(six()...), subscriber(append([]hearing{lostSome(150, 151, 1)}, heard(101, 102, 103, 104, 105)...)...))},
		"counted under Block": {ruleBlock,
			planted(block, publisher(posted(100, 101, 100, 1), posted(110, 111, 101, 1)), subscriber(lostSome(120, 121, 1), got(130, 131, 101, 1))),
			planted(drop, publisher(posted(100, 101, 100, 1), posted(110, 111, 101, 1)), subscriber(lostSome(120, 121, 1), got(130, 131, 101, 1)))},
		"half a batch at first": {ruleDivided,
			batches(lostSome(200, 201, 1), got(202, 203, 102, 2), got(204, 205, 103, 3), got(206, 207, 104, 4), got(208, 209, 105, 5)),
			batches(lostSome(200, 201, 3), got(204, 205, 103, 3), got(206, 207, 104, 4), got(208, 209, 105, 5))},
		"half a batch, and lost": {ruleDivided,
			batches(got(200, 201, 100, 0), lostSome(201, 202, 2), got(204, 205, 103, 3), got(206, 207, 104, 4), got(208, 209, 105, 5)),
			batches(got(200, 201, 100, 0), got(201, 202, 101, 1), got(202, 203, 102, 2), got(204, 205, 103, 3), got(206, 207, 104, 4), got(208, 209, 105, 5))},
		"half a batch of the dead": {ruleDivided, killed(three[:2], three[:2]), killed(three, three)},
		"from before": {ruleOld,
			later(102, heard(100, 101, 102, 103, 104, 105)...),
			later(101, heard(100, 101, 102, 103, 104, 105)...)},
		"counted from before": {ruleOld,
			later(112, lostSome(150, 151, 1), got(200, 201, 102, 2), got(202, 203, 103, 3), got(204, 205, 104, 4), got(206, 207, 105, 5)),
			later(112, got(200, 201, 102, 2), got(202, 203, 103, 3), got(204, 205, 104, 4), got(206, 207, 105, 5))},
		"after Subscribe": {ruleJoined, later(108, heard(102, 103, 104, 105)...), later(109, heard(102, 103, 104, 105)...)},
		"of one who came later": {ruleJoined,
			planted(drop, &publisherLife{name: "late", begun: 31, ready: 35, closed: forever, postings: six()}, subscriber(heard(101, 102, 103, 104, 105)...)),
			planted(drop, &publisherLife{name: "late", begun: 31, ready: 35, slow: true, closed: forever, postings: six()}, subscriber(heard(101, 102, 103, 104, 105)...))},
		"after WaitSubscribers": {ruleJoined, assured(1), assured(2)},
		"the last one": {ruleEnd,
			planted(drop, publisher(six()...), subscriber(heard(100, 101, 102, 103, 104)...)),
			planted(drop, publisher(six()...), gone(subscriber(heard(100, 101, 102, 103, 104)...), 245))},
		"all": {ruleEnd,
			planted(drop, publisher(posted(100, 101, 100, 1)), subscriber()),
			planted(drop, publisher(posted(29, 31, 100, 1)), subscriber())},
		"of the dead, by one of two": {ruleSomeOnly, killed(three, three[:1]), killed(three[:1], three[:1])},
		"of the dead, by one who is gone": {ruleSomeOnly,
			planted(block, publisher(posted(100, 101, 100, 1), neverEnded(110, 101, 1)), gone(subscriber(three[:2]...), 230), subscriber(three[:1]...)),
			planted(block, publisher(posted(100, 101, 100, 1), neverEnded(110, 101, 1)), gone(subscriber(three[:1]...), 230), subscriber(three[:2]...))},
		"the first of the dead, by one of two": {ruleSomeOnly,
			planted(block, publisher(neverEnded(110, 100, 1)), subscriber(got(120, 121, 100, 0)), subscriber()),
			planted(block, publisher(neverEnded(29, 100, 1)), subscriber(got(120, 121, 100, 0)), subscriber())},
		"empty": {ruleEmpty,
			planted(block, publisher(posted(100, 101, 100, 1)), subscriber(nothing(102, 103), got(104, 105, 100, 0))),
			planted(block, publisher(posted(100, 103, 100, 1)), subscriber(nothing(102, 104), got(104, 105, 100, 0)))},
		"empty, where another one has it": {ruleEmpty,
			planted(block, publisher(posted(100, 103, 100, 1)), subscriber(got(101, 102, 100, 0)), subscriber(nothing(104, 105), got(106, 107, 100, 0))),
			planted(block, publisher(posted(100, 109, 100, 1)), subscriber(got(101, 102, 100, 0)), subscriber(nothing(104, 105), got(106, 107, 100, 0)))},
		"full, and all received":    {ruleFull, full(113), full(111)},
		"full, and nobody is there": {ruleFull, planted(block, unsure(publisher(posted(100, 101, 100, 1)), busy)), planted(block, publisher(posted(100, 101, 100, 1)))},
		"a ring ahead":              {ruleOverrun, ahead(109), ahead(111)},
		"a ring ahead of who has received nothing": {ruleOverrun,
			planted(block, publisher(six()...), gone(subscriber(), 142)),
			planted(block, publisher(six()...), gone(subscriber(), 140))},
		"torn": {ruleTorn,
			planted(drop, publisher(posted(100, 101, 100, 1)), subscriber(hearing{110, 111, torn, 100, 0, 7, 0})),
			planted(drop, publisher(posted(100, 101, 100, 1)), subscriber(got(110, 111, 100, 0)))},
		"Receive fails": {ruleUnexpected,
			planted(drop, publisher(posted(100, 101, 100, 1)), subscriber(hearing{90, 91, wrong, 0, 0, 0, 0}, got(110, 111, 100, 0))),
			planted(drop, publisher(posted(100, 101, 100, 1)), subscriber(hearing{90, 91, late, 0, 0, 0, 0}, got(110, 111, 100, 0)))},
		"Publish fails": {ruleUnexpected,
			planted(drop, unsure(publisher(posted(100, 101, 100, 1)), wrong), subscriber()),
			planted(drop, unsure(publisher(posted(100, 101, 100, 1)), unknown), subscriber())},
	} {
		if v := checkTopic(tc.wrong); v == nil || v.rule != tc.rule {
			t.Errorf("%s: the wrong history is judged %v; want %q", name, v, tc.rule)
		}
		if v := checkTopic(tc.fine); v != nil {
			t.Errorf("%s: the fine history is judged %v", name, v)
		}
	}
}
