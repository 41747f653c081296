package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/pubsub"
)

// The roles.
const (
	honestPublisher      = "honest publisher"
	honestSubscriber     = "honest subscriber"
	scribblingSubscriber = "scribbling subscriber"
	scribblingPublisher  = "scribbling publisher"
	liar                 = "liar"
	talker               = "talker"
	crowd                = "crowd"
)

// The mutants. What each does stands where it does it.
const (
	loses   = "the publisher loses a message"
	changes = "the publisher changes a byte"
	leaks   = "the subscriber leaks memory"
	opens   = "the subscriber leaks descriptors"
)

var mutants = []string{loses, changes, leaks, opens}

var harm = map[string]func(folder, topic string, seed uint64) error{
	scribblingSubscriber: hostile.ScribblingSubscriber,
	scribblingPublisher:  hostile.ScribblingPublisher,
	liar:                 hostile.Liar,
	talker:               hostile.Talker,
	crowd:                hostile.Crowd,
}

const (
	domainName = "prove"
	topicName  = "numbers"
	slots      = 1024
)

// be is a process of a round: args are its role, the folder, its seed, and the mutant, ""
// if none.
func be(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%d arguments; want role, folder, seed and mutant", len(args))
	}
	role, folder, mutant := args[0], args[1], args[3]
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	config := &memlane.Config{Folder: folder}
	if do := harm[role]; do != nil {
		path, err := memlane.DomainFolder(domainName, config)
		if err != nil {
			return err
		}
		return do(path, topicName, seed)
	}
	d, err := memlane.Open(domainName, config)
	if err != nil {
		return err
	}
	defer d.Close()
	if role == honestPublisher {
		return publish(d, mutant)
	}
	return subscribe(d, mutant)
}

// The messages of the honest publisher: a word that nobody else knows to write, the
// number, and bytes that follow from it.
const honest = 0x686f6e6573742e2e

func fill(b []byte, number uint64) {
	binary.LittleEndian.PutUint64(b, honest)
	binary.LittleEndian.PutUint64(b[8:], number)
	for at := 16; at < len(b); at++ {
		b[at] = byte(number*31 + uint64(at)*7)
	}
}

// sizeOf returns how long a message is: some are in slots, some in the arena.
func sizeOf(number uint64) int { return 16 + int(number*number%97)*[]int{1, 1, 1, 20}[number%4] }

// read returns the number of a message, if it is the honest publisher's; an error if it
// begins as one, and is none.
func read(b []byte) (number uint64, ours bool, err error) {
	if len(b) < 16 || binary.LittleEndian.Uint64(b) != honest {
		return 0, false, nil
	}
	number = binary.LittleEndian.Uint64(b[8:])
	want := make([]byte, sizeOf(number))
	if fill(want, number); string(b) != string(want) {
		return number, true, fmt.Errorf("message %d is not what was published: %x", number, b)
	}
	return number, true, nil
}

// publish is the honest publisher. Its input is how many messages the subscriber has.
func publish(d *memlane.Domain, mutant string) error {
	p, err := pubsub.Publish(d, topicName, &pubsub.PublisherConfig{Slots: slots, ArenaLimit: 16 << 20})
	if err != nil {
		return err
	}
	var received atomic.Uint64
	go func() {
		for {
			var n uint64
			if _, err := fmt.Scanln(&n); err != nil {
				os.Exit(1)
			}
			received.Store(n)
		}
	}()
	// Until the subscriber is there, which has the first message, what is published is
	// nobody's.
	number := uint64(0)
	said := time.Now()
	for ; ; number++ {
		for number > received.Load()+slots/2 || number == 1 && received.Load() == 0 {
			time.Sleep(50 * time.Microsecond)
		}
		size := sizeOf(number)
		switch {
		case mutant == loses && number == 1000:
			number++
			continue
		case number%7 == 0:
			l, err := p.Loan(context.Background(), size)
			if err != nil {
				return err
			}
			fill(l.Bytes(), number)
			if err := l.Publish(context.Background(), size); err != nil {
				return err
			}
		default:
			b := make([]byte, size)
			fill(b, number)
			if mutant == changes && number == 1002 {
				b[8+int(number)%8]++
			}
			if err := p.Publish(context.Background(), b); err != nil {
				return err
			}
		}
		if number == 0 {
			// The first one comes again and again until somebody has it.
			for received.Load() == 0 {
				time.Sleep(time.Millisecond)
				b := make([]byte, size)
				fill(b, 0)
				if err := p.Publish(context.Background(), b); err != nil {
					return err
				}
			}
		}
		if time.Since(said) > 100*time.Millisecond {
			said = time.Now()
			fmt.Println(number, len(domain.Of(d).Node().Troubles()))
		}
	}
}

// subscribe is the honest subscriber. It says how many messages it has.
func subscribe(d *memlane.Domain, mutant string) error {
	s, err := pubsub.Subscribe(d, topicName, nil)
	if err != nil && !errors.Is(err, pubsub.ErrRefused) {
		return err
	}
	for err != nil { // one of the others has refused
		s, err = pubsub.Subscribe(d, topicName, nil)
	}
	var next, publisher uint64
	attacks := 0
	said := time.Now()
	for {
		m, err := s.Receive(context.Background())
		var lagged *pubsub.LaggedError
		switch {
		case errors.As(err, &lagged) && lagged.Publisher == publisher && next > 0:
			return fmt.Errorf("after message %d: %w", next, err)
		case errors.Is(err, pubsub.ErrClosed):
			return err
		case err != nil:
			attacks++
		default:
			number, ours, err := read(m.Data)
			switch {
			case !ours && m.Publisher == publisher && next > 0:
				return fmt.Errorf("the honest publisher's message after %d is %x", next, m.Data)
			case !ours:
			case err != nil:
				return err
			case number == 0 && next <= 1:
				next, publisher = 1, m.Publisher
			case number != next || m.Publisher != publisher:
				return fmt.Errorf("message %d of %x; want %d of %x", number, m.Publisher, next, publisher)
			default:
				next++
			}
		}
		switch {
		case mutant == leaks && next > 1:
			b := make([]byte, 1<<20)
			for at := 0; at < len(b); at += 4096 {
				b[at] = 1
			}
			leaked = append(leaked, b)
		case mutant == opens && next > 1:
			if f, err := os.Open(os.DevNull); err == nil {
				open = append(open, f)
			}
		}
		if time.Since(said) > time.Millisecond {
			said = time.Now()
			fmt.Println(next, attacks)
		}
	}
}

// What mutants leak.
var (
	open   []*os.File
	leaked [][]byte
)
