package bench

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// compare is one who sends to several, by memlane and by sockets, with nothing set
// that programs do not set.
func (b *bench) compare() error {
	size, readers := max(b.config.Size, 8), max(b.config.Readers, 1)
	transports := []string{laneTransport, loanTransport, packetTransport, bufferedTransport}
	each := b.config.Duration / time.Duration(b.config.Rounds*len(transports))
	b.report.note(fmt.Sprintf("%d processes, not pinned, that wait for messages as programs do; each message is written and read, on loan in place; policy Block", readers+1))
	entriesOf := func(rate bool) (all []*entry) {
		for _, transport := range transports {
			e := &entry{figure: figure{Transport: transport, What: "compare", Placement: "free", Size: size, Readers: readers, Batch: 1}, rate: rate}
			t := task{Part: "crowd", Transport: transport, Processor: -1, Touched: true, Size: size, Batch: 1, Group: 1, Readers: readers, Warm: each / 10, Length: each}
			for side := range readers + 1 {
				t.Side = side
				e.tasks = append(e.tasks, t)
			}
			all = append(all, e)
		}
		return all
	}
	answers, rates := entriesOf(false), entriesOf(true)
	for round := range b.config.Rounds {
		for i := range answers {
			k := (i + round) % len(answers)
			c, err := b.run(answers[k].tasks[0], answers[k].tasks[1:]...)
			if err != nil {
				return err
			}
			answers[k].add(&count{Messages: uint64(len(c.Groups)), Groups: c.Groups})
			rates[k].add(&count{Messages: c.Messages, Took: c.Took})
		}
	}
	tables := []struct {
		title, what string
		all         []*entry
	}{
		{"until all of %[2]d have answered one message of %[1]s", "compare-latency", answers},
		{"one way, messages of %s to each of %d", "compare-throughput", rates},
	}
	for _, t := range tables {
		var figures []*figure
		for _, e := range t.all {
			e.figure.What = t.what
			if e.figure.Transport == laneTransport || e.figure.Transport == loanTransport {
				e.bare = packetTransport
			}
		}
		for _, e := range t.all {
			e.fill(t.all)
			figures = append(figures, &e.figure)
		}
		b.report.table(fmt.Sprintf("Compared: "+t.title, humanize.IBytes(uint64(size)), readers), figures)
	}
	for _, t := range tables {
		b.report.note(verdictOf(t.what, t.all))
	}
	return nil
}

// verdictOf says who is faster.
func verdictOf(what string, all []*entry) string {
	text := what + ":"
	for _, ours := range all[:2] {
		best := all[2]
		for _, other := range all[3:] {
			if other.faster(best) {
				best = other
			}
		}
		s := ratios(ours.values, best.values)
		if !ours.rate {
			s = ratios(best.values, ours.values)
		}
		// s is how many times faster memlane is.
		switch name := ours.figure.Transport; {
		case s.median == 0:
			text += fmt.Sprintf(" too short a time to say who is faster, %s or %s;", name, best.figure.Transport)
		case s.low <= 1 && s.high >= 1 || s.median > 0.95 && s.median < 1.05:
			text += fmt.Sprintf(" %s and %s tie (%s, in rounds %s–%s);", name, best.figure.Transport, number(s.median), number(s.low), number(s.high))
		case s.median > 1:
			text += fmt.Sprintf(" %s is %s times faster than %s;", name, number(s.median), best.figure.Transport)
		default:
			text += fmt.Sprintf(" THE SOCKET WINS: %s is %s times faster than %s;", best.figure.Transport, number(1/s.median), name)
		}
	}
	return text[:len(text)-1]
}

// faster says whether e is; one that had no time to send anything is not.
func (e *entry) faster(than *entry) bool {
	a, b := median(append([]float64(nil), e.values...)), median(append([]float64(nil), than.values...))
	if a == 0 || b == 0 {
		return a != 0
	}
	if e.rate {
		return a > b
	}
	return a < b
}

// A member is one side of one to many. send and receive are of the first one,
// which gathers an answer of each of the others; the others receive and answer.
type member struct {
	send    func(v uint64) error
	flush   func() error
	receive func(v uint64) (over bool, err error)
	answer  func() error
	gather  func() error // answers of all
	close   func()
}

