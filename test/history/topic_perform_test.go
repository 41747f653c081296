package history

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

const (
	topicSlots = 8 // so few that a reader says at once how far it is

	// A turn of a publisher has five messages at most, and it has two lives of turnsMost, so
	// that the notes of a subscriber have room for all.
	turnsMost  = 40
	emptyNotes = 500 // how many times a subscriber notes that there was nothing
)

// A topicPerformer is a process that publishes or receives a topic, and writes it down.
type topicPerformer struct {
	diary   *diary
	domain  *memlane.Domain
	me      int
	notes   []note
	address uintptr // of them
	at      int     // the next of them
	value   uint64  // of the next message
	rnd     *rand.Rand

	topic  string
	policy pubsub.Policy
	number uint32
	two    bool // only the first publisher and the first subscriber take part; see offer and take
}

// performTopic is the helper process: args are the folder of the domain, the diary, and
// which of the processes it is. Each line of its input is a history to take part in: its
// number, the policy, the seed, and whether it is one of two.
func performTopic(args []string) error {
	d, err := openDiary(args[1])
	if err != nil {
		return err
	}
	me, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	domain, err := memlane.Open("history", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	p := &topicPerformer{diary: d, domain: domain, me: me, notes: d.of(me), address: d.Addr() + notesAt + uintptr(me*notesMost*noteBytes)}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var seed uint64
		if _, err := fmt.Sscan(in.Text(), &p.number, &p.policy, &seed, &p.two); err != nil {
			return fmt.Errorf("read %q: %w", in.Text(), err)
		}
		p.topic, p.at, p.value, p.rnd = fmt.Sprint("topic ", p.number), 0, uint64(me+1)<<32, rand.New(rand.NewPCG(seed, uint64(me)))
		fmt.Println("ready")
		p.await(storm)
		if err := p.play(); err != nil {
			return fmt.Errorf("history %d: %w", p.number, err)
		}
		fmt.Println("left")
	}
	return in.Err()
}

// play takes part in a history.
func (p *topicPerformer) play() error {
	publishes := p.me < topicPublishers
	switch {
	case p.two && p.me == 0:
		return p.offer()
	case p.two && p.me == topicPublishers:
		return p.take()
	case p.two && publishes:
		fmt.Println("done")
		return nil
	case p.two:
		return nil
	}
	p.comeLate()
	if publishes {
		return p.publish()
	}
	return p.subscribe()
}

// await waits for a stage of the history.
func (p *topicPerformer) await(stage uint32) {
	for !p.is(stage) {
		time.Sleep(10 * time.Microsecond)
	}
}

// is says whether that stage of the history has begun.
func (p *topicPerformer) is(stage uint32) bool { return p.diary.stage.Load() >= p.number*stages+stage }

// comeLate has the last publisher and the last subscriber wait until the first publisher is
// well under way.
func (p *topicPerformer) comeLate() {
	if p.me != topicPublishers-1 && p.me != topicProcesses-1 {
		return
	}
	for after := p.rnd.IntN(turnsMost / 2); p.diary.of(0)[after].done.Load() == 0; {
		time.Sleep(10 * time.Microsecond)
	}
}

// begin writes down that an operation begins.
func (p *topicPerformer) begin(o topicOp, value, many uint64) *note {
	n := &p.notes[p.at]
	n.op, n.value, n.many, n.sequence, n.publisher = o, value, many, 0, 0
	readClock(p.address + uintptr(p.at*noteBytes))
	n.done.Store(begun)
	return n
}

// end writes down that it has ended, and how.
func (p *topicPerformer) end(n *note, a answer) {
	readClock(p.address + uintptr(p.at*noteBytes+endAt))
	n.answer = a
	n.done.Store(ended)
	p.at++
}

// forget takes back a note of what came to nothing.
func (p *topicPerformer) forget(n *note) { n.done.Store(0) }

// do does an operation and writes it down.
func (p *topicPerformer) do(o topicOp, value, many uint64, f func() error) error {
	n := p.begin(o, value, many)
	err := f()
	p.end(n, topicAnswer(err))
	return err
}

func topicAnswer(err error) answer {
	var lag *pubsub.LaggedError
	switch {
	case err == nil:
		return ok
	case errors.Is(err, pubsub.ErrFull):
		return busy
	case err == pubsub.ErrEmpty:
		return no
	case errors.Is(err, context.DeadlineExceeded):
		return late
	case errors.As(err, &lag):
		return lagged
	}
	fmt.Fprintln(os.Stderr, err)
	return wrong
}

// within calls f with a context that ends soon.
func (p *topicPerformer) within(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(p.rnd.IntN(2000))*time.Microsecond)
	defer cancel()
	return f(ctx)
}

