package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/memlane/memlane/pubsub"
)

// A fifoCall is what one of two does with a queue, and a fifoReply how it ends.
type fifoCall struct {
	op    topicOp // posts or hears
	value uint64
}

type fifoReply struct {
	answer answer
	value  uint64
}

// fifoModel is a topic of one publisher that blocks and one subscriber, as one after the other
// would find it: a queue of values, which is full with so many.
func fifoModel(slots int) porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{""} },
		Step: func(state, input, output any) []any {
			queue, c, r := state.(string), input.(fifoCall), output.(fifoReply)
			isFull, isEmpty := strings.Count(queue, ",") == slots, queue == ""
			put := queue + fmt.Sprint(c.value) + ","
			head, rest, _ := strings.Cut(queue, ",")
			var next []any
			switch {
			case c.op == posts && r.answer == ok && !isFull:
				next = []any{put}
			case c.op == posts && r.answer == busy && isFull:
				next = []any{queue}
			case c.op == posts && r.answer == unknown:
				if next = []any{queue}; !isFull {
					next = append(next, put)
				}
			case c.op == hears && r.answer == ok && !isEmpty && head == fmt.Sprint(r.value):
				next = []any{rest}
			case c.op == hears && r.answer == no && isEmpty:
				next = []any{queue}
			case c.op == hears && r.answer == unknown:
				if next = []any{queue}; !isEmpty {
					next = append(next, rest)
				}
			}
			return next
		},
	}
	return nondeterministic.ToModel()
}

// fifoOperations returns a publisher and one of its subscribers in porcupine's terms.
func fifoOperations(p *publisherLife, s *subscriberLife) (all []porcupine.Operation) {
	for _, o := range p.postings {
		all = append(all, porcupine.Operation{ClientId: 0, Call: o.begin, Return: o.end,
			Input: fifoCall{posts, o.first}, Output: fifoReply{o.answer, 0}})
	}
	for _, r := range s.hearings {
		all = append(all, porcupine.Operation{ClientId: 1, Call: r.begin, Return: r.end,
			Input: fifoCall{hears, 0}, Output: fifoReply{r.answer, r.value}})
	}
	return all
}

// agree checks a history of one publisher with both checkers, which must say the same: with
// porcupine each subscriber with the publisher as a queue of its own. It returns what they say.
func agree(t *testing.T, h *topicHistory) (fine bool) {
	t.Helper()
	v := checkTopic(h)
	fine = true
	for _, s := range h.subscribers {
		switch result := verdict(fifoModel(h.slots), fifoOperations(h.publishers[0], s)); result {
		case porcupine.Ok:
		case porcupine.Illegal:
			fine = false
		default:
			t.Fatalf("porcupine says %v", result)
		}
	}
	if fine != (v == nil) {
		t.Fatalf("this checker says %v, porcupine that it is fine: %v\n%s", v, fine, fifoText(h))
	}
	return fine
}

func fifoText(h *topicHistory) string {
	var b strings.Builder
	for _, o := range h.publishers[0].postings {
		fmt.Fprintf(&b, "%d to %d: publish %d → %v\n", o.begin, o.end, o.first, o.answer)
	}
	for _, s := range h.subscribers {
		for _, r := range s.hearings {
			fmt.Fprintf(&b, "%d to %d: %s: receive → %v %d\n", r.begin, r.end, s.name, r.answer, r.value)
		}
	}
	return b.String()
}

// In small histories drawn by lot, right ones and such as were changed a little, the checker
// finds wrong what no order of the calls explains, and nothing else.
func TestTopicCheckAgainstPorcupine(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	draws := 200 * *topicHistories
	for subscribers := 1; subscribers <= 2; subscribers++ {
		fine := 0
		for range draws {
			h := drawn(rnd, subscribers)
			if !agree(t, h) {
				t.Fatalf("a history of seed %d that was made by steps is wrong:\n%s", seed, fifoText(h))
			}
			for range 1 + rnd.IntN(2) {
				spoil(rnd, h, timeStep)
			}
			if agree(t, h) {
				fine++
			}
		}
		if fine < draws/10 || fine > draws*9/10 {
			t.Errorf("of %d histories that were changed, %d are right", draws, fine)
		}
	}
}

// timeStep is the time from one step of a history that is drawn to the next.
const timeStep = 8

