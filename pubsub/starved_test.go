package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// soon waits until a condition is met, in a process that has no test.
func soon(what string, is func() bool) error {
	for end := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			return fmt.Errorf("never %s", what)
		}
	}
	return nil
}

// receiveOne waits until there is a publisher, and receives its last message.
func receiveOne(s *pubsub.Subscriber) error {
	if err := soon("met", func() bool { return s.Publishers() == 1 }); err != nil {
		return err
	}
	m, err := s.Receive(background)
	if err == nil {
		_, err = number(m.Data)
	}
	return err
}

// starvedMost is with how many descriptors left everything is possible.
const starvedMost = 12

// starvedSubscriber is a process that subscribes with 0, 1, … descriptors left, and once
// more when it has enough. Args: the folder, whether it knows the publisher's process
// already. It says each time how the first went.
func starvedSubscriber(args []string) error {
	history := &pubsub.SubscriberConfig{History: 1}
	for left := range starvedMost + 1 {
		d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
		if err != nil {
			return err
		}
		if args[1] == "known" {
			other, err := pubsub.Subscribe(d, "other", history)
			if err != nil {
				return err
			}
			if err := receiveOne(other); err != nil {
				return err
			}
		}
		relieve, err := proctest.Starve(left)
		if err != nil {
			return err
		}
		s, failure := pubsub.Subscribe(d, "numbers", history)
		if failure == nil {
			err = soon("met, or told why not", func() bool {
				_, failure = s.TryReceive()
				return failure != pubsub.ErrEmpty
			})
			s.Close()
		}
		relieve()
		if err != nil {
			return fmt.Errorf("%d left: %w", left, err)
		}
		if failure != nil && !errors.Is(failure, memlane.ErrLimit) {
			return fmt.Errorf("%d left: not the error of a limit: %w", left, failure)
		}
		fmt.Println(left, failure)
		again, err := pubsub.Subscribe(d, "numbers", history)
		if err != nil {
			return fmt.Errorf("%d left, then enough: %w", left, err)
		}
		if err := receiveOne(again); err != nil {
			return fmt.Errorf("%d left, then enough: %w", left, err)
		}
		if err := d.Close(); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return nil
}

// Who subscribes without enough descriptors is told so, by Subscribe or the call that
// receives, and gets everything once it has some: no publisher is to blame.
func TestStarvedSubscriber(t *testing.T) {
	for _, known := range []string{"known", "unknown"} {
		t.Run(known, func(t *testing.T) {
			folder := t.TempDir()
			d := open(t, folder)
			for _, topic := range []string{"numbers", "other"} {
				p, err := pubsub.Publish(d, topic, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Publish(background, message(1, 40)); err != nil {
					t.Fatal(err)
				}
			}
			s := proctest.Start(t, nil, "starved subscriber", folder, known)
			failed := 0
			for line := s.Line(); line != "done"; line = s.Line() {
				left, failure, _ := strings.Cut(line, " ")
				if failure == "<nil>" {
					continue
				}
				failed++
				if !strings.Contains(failure, syscall.EMFILE.Error()) || !strings.Contains(failure, "ulimit -n") || !strings.Contains(failure, `"numbers"`) {
					t.Errorf("with %s descriptors left: %s", left, failure)
				}
				if left == strconv.Itoa(starvedMost) {
					t.Errorf("%s descriptors are not enough: %s", left, failure)
				}
			}
			if failed == 0 {
				t.Error("it always had enough")
			}
		})
	}
}

// starvedReceiver is a process that has no descriptors when the arena grows. Args: the
// folder. It says what Receive tells it, then receives until a message of one byte, and
// says which that was.
func starvedReceiver(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		return err
	}
	if err := soon("met", func() bool { return s.Publishers() == 2 }); err != nil {
		return err
	}
	relieve, err := proctest.Starve(0)
	if err != nil {
		return err
	}
	fmt.Println("starved")
	for range 2 {
		m, err := s.Receive(background)
		fmt.Println(len(m.Data), errors.Is(err, syscall.EMFILE), errors.Is(err, pubsub.ErrCorrupt), err)
	}
	fmt.Println(s.Publishers())
	relieve()
	if err := soon("met again", func() bool { return s.Publishers() == 2 }); err != nil {
		return err
	}
	fmt.Println("met again")
	for sequence := uint64(0); ; sequence++ {
		m, err := s.Receive(background)
		if err != nil || m.Sequence != sequence {
			return fmt.Errorf("message %d, %w; want message %d", m.Sequence, err, sequence)
		}
		if len(m.Data) == 1 {
			fmt.Println(sequence)
			return nil
		}
	}
}

// A subscriber cannot have a further chunk of the arena. It gets what it can read, and is
// told why it gets no more of this publisher, which is not to blame, whether there is
// a message in the chunk or not; it still receives from another, and from this one too
// as soon as it can, without a loss.
func TestStarvedReceiver(t *testing.T) {
	const large = 200_000
	for name, grow := range map[string]func(p *pubsub.Publisher) error{
		"message": func(p *pubsub.Publisher) error { return p.Publish(background, message(1, large)) },
		"loan":    func(p *pubsub.Publisher) error { _, err := p.Loan(background, large); return err },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			var publishers []*pubsub.Publisher
			for range 2 {
				p, err := pubsub.Publish(open(t, folder), "numbers", nil)
				if err != nil {
					t.Fatal(err)
				}
				publishers = append(publishers, p)
			}
			grows, other := publishers[0], publishers[1]
			s := proctest.Start(t, nil, "starved receiver", folder)
			if got := s.Line(); got != "starved" {
				t.Fatal(got)
			}
			if err := grow(grows); err != nil {
				t.Fatal(err)
			}
			if line := s.Line(); !strings.HasPrefix(line, `0 true false pubsub: receive from "numbers"`) || !strings.Contains(line, "ulimit -n") {
				t.Errorf("got %q", line)
			}
			if err := other.Publish(background, message(1, 500)); err != nil {
				t.Fatal(err)
			}
			if got := s.Line(); got != "500 false false <nil>" {
				t.Errorf("got %q", got)
			}
			if got := s.Line(); got != "1" {
				t.Errorf("%s publishers are left", got)
			}
			if got := s.Line(); got != "met again" {
				t.Fatal(got)
			}
			if err := grows.Publish(background, message(2, large)); err != nil {
				t.Fatal(err)
			}
			if err := grows.Publish(background, []byte{1}); err != nil {
				t.Fatal(err)
			}
			if got, want := s.Line(), fmt.Sprint(grows.Stats().Published-1); got != want {
				t.Errorf("got %q; want %q", got, want)
			}
		})
	}
}

