package main

import (
	"errors"
	"strconv"

	"github.com/memlane/memlane/test/prove"
)

const description = `What package pubsub promises holds when publishers and subscribers are killed by SIGKILL, or
stopped and resumed, at any moment. Run ` + "`make prove-topics`" + ` to add to this table;
` + "`ARGS='-kills 100000'`" + ` for more.

In each round of 1000 kills three processes publish a topic and three subscribe to it, as fast as they can,
in half of the rounds with the policy Block and in the others with DropOldest: messages of 16 to 40,000
bytes, batches and loans, in a ring of 64. One of each lives until the end; the others die 0 to 8 ms after they
have begun, some while they start, some while they are stopped. Publishers enter in another file what they have
begun to publish and what was published. *Broken* and *stuck* must be 0:

- Every message is whole, of a publisher that has begun to publish it, and comes once and in its order.
- Nothing is missing that the subscriber was not told of: of a publisher that came after it, everything from
  the first message on; of one that was there before, everything from the moment on at which Subscribe
  has returned; of one that was killed, everything for which Publish has returned. With Block nothing is lost.
- As many are told to be lost as were.
- Everybody who lives goes on: no call takes 10 s.
- At the end nobody who comes finds a publisher.

*Mutants* are rounds in which the processes make a mistake on purpose, a different one in each; *caught* are
those that were judged broken, or stuck, for the right reason.`

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "seed", Key: true},
	{Name: "kills", Sum: true}, {Name: "stops", Sum: true}, {Name: "published", Sum: true}, {Name: "received", Sum: true},
	{Name: "told lost", Sum: true}, {Name: "broken", Sum: true}, {Name: "stuck", Sum: true},
	{Name: "mutants", Sum: true}, {Name: "caught", Sum: true},
}

// A tally is what all rounds of a run have found.
type tally struct {
	kills, stops              int
	published, received, lost uint64
	broken, stuck             int
	mutants, caught           int
}

// add adds what one round has found.
func (t *tally) add(r *round, err error) {
	t.kills += int(r.killed.Load())
	t.stops += int(r.stops.Load())
	for i := range r.ledger.entries {
		e := &r.ledger.entries[i]
		t.published += e.published.Load()
		t.received += e.received.Load()
		t.lost += e.lost.Load()
	}
	if b := (*broken)(nil); errors.As(err, &b) && b.kind == stuck {
		t.stuck++
	} else if b != nil {
		t.broken++
	}
}

// record writes the run's row.
func (r *run) record() error {
	t := r.sum
	if t.kills+t.mutants == 0 || r.file == "" {
		return nil
	}
	row := []string{r.started, r.commit, r.kernel, strconv.FormatUint(r.seed, 10)}
	for _, n := range []uint64{uint64(t.kills), uint64(t.stops), t.published, t.received, t.lost,
		uint64(t.broken), uint64(t.stuck), uint64(t.mutants), uint64(t.caught)} {
		row = append(row, strconv.FormatUint(n, 10))
	}
	return prove.Add(r.file, "topics", description, columns, row)
}