// drawn makes a history by steps: in each, one of the processes calls, or its call takes
// effect, or returns.
func drawn(rnd *rand.Rand, subscribers int) *topicHistory {
	p := &publisherLife{name: "publisher", ready: 1, closed: forever}
	h := &topicHistory{policy: pubsub.Block, slots: 1 + rnd.IntN(3), publishers: []*publisherLife{p}}
	for i := range subscribers {
		h.subscribers = append(h.subscribers, &subscriberLife{name: fmt.Sprint("subscriber ", i), begun: 2, ready: 3})
	}
	const calls, waits, effective = 0, 1, 2 // what a process does next
	phase := make([]int, 1+subscribers)
	received := make([]int, subscribers)
	var values []uint64
	next := uint64(0)
	for now := int64(10 * timeStep); now < int64(30+20*subscribers)*timeStep; now += timeStep {
		who := rnd.IntN(1 + subscribers)
		do := phase[who]
		phase[who] = (do + 1) % 3
		if who == 0 {
			if do == calls {
				p.postings = append(p.postings, posting{now, forever, next, 1, unknown})
				next++
				continue
			}
			o := &p.postings[len(p.postings)-1]
			if do == effective {
				o.end = now
				if o.answer == unknown {
					o.answer = ok
				}
				continue
			}
			behind := 0
			for _, n := range received {
				behind = max(behind, len(values)-n)
			}
			switch {
			case behind < h.slots:
				values = append(values, o.first)
			case subscribers == 1:
				o.answer = busy
			default:
				o.answer = late // whose fault it was is nothing for one queue
			}
			continue
		}
		s := h.subscribers[who-1]
		if do == calls {
			s.hearings = append(s.hearings, hearing{begin: now, end: forever, answer: unknown})
			s.last = now
			continue
		}
		r := &s.hearings[len(s.hearings)-1]
		if do == effective {
			r.end = now
			if r.answer = no; r.publisher != 0 {
				r.answer = ok
			}
			continue
		}
		if n := &received[who-1]; *n < len(values) {
			r.value, r.sequence, r.publisher = values[*n], uint64(*n), 7
			*n++
		}
	}
	// What has not returned has no answer, whatever effect it had; and late is no call of a queue.
	if n := len(p.postings); n > 0 && p.postings[n-1].end == forever {
		p.postings[n-1].answer = unknown
	}
	p.postings = slices.DeleteFunc(p.postings, func(o posting) bool { return o.answer == late })
	return h
}

// spoil changes a history a little: an answer, a value, or moments, by some steps of time.
func spoil(rnd *rand.Rand, h *topicHistory, step int64) {
	p, s := h.publishers[0], h.subscribers[rnd.IntN(len(h.subscribers))]
	if len(p.postings) == 0 || len(s.hearings) == 0 {
		return
	}
	o, heard := &p.postings[rnd.IntN(len(p.postings))], &s.hearings[rnd.IntN(len(s.hearings))]
	switch rnd.IntN(4) {
	case 0:
		if o.answer == ok && len(h.subscribers) == 1 {
			o.answer = busy
		} else if o.answer == busy {
			o.answer = ok
		}
	case 1:
		if heard.answer == ok {
			heard.value = p.postings[rnd.IntN(len(p.postings))].first
		}
	case 2:
		switch heard.answer {
		case ok:
			heard.answer = no
		case no:
			heard.answer, heard.value, heard.publisher = ok, p.postings[rnd.IntN(len(p.postings))].first, 7
		}
	case 3: // all that the subscriber does is earlier or later
		by := (rnd.Int64N(9)-4)*step + 1 // no two moments are the same
		for i := range s.hearings {
			s.hearings[i].begin += by
			if s.hearings[i].end != forever {
				s.hearings[i].end += by
			}
		}
	}
	number(h)
}

// number gives what was received the number that its place among what was published is: the
// queue of the model has none.
func number(h *topicHistory) {
	places := map[uint64]uint64{}
	for _, o := range h.publishers[0].postings {
		if o.answer == ok || o.answer == unknown {
			places[o.first] = uint64(len(places))
		}
	}
	for _, s := range h.subscribers {
		for i := range s.hearings {
			s.hearings[i].sequence = places[s.hearings[i].value]
		}
		s.last = 0
		if n := len(s.hearings); n > 0 {
			s.last = s.hearings[n-1].begin
		}
	}
}

// What two processes do with a topic of two slots is a queue for both checkers; and where it
// is changed a little, both find out, or neither does.
func TestTopicIsAQueue(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := newTopicConductor(t)
	seen := map[string]int{}
	spoilt, fine := 0, 0
	for n := range *topicHistories {
		h, v := c.play(uint32(n+1), pubsub.Block, rnd.Uint64(), nil, rnd, true)
		if v != nil {
			t.Fatalf("history %d of seed %d: %v\n%s", n, seed, v, c.text(v.at))
		}
		s := h.subscribers[0]
		if i := len(s.hearings) - 1; i >= 0 && s.hearings[i].answer == unknown {
			s.hearings = s.hearings[:i] // it looks on until it is told to leave
		}
		s.fate = goesOn // a queue need not be emptied
		if !agree(t, h) {
			t.Fatalf("history %d of seed %d is none of a queue:\n%s", n, seed, fifoText(h))
		}
		for _, o := range h.publishers[0].postings {
			seen["publish → "+o.answer.String()]++
		}
		for _, r := range s.hearings {
			seen["receive → "+r.answer.String()]++
		}
		for range 20 {
			changed := *h
			p, s := *h.publishers[0], *s
			p.postings, s.hearings = slices.Clone(p.postings), slices.Clone(s.hearings)
			changed.publishers, changed.subscribers = []*publisherLife{&p}, []*subscriberLife{&s}
			spoil(rnd, &changed, 1000)
			spoilt++
			if agree(t, &changed) {
				fine++
			}
		}
	}
	t.Logf("%d histories: %v; of %d that were changed %d are right", *topicHistories, seen, spoilt, fine)
	wantSeen(t, seen, "publish → ok", "publish → busy", "receive → ok", "receive → no")
}
