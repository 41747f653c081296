package pubsub_test

import (
	"errors"
	"os"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/pubsub"
)

// Who was lapped goes on in the middle of what is left. At its beginning the publisher
// would lap it again and again.
func TestLappedGoesOnInTheMiddle(t *testing.T) {
	const slots, published = 64, 1000
	p, s := pair(t, &pubsub.PublisherConfig{Slots: slots}, nil)
	for i := range uint64(published) {
		if err := p.Publish(background, message(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Receive(background)
	var lagged *pubsub.LaggedError
	if !errors.As(err, &lagged) {
		t.Fatal(err)
	}
	left := published - lagged.Lost
	if left < slots/4 || left > slots*3/4 {
		t.Errorf("%d messages are left, of a ring of %d", left, slots)
	}
	for i := range left {
		next(t, s, lagged.Lost+i)
	}
}

// A topic costs its subscribers no descriptors: the connection is there already, and
// what is mapped is closed.
func TestTopicsCostNoDescriptors(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which closes what is forgotten
	folder := t.TempDir()
	ours, theirs := open(t, folder), open(t, folder)
	for i := range 20 {
		if _, err := pubsub.Publish(ours, strconv.Itoa(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	subscribe := func(topic int) {
		s, err := pubsub.Subscribe(theirs, strconv.Itoa(topic), nil)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "met", func() bool { return s.Publishers() == 1 })
	}
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	subscribe(0)
	before := files()
	for topic := 1; topic < 20; topic++ {
		subscribe(topic)
	}
	eventually(t, "closed", func() bool { return files() <= before })
}

// A subscriber has been told where it begins, and has not said yet that it knows. A
// publisher that blocks waits for it all the same, when it is a ring ahead of that place,
// however far it was before it came.
func TestGateOfANewcomer(t *testing.T) {
	for _, before := range []uint64{0, 10, 1000} {
		folder := t.TempDir()
		const slots = 64
		d := open(t, folder)
		p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block, Slots: slots})
		if err != nil {
			t.Fatal(err)
		}
		for i := range before {
			if err := p.Publish(background, message(i, 8)); err != nil {
				t.Fatal(err)
			}
		}
		h, err := hostile.Join(d.Folder(), "numbers", meet.Subscriber)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Node.Close()
		m, err := memory.Create("control", 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		if err := (<-h.Found).Send(1, hostile.Link(0), m.File()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "joined", func() bool { return p.Subscribers() == 1 })
		published := 0
		for err = nil; err == nil && published < 10*slots; published++ {
			err = p.TryPublish(message(before+uint64(published), 8))
		}
		if published--; !errors.Is(err, pubsub.ErrFull) || published != slots {
			t.Errorf("after %d messages: %d more, then %v; want %d, then %v", before, published, err, slots, pubsub.ErrFull)
		}
		if got := p.Stats().Evicted; got != 0 {
			t.Errorf("%d were let go", got)
		}
	}
}
