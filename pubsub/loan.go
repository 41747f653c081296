package pubsub

import (
	"context"
	"fmt"
	"os"

	"github.com/memlane/memlane/internal/ring"
)

// Loan is memory that subscribers will read in place. Copies of it are the same loan,
// which is published or discarded once: that ends all of them.
type Loan struct {
	p      *Publisher
	ticket ticket
	loan   ring.Loan
}

// Loan takes n bytes of the arena, to be filled in and published without a copy.
// They are not cleared. There can be several loans; each is published or discarded,
// by the publisher's goroutine.
func (p *Publisher) Loan(ctx context.Context, n int) (l Loan, err error) {
	err = cause(ctx)
	if err == nil && n < 0 {
		err = fmt.Errorf("%w: %d bytes", os.ErrInvalid, n)
	}
	if err == nil {
		l.loan, err = p.writer.Loan(ctx, n)
	}
	if err != nil {
		return l, p.explained("take a loan of", err)
	}
	l.p, l.ticket = p, p.loans.take()
	if p.leaks != nil {
		p.leaks.take(l.ticket)
	}
	return l, nil
}

// Bytes returns the memory, until the loan is published or discarded, or its
// publisher closed.
func (l *Loan) Bytes() []byte { return l.loan.Bytes() }

// Publish publishes the first n bytes, once: a second time is an error, of this loan
// or of a copy. It waits as [Publisher.Publish] does. After an error other than
// [ErrClosed] the loan can still be published, or discarded.
func (l *Loan) Publish(ctx context.Context, n int) error {
	if err := l.check(n); err != nil {
		return err
	}
	if err := cause(ctx); err != nil {
		return l.p.explain(err)
	}
	// A copy of the loan that is published once more would lend the memory to the next
	// message while subscribers have this one borrowed.
	err := l.p.writer.PublishLoan(ctx, l.loan, n)
	if err == nil || l.p.isClosed() { // then it may have been published all the same
		l.end()
	}
	return l.p.explain(err)
}

// check returns what is wrong with publishing n bytes of the loan.
func (l *Loan) check(n int) error {
	switch {
	case l.p == nil:
		return &Error{"publish", "", fmt.Errorf("%w: a loan that nobody has taken", os.ErrInvalid), "take it with Publisher.Loan, and publish a loan once"}
	case !l.p.loans.has(l.ticket):
		return &Error{"publish", l.p.topic, fmt.Errorf("%w: a loan that was published or discarded before", os.ErrInvalid), "publish a loan once"}
	case n < 0 || n > len(l.Bytes()):
		return &Error{"publish", l.p.topic, fmt.Errorf("%w: %d bytes of a loan of %d", os.ErrInvalid, n, len(l.Bytes())), "publish no more than the loan has"}
	}
	return nil
}

// Discard gives the memory back, unpublished. Discarding a loan that was published or
// discarded does nothing.
func (l *Loan) Discard() {
	if l.p != nil && l.p.loans.has(l.ticket) {
		l.p.writer.Return(l.loan)
		l.end()
	}
}

// end makes this handle, and all copies of it, nobody's.
func (l *Loan) end() {
	l.p.loans.give(l.ticket)
	if l.p.leaks != nil {
		l.p.leaks.give(l.ticket)
	}
	l.loan = ring.Loan{}
}