// starvedPublisher is a process that publishes, and has so many descriptors left as each
// line of input says, until the next. Args: the folder.
func starvedPublisher(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	p, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		return err
	}
	if err := p.Publish(background, message(1, 40)); err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		var left int
		if _, err := fmt.Scanln(&left); err != nil {
			return err
		}
		relieve, err := proctest.Starve(left)
		if err != nil {
			return err
		}
		fmt.Println("starved")
		var line string
		if _, err := fmt.Scanln(&line); err != nil {
			return err
		}
		relieve()
		fmt.Println("relieved")
	}
}

// A publisher without enough descriptors cannot have the memory of who subscribes. It
// does not hold that against it: the next time that it subscribes it gets everything.
func TestStarvedPublisher(t *testing.T) {
	folder := t.TempDir()
	p := proctest.Start(t, nil, "starved publisher", folder)
	if got := p.Line(); got != "ready" {
		t.Fatal(got)
	}
	history := &pubsub.SubscriberConfig{History: 1}
	always := open(t, folder)
	unmet := 0
	for left := range starvedMost + 1 {
		for _, d := range []*memlane.Domain{open(t, folder), always} {
			p.Send(strconv.Itoa(left))
			if got := p.Line(); got != "starved" {
				t.Fatal(got)
			}
			s, err := pubsub.Subscribe(d, "numbers", history)
			if err == nil {
				if s.Publishers() == 0 {
					unmet++
				}
				err = s.Close()
			}
			if err != nil && !errors.Is(err, pubsub.ErrRefused) {
				t.Errorf("with %d descriptors left: %v", left, err)
			}
			p.Send("enough")
			if got := p.Line(); got != "relieved" {
				t.Fatal(got)
			}
			again, err := pubsub.Subscribe(d, "numbers", history)
			if err != nil {
				t.Fatal(err)
			}
			if err := receiveOne(again); err != nil {
				t.Fatalf("with %d descriptors left before: %v", left, err)
			}
			again.Close()
			if d != always {
				d.Close()
			}
		}
	}
	if unmet == 0 {
		t.Error("it always had enough")
	}
}

