package pubsub_test

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/segment"
)

// loser returns a function that ends the connection between two domains, as one does that
// is starved, or as one does whose reason did not arrive.
func loser(t *testing.T, a, b *memlane.Domain) func(why error) {
	t.Helper()
	node := domain.Of(a).Node()
	first, err := hostile.JoinAs(node, "between", meet.Publisher)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hostile.JoinAs(domain.Of(b).Node(), "between", meet.Subscriber); err != nil {
		t.Fatal(err)
	}
	return func(why error) {
		t.Helper()
		node.Drop(<-first.Found, why) // found again each time
	}
}

// A connection that is lost is begun again, within a domain too, whatever its end has said;
// the subscriber gets everything, and nobody is blamed.
func TestLostAndFound(t *testing.T) {
	for name, why := range map[string]error{"starved": syscall.EMFILE, "gone": meet.ErrGone} {
		for _, within := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", within one domain: ", within), func(t *testing.T) {
				folder := t.TempDir()
				ours := open(t, folder)
				its := ours
				if !within {
					its = open(t, folder)
				}
				lose := loser(t, its, ours)
				p, err := pubsub.Publish(its, "numbers", nil)
				if err != nil {
					t.Fatal(err)
				}
				s, err := pubsub.Subscribe(ours, "numbers", nil)
				if err != nil {
					t.Fatal(err)
				}
				var next uint64
				publish := func(size int) {
					t.Helper()
					if err := p.Publish(background, message(p.Stats().Published, size)); err != nil {
						t.Fatal(err)
					}
				}
				for round := range 4 {
					publish(40)
					lose(why)
					eventually(t, "it is let go", func() bool { return p.Subscribers() == 0 })
					publish(200_000 << round) // in a chunk that is sent to nobody
					publish(40)
					for next < p.Stats().Published {
						m, err := s.Receive(background)
						var lagged *pubsub.LaggedError
						if errors.Is(err, pubsub.ErrCorrupt) || errors.As(err, &lagged) {
							t.Fatal(err)
						}
						if err != nil {
							continue // it is told that the connection was lost
						}
						if n, bad := number(m.Data); bad != nil || n != next || m.Sequence != next {
							t.Fatalf("message %d, number %d, %v; want %d", m.Sequence, n, bad, next)
						}
						next++
					}
					eventually(t, "it is here again", func() bool {
						if m, err := s.TryReceive(); err == nil || errors.Is(err, pubsub.ErrCorrupt) {
							t.Fatalf("message %d, %v", m.Sequence, err)
						}
						return p.Subscribers() == 1
					})
				}
			})
		}
	}
}

// A publisher that has more than the quota is told of once, and not asked again when the
// connection is begun again.
func TestQuotaIsFinal(t *testing.T) {
	folder := t.TempDir()
	ours, its := open(t, folder), open(t, folder)
	lose := loser(t, its, ours)
	for _, topic := range []string{"images", "numbers"} {
		if _, err := pubsub.Publish(its, topic, nil); err != nil {
			t.Fatal(err)
		}
	}
	numbers, err := pubsub.Subscribe(ours, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(ours, "images", &pubsub.SubscriberConfig{Quota: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	big, err := pubsub.Publish(its, "images", &pubsub.PublisherConfig{ArenaBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(background); !errors.Is(err, segment.ErrQuota) {
		t.Fatalf("%v; want %v", err, segment.ErrQuota)
	}
	for range 2 {
		lose(syscall.EMFILE)
		eventually(t, "told that the connection was lost", func() bool {
			_, err := s.TryReceive()
			if errors.Is(err, segment.ErrQuota) {
				t.Fatal("told again: ", err)
			}
			return errors.Is(err, syscall.EMFILE) || errors.Is(err, meet.ErrStarved)
		})
		eventually(t, "the connection is begun again", func() bool {
			numbers.TryReceive()
			return numbers.Publishers() == 1 && s.Publishers() == 1
		})
		if n := big.Subscribers(); n != 0 {
			t.Errorf("the publisher that was given up has %d subscribers", n)
		}
	}
}

// That a connection was lost is told also when the publisher is here again before anybody
// has looked.
func TestToldThoughHereAgain(t *testing.T) {
	folder := t.TempDir()
	ours, its := open(t, folder), open(t, folder)
	lose := loser(t, its, ours)
	var publishers []*pubsub.Publisher
	var subscribers []*pubsub.Subscriber
	for _, topic := range []string{"images", "numbers"} {
		p, err := pubsub.Publish(its, topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := pubsub.Subscribe(ours, topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		publishers, subscribers = append(publishers, p), append(subscribers, s)
	}
	lose(syscall.EMFILE)
	eventually(t, "lost", func() bool { return publishers[1].Subscribers() == 0 })
	eventually(t, "begun again", func() bool {
		subscribers[1].TryReceive()
		return publishers[1].Subscribers() == 1
	})
	// What is said on the connection before this is answered says that the first is here.
	if _, err := pubsub.Subscribe(ours, "images", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := subscribers[0].TryReceive(); !errors.Is(err, syscall.EMFILE) && !errors.Is(err, meet.ErrStarved) {
		t.Errorf("%v; want that the connection was lost", err)
	}
	eventually(t, "received from again", func() bool {
		subscribers[0].TryReceive()
		return publishers[0].Subscribers() == 2
	})
}

// Who meets a process that is starved just then is met when it is not any more.
func TestStarvedIsMetLater(t *testing.T) {
	for left := range 4 {
		folder := t.TempDir()
		p := proctest.Start(t, nil, "starved publisher", folder)
		for _, want := range []string{"ready", "starved"} {
			if got := p.Line(); got != want {
				t.Fatal(got)
			}
			if want == "ready" {
				p.Send(strconv.Itoa(left))
			}
		}
		s, err := pubsub.Subscribe(open(t, folder), "numbers", nil)
		if err != nil && !errors.Is(err, pubsub.ErrRefused) {
			t.Fatal(err)
		}
		p.Send("enough")
		if got := p.Line(); got != "relieved" {
			t.Fatal(got)
		}
		if err != nil {
			continue // that is final, and it was told so
		}
		refused := false
		eventually(t, fmt.Sprintf("met, which had %d descriptors left", left), func() bool {
			_, err := s.TryReceive()
			refused = refused || errors.Is(err, pubsub.ErrRefused)
			return s.Publishers() == 1 || refused
		})
	}
}
