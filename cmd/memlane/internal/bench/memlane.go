package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

var background = context.Background()

// patience is how long one process waits for the other one.
const patience = 20 * time.Second

// lane is one side of two that meet in a domain: each publishes what the other
// subscribes to.
type lane struct {
	task   *task
	domain *memlane.Domain
	pub    *pubsub.Publisher
	sub    *pubsub.Subscriber
	out    []byte
	outs   [][]byte // several, for one way
}

func openLane(t *task, policy pubsub.Policy) (l *lane, err error) {
	l = &lane{task: t, out: make([]byte, t.Size)}
	l.outs = messagesOf(t)
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.domain, err = memlane.Open("bench", &memlane.Config{Folder: t.Folder}); err != nil {
		return l, err
	}
	if l.sub, err = pubsub.Subscribe(l.domain, fmt.Sprintf("from %d", 1-t.Side), nil); err != nil {
		return l, err
	}
	if l.pub, err = pubsub.Publish(l.domain, fmt.Sprintf("from %d", t.Side), &pubsub.PublisherConfig{Policy: policy}); err != nil {
		return l, err
	}
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	return l, l.pub.WaitSubscribers(ctx, 1)
}

func (l *lane) close() {
	if l.domain != nil {
		l.domain.Close()
	}
}

// copied is one message there, one back, both copied in and out.
func (l *lane) copied() pair {
	send := func(v uint64) error {
		fill(l.out, v)
		return l.pub.TryPublish(l.out)
	}
	take := l.take
	if l.task.Park {
		take = l.receive
	}
	return pair{
		trip: func(v uint64) error {
			if err := send(v); err != nil {
				return err
			}
			_, err := take(v &^ final)
			return err
		},
		answer: func(v uint64) (over bool, err error) {
			if over, err = take(v); err != nil {
				return over, err
			}
			if over {
				v |= final
			}
			return over, send(v)
		},
		close: l.close,
	}
}

// take looks for the next message until it is there.
func (l *lane) take(v uint64) (over bool, err error) {
	for {
		m, err := l.sub.TryReceive()
		if err == nil {
			return check(m.Data, l.task.Size, v)
		}
		if err != pubsub.ErrEmpty {
			return false, err
		}
	}
}

// receive waits for the next message as programs do.
func (l *lane) receive(v uint64) (over bool, err error) {
	m, err := l.sub.Receive(background)
	if err != nil {
		return false, err
	}
	return check(m.Data, l.task.Size, v)
}

// loaned is the same without a copy: the message is written and read where it is.
func (l *lane) loaned() pair {
	return pair{
		trip: func(v uint64) error {
			if err := l.lend(v); err != nil {
				return err
			}
			_, err := l.borrow(v &^ final)
			return err
		},
		answer: func(v uint64) (over bool, err error) {
			if over, err = l.borrow(v); err != nil {
				return over, err
			}
			if over {
				v |= final
			}
			return over, l.lend(v)
		},
		close: l.close,
	}
}

func (l *lane) lend(v uint64) error {
	loan, err := l.pub.Loan(background, l.task.Size)
	if err != nil {
		return err
	}
	if l.task.Touched {
		fill(loan.Bytes(), v)
	} else {
		binary.LittleEndian.PutUint64(loan.Bytes(), v)
	}
	return loan.Publish(background, l.task.Size)
}

func (l *lane) borrow(v uint64) (over bool, err error) {
	for {
		b, err := l.tryBorrow()
		if err == nil {
			if l.task.Touched {
				over, err = check(b.Data, l.task.Size, v)
			} else {
				over, err = checkFirst(b.Data, l.task.Size, v)
			}
			b.Release()
			return over, err
		}
		if err != pubsub.ErrEmpty {
			return false, err
		}
	}
}

func (l *lane) tryBorrow() (pubsub.Borrowed, error) {
	if l.task.Park {
		return l.sub.Borrow(background)
	}
	return l.sub.TryBorrow()
}

// oneWay is messages in one direction, one by one or in batches.
func (l *lane) oneWay() stream {
	s := stream{put: l.putEach, get: l.get, barrier: l.meet, close: l.close}
	switch {
	case l.task.Transport == loanTransport:
		s.put, s.get = l.putLoans, l.getLoans
	case l.task.Batch > 1:
		s.put = l.putBatches
	}
	return s
}

// messagesOf makes room for the messages that are written at once.
func messagesOf(t *task) (all [][]byte) {
	for range writtenOf(t) {
		all = append(all, make([]byte, t.Size))
	}
	return all
}

// fillAll writes messages from v on, and returns the number after them.
func fillAll(messages [][]byte, v uint64, over bool) uint64 {
	for i, m := range messages {
		if over && i == len(messages)-1 {
			fill(m, v|final)
		} else {
			fill(m, v)
		}
		v++
	}
	return v
}

func (l *lane) putEach(v uint64, n int, over bool) error {
	for at := 0; at < n; at += len(l.outs) {
		v = fillAll(l.outs, v, over && at+len(l.outs) >= n)
		for _, m := range l.outs {
			if err := l.pub.Publish(background, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lane) putBatches(v uint64, n int, over bool) error {
	for at := 0; at < n; at += len(l.outs) {
		v = fillAll(l.outs, v, over && at+len(l.outs) >= n)
		for i := 0; i < len(l.outs); i += l.task.Batch {
			if err := l.pub.PublishBatch(background, l.outs[i:i+l.task.Batch]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lane) putLoans(v uint64, n int, over bool) error {
	for i := range n {
		if over && i == n-1 {
			v |= final
		}
		if err := l.lend(v); err != nil {
			return err
		}
		v++
	}
	return nil
}

func (l *lane) get(v uint64) (next uint64, err error) {
	take := l.take
	if l.task.Park {
		take = l.receive
	}
	for {
		over, err := take(v)
		v++
		if over || err != nil {
			return v, err
		}
	}
}

func (l *lane) getLoans(v uint64) (next uint64, err error) {
	for {
		over, err := l.borrow(v)
		v++
		if over || err != nil {
			return v, err
		}
	}
}

// meet is the end of a phase: the receiving side says that it has all.
func (l *lane) meet() error {
	if l.task.Side == 1 {
		return l.pub.Publish(background, []byte("all"))
	}
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	m, err := l.sub.Receive(ctx)
	if err == nil && string(m.Data) != "all" {
		err = errors.New("the receiving side says nonsense")
	}
	return err
}