// crowd is one member. First all messages are answered, then none but the last.
func crowd(t *task, _ io.Writer) (*count, error) {
	m, err := openMember(t)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if t.Side > 0 {
		for v, phase := uint64(1), 0; phase < 2; v++ {
			over, err := m.receive(v)
			if err == nil && (over || phase == 0) {
				err = m.answer()
			}
			if err != nil {
				return nil, err
			}
			if over {
				phase++
			}
		}
		return nil, nil
	}
	c := &count{}
	v := uint64(0)
	exchange := func(mark uint64) error {
		v++
		return errors.Join(m.send(v|mark), m.flush(), m.gather())
	}
	begun := time.Now()
	for now := time.Duration(0); now < t.Warm+t.Length/2 && len(c.Groups) < samplesMost; {
		if err := exchange(0); err != nil {
			return nil, err
		}
		after := time.Since(begun)
		if now > t.Warm {
			c.Groups = append(c.Groups, nanoseconds(after-now))
		}
		now = after
	}
	if err := exchange(final); err != nil {
		return nil, err
	}
	n := max(1, min(64, 1<<20/t.Size)) // between two looks at the clock
	first := v
	for begun = time.Now(); time.Since(begun) < t.Length/2; {
		for range n {
			v++
			if err := m.send(v); err != nil {
				return nil, err
			}
		}
	}
	err = exchange(final)
	c.Messages, c.Took = v-first, time.Since(begun)
	return c, err
}

func openMember(t *task) (*member, error) {
	if t.Transport == packetTransport || t.Transport == bufferedTransport {
		return socketMember(t), nil
	}
	return laneMember(t)
}

func socketMember(t *task) *member {
	n := 1
	if t.Side == 0 {
		n = t.Readers
	}
	var all []*socket
	for i := range n {
		all = append(all, openSocket(t, socketAt+i))
	}
	var b [1]byte
	return &member{
		send: func(v uint64) error {
			fill(all[0].out, v)
			for _, s := range all {
				if err := s.write(all[0].out); err != nil {
					return err
				}
			}
			return nil
		},
		flush: func() error {
			for _, s := range all {
				if err := s.flush(); err != nil {
					return err
				}
			}
			return nil
		},
		receive: all[0].take,
		answer: func() error {
			_, err := all[0].fd.Write(b[:])
			return err
		},
		gather: func() error {
			for _, s := range all {
				if _, err := s.fd.Read(b[:]); err != nil {
					return err
				}
			}
			return nil
		},
		close: func() {
			for _, s := range all {
				s.close()
			}
		},
	}
}

func laneMember(t *task) (m *member, err error) {
	ctx, cancel := contextOf(patience)
	defer cancel()
	l := &lane{task: t, out: make([]byte, t.Size)}
	if l.domain, err = memlane.Open("bench", &memlane.Config{Folder: t.Folder}); err != nil {
		return nil, err
	}
	hears, says, listeners := "news", "answers", 1
	if t.Side == 0 {
		hears, says, listeners = says, hears, t.Readers
	}
	if l.sub, err = pubsub.Subscribe(l.domain, hears, nil); err == nil {
		if l.pub, err = pubsub.Publish(l.domain, says, &pubsub.PublisherConfig{Policy: pubsub.Block}); err == nil {
			err = l.pub.WaitSubscribers(ctx, listeners)
		}
	}
	for err == nil && l.sub.Publishers() < listeners {
		if err = ctx.Err(); err == nil {
			time.Sleep(time.Millisecond)
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	t.Park = true // receive as programs do
	m = &member{
		send: func(v uint64) error {
			fill(l.out, v)
			return l.pub.Publish(background, l.out)
		},
		flush:   func() error { return nil },
		receive: l.receive,
		answer:  func() error { return l.pub.Publish(background, []byte{1}) },
		gather: func() error {
			for range t.Readers {
				if _, err := l.sub.Receive(background); err != nil {
					return err
				}
			}
			return nil
		},
		close: l.close,
	}
	if t.Transport == loanTransport {
		m.send, m.receive = l.lend, l.borrow
	}
	return m, nil
}
