package pubsub

import (
	"bytes"
	"context"
)

// Delivery is what comes out of a channel of messages: a message, or an error beside which it
// is empty.
type Delivery struct {
	Message
	Err error // as Receive returns it
}

// Channel returns the messages as they come in a channel, for select. From then on the
// subscriber is the channel's: nobody else may receive with it. Data is a copy, which is
// whoever's receives it. It is closed after the error that says that the context has ended or
// the subscriber was closed; if nobody receives that, it is closed without it. A channel that
// is full, with size deliveries, is waited for, and the subscriber lags behind.
//
// It costs a goroutine, and for each message an allocation and what a channel costs, some 200
// ns: where it is only about several topics, a [Group] costs less.
func (s *Subscriber) Channel(ctx context.Context, size int) <-chan Delivery {
	c := make(chan Delivery, size)
	go func() {
		defer close(c)
		for {
			data, publisher, sequence, goesOn, err := s.next(ctx)
			d := Delivery{Err: err}
			if err == nil {
				d.Message = Message{bytes.Clone(data), publisher, sequence}
			}
			if !goesOn {
				select {
				case c <- d:
				default: // nobody looks any more
				}
				return
			}
			select {
			case c <- d:
			case <-ctx.Done():
				select {
				case c <- Delivery{Err: s.explain(context.Cause(ctx))}:
				default:
				}
				return
			}
		}
	}()
	return c
}
