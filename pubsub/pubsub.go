// Package pubsub is topics: some processes publish messages, others get them all
// (layer L7).
//
//	orders, err := pubsub.Publish(domain, "orders", nil)
//	err = orders.Publish(ctx, []byte("one espresso"))
//
//	orders, err := pubsub.Subscribe(domain, "orders", nil)
//	for message, err := range orders.All(ctx) { ... }
//
// A publisher writes into memory of its own, which subscribers only read, wherever
// in that memory they are; to send a message to a hundred subscribers costs hardly
// more than to send it to one. No message passes through the kernel, which is asked only
// to wake who has fallen asleep.
//
// # What a message is
//
// Bytes, of any number. [PublishOf] and [SubscribeOf] are for values of a type, which lie
// in memory as they do in a Go program; their publisher has a schema, by which tools and
// programs in other languages decode them: see [Subscriber.Format]. Bytes can have a content
// type instead. A subscriber that wants another schema or content type than the publisher
// has gets none of its messages, and both are told what the difference is: the subscriber
// by an error that matches [ErrRefused], of Subscribe or of the call that receives, the
// publisher by that of [Publisher.WaitSubscribers].
//
// # When a subscriber is slow
//
// A publisher has a ring of messages, 1024 by default. If a subscriber is further
// behind than that, the publisher's [Policy] decides: under [DropOldest], the default,
// the subscriber loses the oldest messages, and is told how many by a
// [LaggedError]; nobody else notices. Under [Block] the publisher waits for it, until
// it goes on, leaves, or dies.
//
// # What happens when a process dies
//
// Nothing happens to the others. Of a publisher that is killed, subscribers still
// get everything that it had published, and never half a message. A publisher
// that blocks does not wait for a subscriber that is gone.
//
// # Contexts
//
// A context that has ended ends a call before it does anything: nothing is received
// or published, though there be messages, or room. The error matches its cause.
//
// # Who may do what at once
//
// A Publisher is for one goroutine at a time, and so is a Subscriber; any goroutine
// may close them, or release what was borrowed. Two publishers, two subscribers, and
// the two sides of a topic do not share anything. A goroutine that publishes to
// itself under Block and does not receive waits for itself, for ever.
package pubsub

import (
	"errors"
	"fmt"

	"github.com/memlane/memlane/internal/ring"
)

// Policy is what a publisher does when a subscriber is a whole ring behind.
type Policy uint32

// The policies.
const (
	// DropOldest drops the oldest messages; the subscriber is told.
	DropOldest = Policy(ring.DropOldest)
	// Block waits for the slowest subscriber.
	Block = Policy(ring.Block)
)

// String returns the policy's name.
func (p Policy) String() string { return ring.Policy(p).String() }

// Errors that those of this package match.
var (
	// ErrClosed: the publisher, the subscriber or its domain was closed. It matches
	// os.ErrClosed too.
	ErrClosed = ring.ErrClosed
	// ErrFull: the publisher would have to wait.
	ErrFull = ring.ErrFull
	// ErrTooLarge: the message is larger than half of PublisherConfig.ArenaLimit, or
	// what is left of that in a limit that is not a power of two.
	ErrTooLarge = ring.ErrTooLarge
	// ErrArenaFull: all memory for messages is on loan or borrowed.
	ErrArenaFull = ring.ErrArenaFull
	// ErrEmpty: there is no message just now.
	ErrEmpty = ring.ErrEmpty
	// ErrCorrupt: a publisher's memory makes no sense.
	ErrCorrupt = ring.ErrCorrupt
	// ErrSchema: a message is not what the type says.
	ErrSchema = errors.New("not of this type")
	// ErrHeld: what was lent had not been given back when its publisher or subscriber was
	// closed: see memlane.Config.LeakCheck.
	ErrHeld = errors.New("not given back")
	// ErrMissed: a publisher that was there when it was subscribed to did not answer for a
	// second, though it ran, or could not be met for want of descriptors; what it has published
	// until now was not received. How much that is nobody knows.
	ErrMissed = errors.New("a publisher could not be met in time, and what it has published until now was not received")
	// ErrRefused: a publisher does not want this subscriber.
	ErrRefused = errors.New("the publisher refuses")
	// ErrTooLargeToBorrow: the message is larger than an eighth of the publisher's
	// ArenaLimit. It can be received.
	ErrTooLargeToBorrow = ring.ErrTooLargeToBorrow
	// ErrTooManyHolds: the subscriber has borrowed all that it may: 64 messages, or
	// an eighth of the ArenaLimit.
	ErrTooManyHolds = ring.ErrTooManyHolds
)

// LaggedError says that a publisher dropped messages before the subscriber came to
// them, and how many. It is returned once for each time, before the first message
// after them; receiving goes on.
type LaggedError struct {
	Lost      uint64 // how many messages
	Publisher uint64 // of which publisher: see Message
}

func (e *LaggedError) Error() string {
	return fmt.Sprintf("%d messages of publisher %016x were lost: it drops the oldest when the subscriber is a whole ring behind", e.Lost, e.Publisher)
}

// Error is an error of this package.
type Error struct {
	Op    string // what was done
	Topic string // with what
	Err   error  // what went wrong
	Fix   string // what to do about it; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("pubsub: %s %q: %v", e.Op, e.Topic, e.Err)
	if e.Fix != "" {
		s += " (" + e.Fix + ")"
	}
	return s
}

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }
