package history

import (
	"fmt"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane/mmap"
)

// A topicOp is what a process does with a topic.
type topicOp uint32

const (
	publishes  topicOp = iota + 1 // it calls Publish, and is a publisher then
	awaits                        // WaitSubscribers
	posts                         // any call that publishes
	subscribes                    // it calls Subscribe, and is a subscriber then
	hears                         // any call that receives
	leaves                        // Close
)

var topicOpNames = [...]string{"", "Publish", "WaitSubscribers", "publish", "Subscribe", "receive", "Close"}

func (o topicOp) String() string { return topicOpNames[o] }

// A note is one operation of one process, as it writes it down itself, in memory that
// outlives it.
type note struct {
	begin, end [2]int64
	op         topicOp
	answer     answer
	value      uint64 // of the message, or the first of a batch
	many       uint64 // in the batch; or lost; or awaited
	sequence   uint64
	publisher  uint64
	done       atomic.Uint32 // begun, then ended; 0: not there
}

func (l line) String() string {
	switch {
	case l.op == posts:
		return fmt.Sprintf("publish %x and %d more → %v", l.value, l.many-1, l.answer)
	case l.op == hears && l.answer == ok:
		return fmt.Sprintf("receive → %x, number %d of %x", l.value, l.sequence, l.publisher)
	case l.op == hears && l.answer == lagged:
		return fmt.Sprintf("receive → %d of %x lost", l.many, l.publisher)
	}
	return fmt.Sprintf("%v → %v", l.op, l.answer)
}

const (
	topicPublishers  = 3 // the last one comes late
	topicSubscribers = 4 // so does this one's
	topicProcesses   = topicPublishers + topicSubscribers
	notesMost        = 4000 // of a process
	notesAt          = 64   // in the file

	// answerTime is how long Publish and Subscribe wait for an answer; who took half of
	// it may have waited in vain for somebody.
	answerTime = 100 * time.Millisecond
)

var noteBytes = int(reflect.TypeFor[note]().Size())

// A diary has the notes of one history.
type diary struct {
	*mmap.Mapping
	stage *atomic.Uint32 // of the history that is on: its number times stages, and the stage
	notes []note         // notesMost for each process
}

// The stages of a history.
const (
	storm  = iota // all do what they do
	hush          // the publishers have done it; what there is is received
	parts         // everybody leaves
	stages        // how many there are
)

// openDiary maps the file of the notes, and makes it if need be.
func openDiary(path string) (*diary, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := notesAt + topicProcesses*notesMost*noteBytes
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	m, err := mmap.Map(f, size, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	d := &diary{Mapping: m}
	if d.stage, err = mmap.At[atomic.Uint32](m, 0); err != nil {
		return nil, err
	}
	d.notes, err = mmap.SliceOf[note](m, notesAt, topicProcesses*notesMost)
	return d, err
}

// of returns the notes of a process.
func (d *diary) of(process int) []note {
	return d.notes[process*notesMost : (process+1)*notesMost]
}

// history returns what is in the diary until now. Of those that were killed dead is true.
func (d *diary) history(dead *[topicProcesses]bool) *topicHistory {
	h := &topicHistory{slots: topicSlots}
	for i := range topicProcesses {
		if i < topicPublishers {
			h.publishers = append(h.publishers, publisherLives(fmt.Sprint("publisher ", i), noted(d.of(i)))...)
		} else {
			h.subscribers = append(h.subscribers, subscriberLives(fmt.Sprint("subscriber ", i-topicPublishers), noted(d.of(i)), dead[i])...)
		}
	}
	return h
}

// A line is what a note says.
type line struct {
	begin, end                       int64 // forever, if it has not ended
	op                               topicOp
	answer                           answer
	value, many, sequence, publisher uint64
}

// noted returns what the notes say up to the first that is not there, or has not ended, with
// that one: its process may be about to go on.
func noted(notes []note) (lines []line) {
	for i := range notes {
		n := &notes[i]
		done := n.done.Load()
		if done == 0 {
			break
		}
		l := line{nanoseconds(n.begin), nanoseconds(n.end), n.op, n.answer, n.value, n.many, n.sequence, n.publisher}
		if done == begun {
			l.end, l.answer = forever, unknown
			return append(lines, l)
		}
		lines = append(lines, l)
	}
	return lines
}

// publisherLives returns what a process was as a publisher, one after the other.
func publisherLives(name string, lines []line) (lives []*publisherLife) {
	var p *publisherLife
	for _, l := range lines {
		switch l.op {
		case publishes:
			p = &publisherLife{name: fmt.Sprintf("%s.%d", name, len(lives)), begun: l.begin, ready: l.end, slow: slow(l), closed: forever}
			lives = append(lives, p)
		case awaits:
			if l.answer == ok {
				p.assurances = append(p.assurances, assurance{l.begin, l.end, int(l.many)})
			}
		case posts:
			p.postings = append(p.postings, posting{l.begin, l.end, l.value, int(l.many), l.answer})
		case leaves:
			p.closed = l.begin
		}
	}
	return lives
}

// subscriberLives returns what a process was as a subscriber, one after the other.
func subscriberLives(name string, lines []line, dead bool) (lives []*subscriberLife) {
	var s *subscriberLife
	for _, l := range lines {
		switch l.op {
		case subscribes:
			s = &subscriberLife{name: fmt.Sprintf("%s.%d", name, len(lives)), begun: l.begin, ready: l.end, slow: slow(l), fate: drained}
			lives = append(lives, s)
		case leaves:
			s.fate = isGone
		case hears:
			s.hearings = append(s.hearings, hearing{l.begin, l.end, l.answer, l.value, l.sequence, l.publisher, l.many})
		}
		s.last = l.begin
	}
	if s != nil && dead {
		s.fate = isGone
	}
	return lives
}

// slow says that a call took so long that it may have waited in vain for somebody.
func slow(l line) bool { return l.end-l.begin >= int64(answerTime/2) }
