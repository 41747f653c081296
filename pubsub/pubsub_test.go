package pubsub_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// rootHelpers are helpers of tests that need root.
var rootHelpers = map[string]proctest.Helper{}

func TestMain(m *testing.M) {
	helpers := map[string]proctest.Helper{
		"subscribe":             subscribe,
		"subscribe typed":       subscribeTyped,
		"subscribe thousand":    subscribeThousand,
		"stream typed":          streamTyped,
		"publish":               publish,
		"publish many":          publishMany,
		"stream":                stream,
		"starved subscriber":    starvedSubscriber,
		"starved receiver":      starvedReceiver,
		"starved publisher":     starvedPublisher,
		"mapping subscriber":    mappingSubscriber,
		"mapping publisher":     mappingPublisher,
		"losing publisher":      losingPublisher,
		"scribbling subscriber": scribbling(hostile.ScribblingSubscriber),
		"scribbling publisher":  scribbling(hostile.ScribblingPublisher),
		"whose":                 whose,
		"call":                  converse,
		"answer":                converse,
		"contained":             contained,
		"probe":                 probe,
		"without proc":          withoutProc,
		"publish topics":        publishTopics,
		"growing":               growing,
		"late subscriber":       lateSubscriber,
		"flight":                flight,
		"few receiver":          fewReceiver,
		"limited":               limited,
	}
	maps.Copy(helpers, rootHelpers)
	proctest.Main(m, helpers)
}

var background = context.Background()

// open opens the domain of a test, which is in a folder of its own.
func open(t testing.TB, folder string) *memlane.Domain {
	t.Helper()
	d, err := memlane.Open("test", &memlane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// message is what nobody else publishes: its number, and bytes that follow from it.
func message(i uint64, n int) []byte {
	b := make([]byte, max(n, 8))
	binary.LittleEndian.PutUint64(b, i)
	for k := 8; k < len(b); k++ {
		b[k] = byte(i*7 + uint64(k))
	}
	return b
}

// number returns a message's, if it is whole.
func number(b []byte) (uint64, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("a message of %d bytes", len(b))
	}
	i := binary.LittleEndian.Uint64(b)
	if !bytes.Equal(b, message(i, len(b))) {
		return i, fmt.Errorf("message %d is torn: %x", i, b)
	}
	return i, nil
}

// last is the number of the message that ends a test's topic.
const last = 1 << 60

// size is how large message i is: of all kinds.
func size(i uint64) int {
	switch i % 5 {
	case 0:
		return 8
	case 1, 2:
		return 48
	case 3:
		return 1000
	}
	if i%1000 == 4 {
		return 200_000
	}
	return 60
}

// subscribe is a process: args are the folder, the way to receive, whether it may
// lag, and whether it peeks, and has a port that the test can fill. It says "ready",
// then what it got.
func subscribe(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	var c pubsub.SubscriberConfig
	if len(args) > 3 {
		c.Peek = true
		if err := addFilled(d); err != nil {
			return err
		}
	}
	s, err := pubsub.Subscribe(d, "numbers", &c)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var next, lost uint64
	for {
		var m pubsub.Message
		var b pubsub.Borrowed
		var err error
		switch args[1] {
		case "borrow":
			b, err = s.Borrow(background)
			m = b.Message
		default:
			m, err = s.Receive(background)
		}
		var lagged *pubsub.LaggedError
		if errors.As(err, &lagged) && args[2] == "may lag" {
			next += lagged.Lost
			lost += lagged.Lost
			continue
		}
		if err != nil {
			return err
		}
		i, err := number(m.Data)
		if err != nil {
			return err
		}
		b.Release()
		if m.Sequence != next {
			return fmt.Errorf("message %d has the number %d; want %d", i, m.Sequence, next)
		}
		if i == last {
			fmt.Println("all", next, "lost", lost)
			return nil
		}
		if i != next {
			return fmt.Errorf("message %d; want %d", i, next)
		}
		next++
	}
}

// publish is a process: args are the folder, how many messages, and the policy. It
// waits for a line before it begins.
func publish(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	n, _ := strconv.ParseUint(args[1], 10, 64)
	policy, _ := strconv.Atoi(args[2])
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Policy(policy)})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var line string
	fmt.Scanln(&line)
	// On a machine that is busy one of them may not have answered in time.
	if err := p.WaitSubscribers(background, 3); err != nil {
		return err
	}
	there := p.Subscribers() // who has received the last message may have left
	if err := publishAll(p, n); err != nil {
		return err
	}
	fmt.Println("published", there)
	fmt.Scanln(&line)
	return nil
}

func publishAll(p *pubsub.Publisher, n uint64) error {
	for i := uint64(0); i < n; {
		switch i % 7 {
		case 0:
			var batch [][]byte
			for range min(5, n-i) {
				batch = append(batch, message(i, size(i)))
				i++
			}
			if err := p.PublishBatch(background, batch); err != nil {
				return err
			}
		case 3:
			m := message(i, size(i))
			l, err := p.Loan(background, len(m)+10)
			if err != nil {
				return err
			}
			copy(l.Bytes(), m)
			if err := l.Publish(background, len(m)); err != nil {
				return err
			}
			i++
		default:
			if err := p.Publish(background, message(i, size(i))); err != nil {
				return err
			}
			i++
		}
	}
	return p.Publish(background, message(last, 8))
}

// Everything arrives, in order, in several processes, whichever side was there first
// and whatever they do.
func TestBetweenProcesses(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy pubsub.Policy
		lag    string
	}{{"block", pubsub.Block, "may not"}, {"drop oldest", pubsub.DropOldest, "may lag"}} {
		for _, first := range []string{"publisher", "subscribers"} {
			t.Run(c.name+", the "+first+" first", func(t *testing.T) {
				folder := t.TempDir()
				var p *proctest.Process
				begin := func() {
					p = proctest.Start(t, nil, "publish", folder, "10000", strconv.Itoa(int(c.policy)))
					p.Line()
				}
				if first == "publisher" {
					begin()
				}
				var subscribers []*proctest.Process
				for _, way := range []string{"receive", "borrow", "receive"} {
					s := proctest.Start(t, nil, "subscribe", folder, way, c.lag)
					if got := s.Line(); got != "ready" {
						t.Fatal(got)
					}
					subscribers = append(subscribers, s)
				}
				if first != "publisher" {
					begin()
				}
				p.Send("go")
				if got := p.Line(); got != "published 3" {
					t.Errorf("the publisher: %q", got)
				}
				for _, s := range subscribers {
					var all, lost uint64
					line := s.Line()
					if _, err := fmt.Sscanf(line, "all %d lost %d", &all, &lost); err != nil || all != 10000 || (lost > 0 && c.policy == pubsub.Block) {
						t.Errorf("a subscriber: %q", line)
					}
				}
			})
		}
	}
}

// In one process too.
func TestWithinOneProcess(t *testing.T) {
	d := open(t, t.TempDir())
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- publishAll(p, 10_000) }()
	next := uint64(0)
	for m, err := range s.All(background) {
		if err != nil {
			t.Fatal(err)
		}
		i, err := number(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if i == last {
			break
		}
		if i != next {
			t.Fatalf("message %d; want %d", i, next)
		}
		next++
	}
	if err := <-done; err != nil || next != 10_000 {
		t.Error(next, err)
	}
	if err := errors.Join(s.Close(), p.Close(), s.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.Receive(background); !errors.Is(err, pubsub.ErrClosed) {
		t.Error(err)
	}
	if err := p.Publish(background, nil); !errors.Is(err, pubsub.ErrClosed) {
		t.Error(err)
	}
}
