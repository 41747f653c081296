package pubsub

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/schema"
	"github.com/memlane/memlane/segment"
)

// SubscriberConfig is what can be set of a subscriber. A nil *SubscriberConfig, or
// 0, has the defaults. What is below 0 is an error that matches os.ErrInvalid.
type SubscriberConfig struct {
	// History is how many of the messages that were published before it
	// subscribed it gets of each publisher, if they are still in its ring and, those that
	// fit in no slot, in its arena, which without subscribers does not grow for them: at
	// least so many, as batches are not divided. None by default; [AllHistory] are all.
	History int

	// Peek: no publisher waits for this subscriber, whatever its policy is, and
	// [Publisher.WaitSubscribers] does not count it.
	Peek bool

	// Quota is how much memory one publisher may have it map, in bytes, of all that it
	// has: its ring, and its arena as that grows; 1 GiB. Beyond it the publisher is not
	// received from any more: Receive returns an error that matches segment.ErrQuota.
	Quota int64

	// Schema, or ContentType, is what the messages must be: see PublisherConfig.
	Schema      *schema.Schema
	ContentType string // a media type
}

// AllHistory is a [SubscriberConfig] History of everything that is still there.
const AllHistory = math.MaxInt

// Message is one message.
type Message struct {
	// Data is the message, until the next call of the subscriber that receives.
	Data []byte
	// Publisher tells the publishers of a topic apart: no two have the same.
	Publisher uint64
	// Sequence is how many messages this publisher had published before.
	Sequence uint64
}

// Subscriber receives the messages of a topic, of all its publishers. It is for one
// goroutine at a time; Close may be called at any time.
type Subscriber struct {
	domain *domain.Domain
	topic  string
	config SubscriberConfig
	format ring.Format // what it wants
	port   *meet.Port

	// Of the receiving goroutine.
	buffer  []byte
	turn    int        // which source was asked last
	current *source    // which is asked first; nil: the next one
	streak  int        // messages in a row from it
	polled  *[]*source // those that were asked last
	spinner wait.Spinner
	on      []wait.On
	spares  spares
	leaks   *leaks

	sources atomic.Pointer[[]*source] // that have been granted; changed with mu
	closed  atomic.Bool
	bell    wait.Bell // see ring
	group   atomic.Pointer[Group]

	unreported atomic.Bool // whether there are any of refused; changed with mu

	mu        sync.Mutex
	known     map[*meet.Remote]*source // all, also those that have not answered yet
	failed    []error                  // why some could not be asked
	refused   []error                  // by some, or they could not be had; those that were not reported yet
	news      chan struct{}            // closed when one of the above changes
	again     map[uint64]*meet.Remote  // publishers that are here again while their source is drained
	until     []where                  // those whose connection was lost, the last ones
	forgotten bool                     // of some it is not known any more where they were
	given     []uint64                 // publishers that were given up, the last ones
	past      SubscriberStats          // with sources that were removed
	kept      []*source                // that were removed while something of them was borrowed
}

// untilMost is of how many publishers it is remembered where they were. Whoever comes
// and goes more often is only received from where it is.
const untilMost = 256

// answerTime is how long Subscribe waits for publishers that do not answer and are stopped,
// or may be.
const answerTime = 100 * time.Millisecond

// Subscribe begins to receive a topic.
//
// When it returns, everything that the publishers which are there publish from then on
// is received, or reported as lost; but for those that have not answered within 100 ms
// because they are stopped, or, though they are not, within a second, or could not for want
// of descriptors: they follow when they do, and of the latter two Receive says so, if they
// have published. Publishers that come later are received from their first message on; what
// they have no more when the two meet, because this process did not answer for long, is
// reported as lost.
//
// If all publishers that are there refuse, because their messages are others, it is an error that
// matches [ErrRefused]. Of those that refuse beside others, or come later, Receive
// tells.
func Subscribe(d *memlane.Domain, topic string, c *SubscriberConfig) (*Subscriber, error) {
	s := &Subscriber{domain: domain.Of(d), topic: topic, news: make(chan struct{}), leaks: newLeaks(domain.Of(d)),
		known: map[*meet.Remote]*source{}, again: map[uint64]*meet.Remote{}}
	if c != nil {
		s.config = *c
	}
	fail := func(err error, fix string) (*Subscriber, error) {
		return nil, &Error{"subscribe to", topic, err, fix}
	}
	var err error
	if s.format, err = s.config.check(); err != nil {
		return fail(err, "see SubscriberConfig")
	}
	if s.config.Quota == 0 {
		s.config.Quota = 1 << 30
	}
	s.sources.Store(&[]*source{})
	s.port = &meet.Port{Kind: meet.Topic, Name: topic, Role: meet.Subscriber, Brief: true, Handler: asker{s},
		Settings: settingsOf(0, s.format).encode()}
	if err := s.domain.Own(s); err != nil {
		return fail(err, "")
	}
	err = s.domain.Add(s.port)
	if err == nil {
		err = s.awaitAnswers()
	}
	if err != nil {
		s.Close()
		fix := ""
		switch {
		case errors.Is(err, ErrRefused):
			fix = fixRefused
		case meet.Starved(err):
			_, err = meet.Limited(err)
			fix = fixStarved
		}
		return fail(err, fix)
	}
	return s, nil
}