// rest lets others in between: not at all, or for a moment, or by sleeping.
func (p *topicPerformer) rest(most time.Duration) {
	switch p.rnd.IntN(16) {
	case 0:
		time.Sleep(time.Duration(p.rnd.Int64N(int64(most))))
	case 1, 2, 3:
		for end := time.Now().Add(time.Duration(p.rnd.IntN(10_000))); time.Now().Before(end); {
		}
	}
}

// message returns one with the next value, of n bytes: the value, how long it is, and bytes
// that follow from the value. Half of the sizes are in a slot.
func (p *topicPerformer) message(n int) []byte {
	b := make([]byte, n)
	p.fill(b)
	return b
}

func (p *topicPerformer) fill(b []byte) {
	binary.LittleEndian.PutUint64(b, p.value)
	binary.LittleEndian.PutUint64(b[8:], uint64(len(b)))
	for i := 16; i < len(b); i++ {
		b[i] = byte(p.value) + byte(i)
	}
	p.value++
}

func (p *topicPerformer) size() int {
	sizes := []int{16, 40, 112, 113, 500, 5000}
	return sizes[p.rnd.IntN(len(sizes))]
}

// valueOf returns a message's value, false if it is not whole.
func valueOf(b []byte) (value uint64, whole bool) {
	if len(b) < 16 || binary.LittleEndian.Uint64(b[8:]) != uint64(len(b)) {
		return 0, false
	}
	value = binary.LittleEndian.Uint64(b)
	for i := 16; i < len(b); i++ {
		if b[i] != byte(value)+byte(i) {
			return value, false
		}
	}
	return value, true
}

// publish is a publisher, once or twice.
func (p *topicPerformer) publish() error {
	for lives := 1 + p.rnd.IntN(4)/3; lives > 0; lives-- {
		var t *pubsub.Publisher
		err := p.do(publishes, 0, 0, func() (err error) {
			t, err = pubsub.Publish(p.domain, p.topic, &pubsub.PublisherConfig{Policy: p.policy, Slots: topicSlots})
			return err
		})
		if err != nil {
			return err
		}
		if p.rnd.IntN(2) == 0 {
			const early = topicSubscribers - 1
			p.do(awaits, 0, early, func() error {
				ctx, cancel := context.WithTimeout(context.Background(), answerTime)
				defer cancel()
				return t.WaitSubscribers(ctx, early)
			})
		}
		for turns := turnsMost/2 + p.rnd.IntN(turnsMost/2); turns > 0; turns-- {
			p.post(t)
			p.rest(300 * time.Microsecond)
		}
		if lives > 1 || p.rnd.IntN(2) == 0 {
			if err := p.do(leaves, 0, 0, t.Close); err != nil {
				return err
			}
			continue
		}
		defer t.Close()
	}
	fmt.Println("done")
	p.await(parts)
	return nil
}

// post publishes a message, in one way or the other, or a few.
func (p *topicPerformer) post(t *pubsub.Publisher) {
	value := p.value
	switch way := p.rnd.IntN(20); {
	case way < 8:
		b := p.message(p.size())
		p.do(posts, value, 1, func() error { return t.Publish(context.Background(), b) })
	case way < 10:
		b := p.message(p.size())
		p.do(posts, value, 1, func() error {
			return p.within(func(ctx context.Context) error { return t.Publish(ctx, b) })
		})
	case way < 14:
		b := p.message(16) // of the arena there may be nothing, too
		p.do(posts, value, 1, func() error { return t.TryPublish(b) })
	case way < 17:
		batch := make([][]byte, 2+p.rnd.IntN(4))
		for i := range batch {
			batch[i] = p.message(p.size())
		}
		p.do(posts, value, uint64(len(batch)), func() error { return t.PublishBatch(context.Background(), batch) })
	default:
		l, err := t.Loan(context.Background(), p.size())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			p.end(p.begin(posts, value, 1), wrong)
			return
		}
		p.fill(l.Bytes())
		if way == 19 {
			n := p.begin(posts, value, 1)
			l.Discard()
			p.end(n, discarded)
			return
		}
		p.do(posts, value, 1, func() error { return l.Publish(context.Background(), len(l.Bytes())) })
	}
}