// losingPublisher is a process that publishes "numbers" and "other". Args: the folder. For
// each line of input it publishes the next number, or has no descriptors left, or enough.
func losingPublisher(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	numbers, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		return err
	}
	if _, err := pubsub.Publish(d, "other", nil); err != nil {
		return err
	}
	relieve := func() {}
	for i := uint64(0); ; {
		fmt.Println("done")
		var line string
		if _, err := fmt.Scanln(&line); err != nil {
			return err
		}
		switch line {
		case "publish":
			err = numbers.Publish(background, message(i, 1000))
			i++
		case "starve":
			relieve, err = proctest.Starve(0)
		case "relieve":
			relieve()
		}
		if err != nil {
			return err
		}
	}
}

// A publisher's process has no descriptor left just when one comes. Its connection to a
// subscriber of another topic is lost by that; the subscriber is told why, and misses
// nothing.
func TestStarvedPublisherComesBack(t *testing.T) {
	folder := t.TempDir()
	p := proctest.Start(t, nil, "losing publisher", folder)
	does := func(what string) {
		t.Helper()
		p.Send(what)
		if got := p.Line(); got != "done" {
			t.Fatal(got)
		}
	}
	if got := p.Line(); got != "done" {
		t.Fatal(got)
	}
	d := open(t, folder)
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	received := func() {
		t.Helper()
		m, err := s.Receive(background)
		for err != nil && strings.Contains(err.Error(), "begun again") {
			m, err = s.Receive(background) // it is relieved of one descriptor after the other
		}
		n, bad := number(m.Data)
		if err != nil || bad != nil || n != next || m.Sequence != next {
			t.Fatalf("message %d, number %d, %v, %v; want %d", m.Sequence, n, bad, err, next)
		}
		next++
	}
	does("publish")
	received()
	does("starve")
	if _, err := pubsub.Subscribe(d, "other", nil); err != nil { // its descriptor is one too many
		t.Fatal(err)
	}
	if m, err := s.Receive(background); err == nil || !strings.Contains(err.Error(), "begun again") || !strings.Contains(err.Error(), "ulimit -n") {
		t.Fatalf("message %d, %v; want to be told that the connection was lost", m.Sequence, err)
	}
	for range 3 {
		does("publish")
	}
	does("relieve")
	does("publish")
	for range 4 {
		received()
	}
	eventually(t, "5 are counted, and none is lost", func() bool {
		if _, err := s.TryReceive(); err != pubsub.ErrEmpty {
			t.Fatal(err)
		}
		stats := s.Stats()
		return stats.Received == 5 && stats.Lost == 0
	})
}

// cannotMap has this process be one that cannot map another's memory, as one is that has
// as many mappings as vm.max_map_count allows. To be out of those for real is the end of
// a Go program sooner or later; so the kernel says it of a call by which nothing else is
// done than to look at memory that has come.
func cannotMap() error { return proctest.Answer(syscall.SYS_LSEEK, syscall.ENOMEM) }

// subscribeAndFail subscribes, and returns the error, of whichever call has it.
func subscribeAndFail(d *memlane.Domain) error {
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err == nil {
		defer s.Close()
		_, err = s.Receive(background)
	}
	return err
}

// mappingSubscriber is a process that subscribes twice, and can map nothing of others.
// Args: the folder. It says each error.
func mappingSubscriber(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := cannotMap(); err != nil {
		return err
	}
	for range 2 {
		err := subscribeAndFail(d)
		fmt.Println(errors.Is(err, syscall.ENOMEM), err)
	}
	return nil
}

