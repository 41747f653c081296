package main

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
those that were judged broken, or rounds.Stuck, for the right reason.`

var columns = []string{"stops", "published", "received", "told lost"}

// Found returns the figures for these columns.
func (r *round) Found() (kills int, figures []uint64) {
	var published, received, lost uint64
	for i := range r.ledger.Entries {
		e := &r.ledger.Entries[i]
		published += e.published.Load()
		received += e.received.Load()
		lost += e.lost.Load()
	}
	return int(r.killed.Load()), []uint64{uint64(r.stops.Load()), published, received, lost}
}