// awaitAnswers waits until all publishers that were found have granted or refused,
// or are gone.
func (s *Subscriber) awaitAnswers() error {
	patience := time.NewTimer(answerTime)
	defer patience.Stop()
	begun, late := time.Now(), false
	for {
		s.mu.Lock()
		asked, granted, slow := 0, 0, false
		for r, src := range s.known {
			if src.reader == nil {
				asked++
				if late && time.Since(begun) >= meet.Slow {
					r.GiveUp()
				}
				slow = slow || late && r.Slow()
			} else {
				granted++
			}
		}
		refusals := slices.DeleteFunc(append(slices.Clone(s.failed), s.refused...), func(err error) bool {
			return errors.Is(err, errLost) // who comes again has not refused
		})
		refused, news := errors.Join(refusals...), s.news
		s.mu.Unlock()
		switch {
		case asked == 0 && granted == 0 && refused != nil:
			return refused
		case asked == 0, late && !slow:
			return nil
		}
		select {
		case <-news:
		case <-patience.C:
			late = true
			patience.Reset(answerTime)
		}
	}
}

// Topic returns the topic's name.
func (s *Subscriber) Topic() string { return s.topic }

// Publishers returns how many publishers are received from. Those that are gone are
// counted until their last message has been received.
func (s *Subscriber) Publishers() int { return len(*s.sources.Load()) }

// Receive returns the next message, and waits for it until the context ends. With a
// context that has ended it returns that error, even if there are messages.
//
// Errors match [*LaggedError], after which receiving goes on; [ErrMissed], once, of a publisher
// that was there and could not be met in time; [ErrRefused], once for
// each publisher that does, after which it goes on without that one; [ErrCorrupt],
// after which it goes on without the publisher that is to blame; syscall.EMFILE or
// another of the kernel's, if this process cannot have the memory of a publisher, or
// segment.ErrQuota, if it is more than SubscriberConfig.Quota, after which it goes on
// without that one; [ErrClosed], and the context's cause. Beside an error the message is
// empty.
//
// If the connection to a publisher is lost, because one of the two processes has no more
// descriptors, an error says so, and it goes on: a connection is begun again as soon as
// that is possible, and what was published meanwhile is received then, if it is still
// there.
func (s *Subscriber) Receive(ctx context.Context) (m Message, err error) {
	m.Data, m.Publisher, m.Sequence, _, err = s.next(ctx) // so short that it is inlined
	return
}

// next is Receive that also says whether receiving goes on after it. The error alone
// does not tell: the context may have ended while it is another one.
//
// It returns a message in its parts, which stay in registers: a Message is too large
// for that, and to copy one just after its parts were stored takes as long as all else.
func (s *Subscriber) next(ctx context.Context) (data []byte, publisher, sequence uint64, goesOn bool, err error) {
	for looks := 1; ; looks++ {
		if err := cause(ctx); err != nil {
			return nil, 0, 0, false, s.explain(err)
		}
		data, publisher, sequence, err = s.poll()
		switch {
		case err == nil:
			return data, publisher, sequence, true, nil
		case err != ErrEmpty:
			return nil, 0, 0, !errors.Is(err, ErrClosed), err
		}
		if looks%ring.LooksOfStream != 0 {
			continue
		}
		if err := s.wait(ctx); err != nil {
			return nil, 0, 0, false, s.explain(err)
		}
	}
}

// TryReceive returns the next message, or [ErrEmpty], exactly that value, if there
// is none.
func (s *Subscriber) TryReceive() (m Message, err error) {
	m.Data, m.Publisher, m.Sequence, err = s.poll()
	return
}

// ReceiveBatch calls fn with messages until there is none, fn returns false, or the
// context ends; it waits for the first one, as Receive does. It returns how many there
// were, also beside an error; that the context has ended is an error of the next call,
// if there were any.
func (s *Subscriber) ReceiveBatch(ctx context.Context, fn func(Message) bool) (int, error) {
	m, err := s.Receive(ctx)
	for n := 0; ; n++ {
		switch {
		case n > 0 && err == ErrEmpty:
			return n, nil
		case err != nil:
			return n, err
		case !fn(m) || ctx.Err() != nil:
			return n + 1, nil
		}
		m, err = s.TryReceive()
	}
}