// Whoever cannot map a publisher's memory is told so, each time: the publisher is not
// avoided for it.
func TestMappingSubscriber(t *testing.T) {
	folder := t.TempDir()
	p, err := pubsub.Publish(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := proctest.Start(t, nil, "mapping subscriber", folder)
	for range 2 {
		if line := s.Line(); !strings.HasPrefix(line, "true pubsub: ") || !strings.Contains(line, `"numbers"`) || !strings.Contains(line, "vm.max_map_count") {
			t.Errorf("got %q", line)
		}
	}
	eventually(t, "forgotten", func() bool { return p.Subscribers() == 0 })
}

// mappingPublisher is a process that publishes a topic, and then can map nothing of
// others. For each line of input it publishes in that topic, and begins another, of which
// it says whom it misses. Args: the folder.
func mappingPublisher(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	other, err := pubsub.Publish(d, "other", nil)
	if err != nil {
		return err
	}
	if err := other.WaitSubscribers(background, 1); err != nil {
		return err
	}
	if err := cannotMap(); err != nil {
		return err
	}
	over, cancel := context.WithCancel(background)
	cancel()
	for i := uint64(0); ; i++ {
		var line string
		if _, err := fmt.Scanln(&line); err != nil {
			return err
		}
		if err := other.Publish(background, message(i, 40)); err != nil {
			return err
		}
		p, err := pubsub.Publish(d, "numbers", nil)
		if err != nil {
			return err
		}
		var missing error
		err = soon("refused", func() bool {
			missing = p.WaitSubscribers(over, 1)
			return errors.Is(missing, pubsub.ErrRefused)
		})
		if err != nil {
			return err
		}
		fmt.Println(missing)
		if err := p.Close(); err != nil {
			return err
		}
	}
}

// A publisher that cannot map a subscriber's memory refuses it, each time, and both say
// why; in other topics the two go on.
func TestMappingPublisher(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := pubsub.Subscribe(d, "other", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, nil, "mapping publisher", folder)
	why := syscall.ENOMEM.Error()
	for i := range uint64(2) {
		p.Send("go")
		line := p.Line()
		_, err = s.Receive(background)
		says(t, err, pubsub.ErrRefused, `"numbers"`, fmt.Sprintf("process %d", p.PID()), why)
		for _, want := range []string{pubsub.ErrRefused.Error(), why, fmt.Sprintf("process %d", os.Getpid())} {
			if !strings.Contains(line, want) {
				t.Errorf("the publisher says %q, without %q", line, want)
			}
		}
		next(t, other, i)
	}
}

// lateSubscriber subscribes, has no descriptors left until the next line of input, and then
// receives until the last message. Args: the folder.
func lateSubscriber(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		return err
	}
	left, _ := strconv.Atoi(args[1])
	relieve, err := proctest.Starve(left)
	if err != nil {
		return err
	}
	fmt.Println("starved")
	var line string
	if _, err := fmt.Scanln(&line); err != nil {
		return err
	}
	relieve()
	var all uint64
	told := false
	for {
		m, err := s.Receive(background)
		var lagged *pubsub.LaggedError
		switch {
		case errors.As(err, &lagged):
			all += lagged.Lost
			told = true
			continue
		case err != nil:
			continue
		}
		n, err := number(m.Data)
		if err != nil {
			return err
		}
		if n == last {
			fmt.Println(all, told)
			return proctest.Hang(s)
		}
		all++
	}
}

// A subscriber has no descriptors when a publisher comes: when they meet, it gets all that was
// published meanwhile, or is told that it does not.
func TestStarvedIsNotSkipped(t *testing.T) {
	for left := range 3 {
		folder := t.TempDir()
		s := proctest.Start(t, nil, "late subscriber", folder, strconv.Itoa(left))
		if got := s.Line(); got != "starved" {
			t.Fatal(got)
		}
		p, err := pubsub.Publish(open(t, folder), "numbers", nil)
		if err != nil {
			t.Fatal(err)
		}
		const n = 3000 // more than the ring has
		for i := range uint64(n) {
			if err := p.Publish(background, message(i, 20)); err != nil {
				t.Fatal(err)
			}
		}
		s.Send("relieve")
		if err := p.WaitSubscribers(background, 1); err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(background, message(last, 8)); err != nil {
			t.Fatal(err)
		}
		var all uint64
		var told bool
		if line := s.Line(); func() bool { _, err := fmt.Sscan(line, &all, &told); return err != nil }() || all != n || !told {
			t.Errorf("with %d descriptors left: %q; want all of %d received or lost, and told", left, line, n)
		}
	}
}

// A publisher has no descriptors when somebody subscribes who could have been met: he is told
// that he was not.
func TestStarvedPublisherIsToldOf(t *testing.T) {
	folder := t.TempDir()
	p := proctest.Start(t, nil, "losing publisher", folder)
	does := func(what string) {
		t.Helper()
		p.Send(what)
		if got := p.Line(); got != "done" {
			t.Fatal(got)
		}
	}
	if got := p.Line(); got != "done" {
		t.Fatal(got)
	}
	does("publish")
	does("starve")
	s, err := pubsub.Subscribe(open(t, folder), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	does("publish")
	does("relieve")
	var told error
	eventually(t, "met", func() bool {
		_, err := s.TryReceive()
		if errors.Is(err, pubsub.ErrMissed) {
			told = err
		}
		return told != nil && s.Publishers() == 1
	})
	if !strings.Contains(told.Error(), "ulimit -n") {
		t.Error(told)
	}
	does("publish")
	if m, err := s.Receive(background); err != nil || m.Sequence != 2 {
		t.Errorf("message %d, %v", m.Sequence, err)
	}
}
