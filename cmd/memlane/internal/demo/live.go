package demo

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
)

const (
	// domainName is the domain of part 4, in the demo's folder.
	domainName = "live"

	// On the topic that drops, so many messages at once, then a millisecond's rest:
	// the fast subscriber keeps up with that, the slow one does not, which rests after
	// fewer of them.
	dropTopic = "prices"
	dropFor   = 600 * time.Millisecond
	dropSlots = 8192
	dropPace  = 200
	slowPace  = 64

	// On the topic that blocks, the publisher is as fast as it can. The victim
	// stops after so many messages, and is killed when the publisher waits for it.
	blockTopic  = "orders"
	blockFor    = time.Second
	victimTakes = 100_000
	// holdMost is how long a death may hold the publisher up. It takes
	// milliseconds, but the machine may be busy.
	holdMost = time.Second
)

// live has the server publish to the clients: one is slow, and then one is killed.
func (d *demo) live(ctx context.Context) error {
	fmt.Fprintf(d.Out, "\n4. Messages: the server publishes, the clients subscribe.\n")
	for _, p := range d.all() {
		if _, err := p.do(order{Op: "join", Path: d.dir}); err != nil {
			return err
		}
	}
	if err := d.dropping(); err != nil {
		return err
	}
	return d.blocking(ctx)
}

// subscribe has the server publish a topic and two clients subscribe to it.
func (d *demo) subscribe(topic string, slots int, blocks bool, clients ...*peer) error {
	if _, err := d.server().do(order{Op: "advertise", Path: topic, Count: slots, Block: blocks}); err != nil {
		return err
	}
	for _, p := range clients {
		if _, err := p.do(order{Op: "subscribe", Path: topic}); err != nil {
			return err
		}
	}
	_, err := d.server().do(order{Op: "await", Count: len(clients)})
	return err
}

// dropping shows what a slow subscriber loses, and that it is told.
func (d *demo) dropping() error {
	fmt.Fprintf(d.Out, "   Topic %q drops the oldest messages: nobody waits for a slow subscriber.\n", dropTopic)
	fast, slow := d.clients()[0], d.clients()[1]
	if err := d.subscribe(dropTopic, dropSlots, false, fast, slow); err != nil {
		return err
	}
	atFast := fast.start(order{Op: "read"})
	atSlow := slow.start(order{Op: "read", Pace: slowPace})
	published, err := d.server().do(order{Op: "publish", For: dropFor, Pace: dropPace})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(d.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "   \tpublished\treceived\ttold that it lost\n")
	var errs []error
	for _, one := range []struct {
		name string
		wait func() (report, error)
	}{{"fast, " + fast.name, atFast}, {"slow, " + slow.name, atSlow}} {
		r, err := one.wait()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "   %s\t%s\t%s\t%s\n", one.name, humanize.Comma(published.Messages), humanize.Comma(r.Messages), humanize.Comma(r.Lost))
		if r.Messages+r.Lost != published.Messages {
			errs = append(errs, fmt.Errorf("%s got %d messages and was told of %d lost ones, of %d", one.name, r.Messages, r.Lost, published.Messages))
		}
		if one.name[0] == 's' && r.Lost == 0 {
			errs = append(errs, fmt.Errorf("%s was to lose messages, and got all", one.name))
		}
	}
	if err := errors.Join(append(errs, w.Flush())...); err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   Received and lost are exactly what was published, for both.\n")
	return d.server().close()
}

// blocking kills a subscriber that the publisher waits for.
func (d *demo) blocking(ctx context.Context) error {
	fmt.Fprintf(d.Out, "\n   Topic %q blocks: the publisher waits for whoever is a whole ring behind.\n", blockTopic)
	keeper, victim := d.clients()[0], d.clients()[2]
	if err := d.subscribe(blockTopic, 0, true, keeper, victim); err != nil {
		return err
	}
	kept := keeper.start(order{Op: "read"})
	taken := victim.start(order{Op: "read", Bytes: victimTakes})
	publishing := d.server().start(order{Op: "publish", For: blockFor})
	if _, err := taken(); err != nil {
		return err
	}
	waiting, err := d.publisherWaits(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   %s has stopped to read after %s messages; %d slots are before it, and the publisher waits.\n",
		victim.name, humanize.Comma(victimTakes), waiting.Behind)
	killed := time.Now()
	victim.kill()
	published, err := publishing()
	if err != nil {
		return err
	}
	received, err := kept()
	if err != nil {
		return err
	}
	held := time.Duration(-1)
	for _, h := range published.Holds {
		if h.From < killed.UnixNano() && h.To > killed.UnixNano() {
			held = time.Duration(h.To - killed.UnixNano())
		}
	}
	rate := float64(published.Messages) / published.Took.Seconds()
	fmt.Fprintf(d.Out, "   Killed with -9. The publisher went on %.1f ms after that.\n", float64(held)/1e6)
	fmt.Fprintf(d.Out, "   Published: %s messages, %s/s. %s has received %s, in order, and lost %d.\n",
		humanize.Comma(published.Messages), humanize.Comma(int64(rate)), keeper.name, humanize.Comma(received.Messages), received.Lost)
	switch {
	case received.Messages != published.Messages || received.Lost != 0:
		return fmt.Errorf("%s has received %d of %d messages, and lost %d", keeper.name, received.Messages, published.Messages, received.Lost)
	case held < 0:
		return errors.New("the publisher did not wait for the subscriber that was killed")
	case held > holdMost:
		return fmt.Errorf("the publisher went on %v after the death of a subscriber; it should take milliseconds", held)
	}
	return d.server().close()
}

// close has the server end its topic.
func (p *peer) close() error {
	_, err := p.do(order{Op: "silence"})
	return err
}

// publisherWaits waits until the publisher waits, as memlane stat would show it, and
// returns the subscription that it waits for.
func (d *demo) publisherWaits(ctx context.Context) (s inspect.Subscription, err error) {
	domain, err := memlane.Open(domainName, &memlane.Config{Folder: d.dir})
	if err != nil {
		return s, err
	}
	defer domain.Close()
	for ctx.Err() == nil {
		look, err := inspect.Look(domain, blockTopic)
		if err != nil {
			return s, err
		}
		for _, p := range look.Publishers {
			for _, sub := range p.Subscriptions {
				if p.Waiting && sub.Behind > s.Behind {
					s = sub
				}
			}
		}
		if s.Behind > 0 && s.Behind >= uint64(look.Publishers[0].Slots)*7/8 {
			return s, nil
		}
		s = inspect.Subscription{}
		time.Sleep(time.Millisecond)
	}
	return s, context.Cause(ctx)
}