// All returns the messages as they come, until the context ends, or the subscriber
// is closed: that error is the last that it yields. After others it goes on, as Receive
// does: after a [*LaggedError] with the messages that are left, after [ErrRefused] or
// [ErrCorrupt] with those of the other publishers.
//
// Beside an error the message is empty. Look at both, also where an error would not
// matter: to range over the messages alone takes each loss for an empty message.
//
//	for message, err := range orders.All(ctx) {
//		if err != nil {
//			log.Print(err)
//			continue // it ends by itself
//		}
//		serve(message.Data)
//	}
func (s *Subscriber) All(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for goesOn := true; goesOn; {
			var m Message
			var err error
			m.Data, m.Publisher, m.Sequence, goesOn, err = s.next(ctx)
			if !yield(m, err) {
				return
			}
		}
	}
}

// streakMost is how many messages of one publisher are returned before the next one
// is asked.
const streakMost = 16

// poll returns the next message of any source. It asks the one that had the last
// again, as long as its turn is, and whoever is the only one.
func (s *Subscriber) poll() (message []byte, publisher, sequence uint64, err error) {
	src := s.current
	if src == nil || s.unreported.Load() {
		return s.pollAll()
	}
	data, sequence, err := src.reader.Next(s.buffer[:0])
	if err == nil {
		s.adapt(data)
		if s.streak++; s.streak >= streakMost {
			s.current = nil
		}
		if s.closed.Load() {
			return nil, 0, 0, s.explain(ErrClosed) // the memory may have been cut off before
		}
		return data, src.id, sequence, nil
	}
	if err == ErrEmpty && s.polled == s.sources.Load() && len(*s.polled) == 1 && !src.gone.Load() && !s.closed.Load() {
		return nil, 0, 0, ErrEmpty
	}
	s.current = nil
	if err != ErrEmpty { // which pollAll finds too, of all
		if err = s.ended(src, err); err != nil {
			return nil, 0, 0, err
		}
	}
	return s.pollAll()
}

// adapt has the buffer be as large as a message was, for the next one. The message itself
// may be the memory of a reader, who will have another batch there.
func (s *Subscriber) adapt(message []byte) {
	if cap(message) > cap(s.buffer) {
		s.buffer = make([]byte, 0, cap(message))
	}
}

// turnTo returns the source whose turn it is: whoever was asked last comes last.
func (s *Subscriber) turnTo(sources []*source) *source {
	if s.turn++; s.turn >= len(sources) {
		s.turn = 0
	}
	return sources[s.turn]
}

// pollAll is poll that asks all sources.
func (s *Subscriber) pollAll() (message []byte, publisher, sequence uint64, err error) {
	s.current = nil
	if s.unreported.Load() {
		if err := s.refusal(); err != nil {
			return nil, 0, 0, err
		}
	}
	s.polled = s.sources.Load()
	sources := *s.polled
	for range sources {
		src := s.turnTo(sources)
		if s.handOver(src) {
			if lost := src.chunks.ending(); lost != nil {
				return nil, 0, 0, s.explain(lost)
			}
			continue
		}
		data, sequence, err := src.reader.Next(s.buffer[:0])
		if err == nil {
			s.adapt(data)
			s.current, s.streak = src, 1
			if s.closed.Load() {
				return nil, 0, 0, s.explain(ErrClosed)
			}
			return data, src.id, sequence, nil
		}
		if err = s.ended(src, err); err != nil {
			return nil, 0, 0, err
		}
	}
	if s.closed.Load() {
		return nil, 0, 0, s.explain(ErrClosed)
	}
	return nil, 0, 0, ErrEmpty
}

// ended handles what a source has returned instead of a message: nil if there is
// nothing to say about it.
func (s *Subscriber) ended(src *source, err error) error {
	switch {
	case s.closed.Load():
		return s.explain(ErrClosed) // and its memory was cut off
	case err == ErrEmpty && !src.gone.Load():
		return nil
	case err == ErrEmpty:
		// It can have published something between our look and its end; look once
		// more. It writes no more.
		if src.drained {
			if rest := src.reader.Rest(); rest != nil {
				return s.explain(&LaggedError{rest.Lost, src.id})
			}
			s.remove(src)
			if why := src.chunks.ending(); why != nil {
				return s.explain(why)
			}
		}
		src.drained = true
		s.ring() // so that nobody sleeps before the second look
		return nil
	}
	if lagged, ok := err.(*ring.LaggedError); ok {
		return s.explain(&LaggedError{lagged.Lost, src.id})
	}
	if err == ErrTooManyHolds || errors.Is(err, ErrTooLargeToBorrow) {
		return s.explain(err)
	}
	s.remove(src)
	if why := src.chunks.ending(); (why == nil || err != why) && !errors.Is(err, errUnsent) {
		s.domain.Node().Drop(src.remote, err)
	}
	return s.explain(err)
}

