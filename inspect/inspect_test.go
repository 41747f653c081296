package inspect_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

var background = context.Background()

func open(t *testing.T, folder, name string) *memlane.Domain {
	t.Helper()
	d, err := memlane.Open(name, &memlane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestLook(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder, "test")
	publisher, err := pubsub.Publish(open(t, folder, "test"), "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block, Slots: 16})
	if err != nil {
		t.Fatal(err)
	}
	subscriber, err := pubsub.Subscribe(open(t, folder, "test"), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pubsub.Subscribe(open(t, folder, "test"), "numbers", &pubsub.SubscriberConfig{Peek: true}); err != nil {
		t.Fatal(err)
	}
	for publisher.Subscribers() < 2 { // of which WaitSubscribers does not count one
		runtime.Gosched()
	}
	if err := publisher.PublishBatch(background, [][]byte{{1}, {2}, {3}}); err != nil {
		t.Fatal(err)
	}
	if err := publisher.Publish(background, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		b, err := subscriber.Borrow(background)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Release()
	}
	if _, err := subscriber.TryReceive(); err != pubsub.ErrEmpty {
		t.Fatal(err)
	}
	look, err := inspect.Look(d, "numbers")
	if err != nil || len(look.Publishers) != 1 || len(look.Waiting)+len(look.Silent) != 0 {
		t.Fatalf("%+v, %v", look, err)
	}
	p := look.Publishers[0]
	if p.Published != 4 || p.Policy != pubsub.Block || p.Slots != 16 || p.PID != os.Getpid() || len(p.Subscriptions) != 2 || p.Waiting {
		t.Errorf("%+v", p)
	}
	peeks := slices.IndexFunc(p.Subscriptions, func(s inspect.Subscription) bool { return s.Peeks })
	if peeks < 0 {
		t.Fatalf("nobody peeks: %+v", p.Subscriptions)
	}
	if s := p.Subscriptions[peeks]; s.Received != 0 || s.Lag != 4 || s.Behind != 2 || s.Holds != 0 || s.Silent {
		t.Errorf("who peeks: %+v", s)
	}
	if s := p.Subscriptions[1-peeks]; s.Received != 4 || s.Lag != 0 || s.Behind != 0 || s.Holds != 4 || s.Lost != 0 || s.Peeks || s.Silent {
		t.Errorf("who has received: %+v", s)
	}
	// Looking is not taking part, and leaves nothing.
	if n := publisher.Subscribers(); n != 2 {
		t.Errorf("%d subscribers", n)
	}
	publisher.Close()
	for range 3 {
		look, err = inspect.Look(d, "numbers")
	}
	if err != nil || len(look.Publishers) != 0 || len(look.Silent) != 0 {
		t.Errorf("%+v, %v", look, err)
	}
	topics, err := inspect.Topics("test", &memlane.Config{Folder: folder})
	if err != nil || len(topics) != 1 || topics[0] != (inspect.Topic{Domain: "test", Name: "numbers", Subscribers: 2}) {
		t.Errorf("%+v, %v", topics, err)
	}
}

// A subscriber that is refused is shown as that, not as one that waits.
func TestRefused(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder, "test")
	subscriber, err := pubsub.SubscribeOf[uint64](open(t, folder, "test"), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	look, err := inspect.Look(d, "numbers")
	if err != nil || len(look.Waiting) != 1 {
		t.Fatalf("%+v, %v", look, err)
	}
	waiting := look.Waiting[0]
	publisher, err := pubsub.PublishOf[float64](open(t, folder, "test"), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	look, err = inspect.Look(d, "numbers")
	if err != nil || len(look.Publishers) != 1 || len(look.Waiting)+len(look.Silent) != 0 {
		t.Fatalf("%+v, %v", look, err)
	}
	p := look.Publishers[0]
	if len(p.Subscriptions) != 0 || len(p.Refused) != 1 || p.Refused[0].Subscriber != waiting || !strings.Contains(p.Refused[0].Reason, "the whole: the publisher has f64, the subscriber u64") {
		t.Errorf("%+v; want a refusal of %+v", p, waiting)
	}
	if err := publisher.Close(); err != nil {
		t.Fatal(err)
	}
	look, err = inspect.Look(d, "numbers")
	if err != nil || len(look.Waiting) != 1 || look.Waiting[0] != waiting {
		t.Errorf("%+v, %v", look, err)
	}
	subscriber.Close()
}

func TestNobody(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder, "test")
	if _, err := inspect.Look(d, "numbers"); !errors.Is(err, inspect.ErrNobody) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := inspect.Look(d, ""); err == nil {
		t.Error("a topic without a name")
	}
	closed := open(t, folder, "closed")
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := inspect.Look(closed, "numbers"); !errors.Is(err, pubsub.ErrClosed) || !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	open(t, folder, "another")
	c := &memlane.Config{Folder: folder}
	if err := os.WriteFile(folder+"/a.domain", nil, 0o600); err != nil { // which is no domain
		t.Fatal(err)
	}
	if names, err := inspect.Domains(c); err != nil || !slices.Equal(names, []string{"another", "closed", "test"}) {
		t.Errorf("%q, %v", names, err)
	}
	for _, name := range []string{"test", "never"} {
		if topics, err := inspect.Topics(name, c); err != nil || len(topics) != 0 {
			t.Errorf("%v, %v", topics, err)
		}
	}
	if _, err := inspect.Topics("a/b", c); !errors.Is(err, memlane.ErrName) {
		t.Error(err)
	}
}

// liar tells observers anything.
type liar struct {
	rnd    *rand.Rand
	memory *memory.Memory
}

func (l liar) Found(r *meet.Remote) {
	if r.Role() != meet.Observer {
		return
	}
	for range 4 {
		body := make([]byte, l.rnd.IntN(10)*8)
		for i := range body {
			body[i] = byte(l.rnd.Uint32() >> l.rnd.IntN(32))
		}
		files := []*os.File{l.memory.File()}[:l.rnd.IntN(2)]
		r.Send(uint16(8+l.rnd.IntN(6)), body, files...)
	}
}

func (liar) Message(*meet.Remote, *meet.Message) {}
func (liar) Lost(*meet.Remote)                   {}

// Whoever says what he likes harms no observer, and hides nobody else.
func TestLiars(t *testing.T) {
	folder := t.TempDir()
	d, theirs := open(t, folder, "test"), domain.Of(open(t, folder, "test"))
	publisher, err := pubsub.Publish(open(t, folder, "test"), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := publisher.Publish(background, []byte("one")); err != nil {
		t.Fatal(err)
	}
	m, err := memory.Create("liar", 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i := range uint64(300) {
		rnd := rand.New(rand.NewPCG(i, i))
		for at := 0; at < 1<<16; at += 8 * (1 + rnd.IntN(64)) {
			m.Region().Uint64(at).Store(rnd.Uint64() >> rnd.IntN(64))
		}
		// The kind of subscriber that says nothing is refused by nobody.
		role := []meet.Role{meet.Publisher, meet.Subscriber}[i%2]
		port := &meet.Port{Kind: meet.Topic, Name: "numbers", Role: role, Settings: hostile.Settings(0, nil), Handler: liar{rnd, m}}
		if err := theirs.Add(port); err != nil {
			t.Fatal(err)
		}
		// On a busy machine the good one may not answer in time, which is no liar's doing.
		for tries := 0; ; tries++ {
			look, err := inspect.Look(d, "numbers")
			if err == nil && slices.ContainsFunc(look.Publishers, func(p inspect.Publisher) bool { return p.Published == 1 && p.Slots == 1024 }) {
				break
			}
			if err != nil || len(look.Silent) == 0 || tries == 20 {
				t.Fatalf("%d: %+v, %v", i, look, err)
			}
		}
		if err := theirs.Node().Remove(port); err != nil {
			t.Fatal(err)
		}
	}
}

// For how long a subscriber has been slow its publisher knows, and nobody else has to have
// been there.
func TestSlow(t *testing.T) {
	folder := t.TempDir()
	s := proctest.Start(t, nil, "take part", folder, "subscriber", "numbers")
	if got := s.Line(); got != "ready" {
		t.Fatal(got)
	}
	p, err := pubsub.Publish(open(t, folder, "test"), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, folder, "test")
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	if err := p.WaitSubscribers(ctx, 1); err != nil {
		t.Fatal(err)
	}
	slow := func() time.Duration {
		t.Helper()
		look, err := inspect.Look(d, "numbers")
		if err != nil || len(look.Publishers) != 1 || len(look.Publishers[0].Subscriptions) != 1 || ctx.Err() != nil {
			t.Fatalf("%+v, %v, %v", look, err, ctx.Err())
		}
		return look.Publishers[0].Subscriptions[0].Slow
	}
	if got := slow(); got != 0 {
		t.Errorf("slow for %v with nothing to receive", got)
	}
	for range 200 { // more than it need have counted
		if err := p.Publish(background, []byte("one")); err != nil {
			t.Fatal(err)
		}
	}
	first := slow()
	for first == 0 {
		first = slow()
	}
	if later := slow(); later < first {
		t.Errorf("slow for %v, then for %v", first, later)
	}
}

// What is told to who looks stays open no longer than the look.
func TestLookCostsNoDescriptors(t *testing.T) {
	folder := t.TempDir()
	d, theirs := open(t, folder, "test"), open(t, folder, "test")
	if _, err := pubsub.Publish(theirs, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := pubsub.Subscribe(theirs, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		t.Helper()
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	look := func() {
		t.Helper()
		if _, err := inspect.Look(d, "numbers"); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which closes what nobody has
	look()
	before := count()
	for range 50 {
		look()
	}
	if after := count(); after > before+10 {
		t.Errorf("%d descriptors after 50 looks, %d before", after, before)
	}
}