// subscribe is a subscriber, once or twice.
func (p *topicPerformer) subscribe() error {
	slowness := time.Duration(1+p.rnd.IntN(400)) * time.Microsecond
	empties := 0
	for lives := 1 + p.rnd.IntN(4)/3; lives > 0; lives-- {
		var s *pubsub.Subscriber
		err := p.do(subscribes, 0, 0, func() (err error) {
			s, err = pubsub.Subscribe(p.domain, p.topic, nil)
			return err
		})
		if err != nil {
			return err
		}
		var held []pubsub.Borrowed
		for turns := 0; !p.is(parts) && (lives == 1 || turns < turnsMost); turns++ {
			held = p.hear(s, held, &empties)
			if !p.is(hush) {
				p.rest(slowness)
			}
		}
		for len(held) > 0 {
			held = p.release(held)
		}
		if lives > 1 {
			err = p.do(leaves, 0, 0, s.Close)
		} else {
			err = s.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hear receives a message, in one way or the other, or a few.
func (p *topicPerformer) hear(s *pubsub.Subscriber, held []pubsub.Borrowed, empties *int) []pubsub.Borrowed {
	n := p.begin(hears, 0, 0)
	var m pubsub.Message
	var err error
	switch way := p.rnd.IntN(8); {
	case way < 3:
		m, err = s.TryReceive()
	case way < 5:
		p.within(func(ctx context.Context) error { m, err = s.Receive(ctx); return err })
	case way < 6:
		p.within(func(ctx context.Context) error {
			_, err = s.ReceiveBatch(ctx, func(m pubsub.Message) bool {
				p.enter(n, m, nil)
				n = p.begin(hears, 0, 0)
				return p.rnd.IntN(4) != 0
			})
			return err
		})
		if err == nil {
			p.forget(n)
			return held
		}
	default:
		var b pubsub.Borrowed
		if way < 7 {
			b, err = s.TryBorrow()
		} else {
			p.within(func(ctx context.Context) error { b, err = s.Borrow(ctx); return err })
		}
		if m = b.Message; err == nil {
			held = append(held, b)
		}
	}
	a := topicAnswer(err)
	if a == no {
		*empties++
	}
	if a == late || a == no && (*empties > emptyNotes || p.is(hush)) {
		p.forget(n)
	} else {
		p.enter(n, m, err)
	}
	if len(held) > 3 {
		held = p.release(held)
	}
	return held
}

// enter writes down what was received.
func (p *topicPerformer) enter(n *note, m pubsub.Message, err error) {
	a := topicAnswer(err)
	var lag *pubsub.LaggedError
	if errors.As(err, &lag) {
		n.publisher, n.many = lag.Publisher, lag.Lost
	}
	if a == ok {
		value, whole := valueOf(m.Data)
		if !whole {
			a = torn
		}
		n.value, n.publisher, n.sequence = value, m.Publisher, m.Sequence
	}
	p.end(n, a)
}

// release gives back what was borrowed first, if it is still what it was.
func (p *topicPerformer) release(held []pubsub.Borrowed) []pubsub.Borrowed {
	if _, whole := valueOf(held[0].Data); !whole {
		p.end(p.begin(hears, 0, 0), torn)
	}
	held[0].Release()
	return held[1:]
}

const (
	fifoSlots = 2
	fifoTurns = 50
)

// offer publishes to one subscriber, without waiting for room.
func (p *topicPerformer) offer() error {
	var t *pubsub.Publisher
	err := p.do(publishes, 0, 0, func() (err error) {
		t, err = pubsub.Publish(p.domain, p.topic, &pubsub.PublisherConfig{Policy: p.policy, Slots: fifoSlots})
		return err
	})
	if err != nil {
		return err
	}
	defer t.Close()
	if err := p.do(awaits, 0, 1, func() error { return t.WaitSubscribers(context.Background(), 1) }); err != nil {
		return err
	}
	for range fifoTurns {
		b, value := p.message(16), p.value-1
		p.do(posts, value, 1, func() error { return t.TryPublish(b) })
		p.rest(20 * time.Microsecond)
	}
	fmt.Println("done")
	p.await(parts)
	return nil
}

// take receives what offer publishes, without waiting for it.
func (p *topicPerformer) take() error {
	for p.diary.of(0)[0].done.Load() != ended {
		time.Sleep(10 * time.Microsecond)
	}
	var s *pubsub.Subscriber
	err := p.do(subscribes, 0, 0, func() (err error) {
		s, err = pubsub.Subscribe(p.domain, p.topic, nil)
		return err
	})
	if err != nil {
		return err
	}
	defer s.Close()
	for !p.is(parts) {
		n := p.begin(hears, 0, 0)
		m, err := s.TryReceive()
		if err == pubsub.ErrEmpty && (p.at > fifoTurns || p.diary.of(0)[1].done.Load() != ended) {
			p.forget(n)
			continue
		}
		p.enter(n, m, err)
		p.rest(20 * time.Microsecond)
	}
	return nil
}