func (s *Subscriber) explain(err error) error {
	fix := ""
	switch {
	case errors.Is(err, ErrCorrupt):
		fix = "the publisher is broken or hostile; it is not listened to any more"
	case errors.Is(err, ErrTooLargeToBorrow):
		fix = "receive a copy of it with Receive, or make PublisherConfig.ArenaLimit eight times as large as the message"
	case errors.Is(err, ErrTooManyHolds):
		fix = "release what was borrowed, or receive copies"
	case errors.Is(err, ErrRefused):
		fix = fixRefused
	case errors.Is(err, errUnsent):
		fix = "what follows is received, if the connection is begun again"
	case errors.Is(err, ErrMissed):
		fix = "if one of the two processes has no descriptors left, raise ulimit -n; what follows is received"
	case errors.Is(err, errLost):
		fix = "raise ulimit -n there, or close what is not needed; what is published meanwhile is received, or told as lost"
	case meet.Starved(err):
		_, err = meet.Limited(err)
		fix = fixStarved
	case errors.Is(err, segment.ErrQuota):
		fix = "subscribe with a larger SubscriberConfig.Quota, or have the publisher use a smaller ArenaLimit"
	case errors.Is(err, ErrSchema):
		fix = "have all publishers of the topic use PublishOf, a Schema or a ContentType"
	default:
		if _, lagged := err.(*LaggedError); lagged {
			fix = "receive faster, or have the publisher use more slots, or Block"
		}
	}
	return &Error{"receive from", s.topic, err, fix}
}

// wait waits until there may be a message.
func (s *Subscriber) wait(ctx context.Context) error {
	// What is looked at after this ends the sleep.
	rung := s.bell.Rung()
	sources := *s.sources.Load()
	switch {
	case s.closed.Load():
		return ErrClosed
	case s.unreported.Load():
		return nil
	}
	if s.spin(sources) {
		return nil
	}
	var ready bool
	s.on, ready = sleep(sources, s.on[:0])
	var err error
	switch {
	case ready:
	case len(s.on) == 0:
		// Nobody publishes yet.
		err = s.bell.Wait(ctx, rung)
	default:
		err = wait.ParkAny(ctx, s.on, &s.bell, rung)
	}
	awake(sources)
	return err
}

// ring has whoever waits look again: the sources have changed, or it is closed.
func (s *Subscriber) ring() {
	s.bell.Ring()
	if g := s.group.Load(); g != nil {
		g.bell.Ring()
	}
}

// sleep says that the receiving goroutine is going to sleep until one of the sources has a
// message, and adds the words to sleep on. If one has something already, ready is true. In
// either case awake must follow.
func sleep(sources []*source, on []wait.On) (all []wait.On, ready bool) {
	for _, src := range sources {
		if src.gone.Load() {
			return on, true
		}
		word, seen, ok := src.reader.Sleep()
		if !ok {
			return on, true
		}
		on = append(on, wait.On{Word: word, Seen: seen})
	}
	return on, false
}

// awake says that it does not sleep any more.
func awake(sources []*source) {
	for _, src := range sources {
		src.reader.Awake()
	}
}

// stamps adds the words to look at while one waits for a message.
func stamps(sources []*source, on []wait.On) []wait.On {
	for _, src := range sources {
		word, seen := src.reader.Stamp()
		on = append(on, wait.On{Word: word, Seen: seen})
	}
	return on
}

// spin looks for a while, and says whether there is something.
func (s *Subscriber) spin(sources []*source) bool {
	if len(sources) == 0 {
		return false
	}
	s.on = stamps(sources, s.on[:0])
	return s.spinner.SpinAny(s.on)
}

// Close ends the subscriber. A call in flight ends with an error that matches
// [ErrClosed]; what was borrowed must not be touched any more. Closing it again
// does nothing.
func (s *Subscriber) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.ring()
	err := s.domain.Remove(s.port)
	s.domain.Disown(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range *s.sources.Load() {
		s.past.add(src)
		src.close(s.domain)
	}
	for _, src := range s.kept {
		src.close(s.domain)
	}
	s.kept = nil
	if err != nil {
		return &Error{"close the subscriber of", s.topic, err, ""}
	}
	if err := s.leaks.err("messages"); err != nil {
		return &Error{"close the subscriber of", s.topic, err, "release each message that is borrowed before"}
	}
	return nil
}
