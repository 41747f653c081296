package main

const description = `A domain of many participants and topics keeps what package pubsub promises while they come, go, are
stopped and are killed all the time. Run ` + "`make prove-churn`" + ` to add to this table; ` + "`ARGS='-kills 9000'`" + ` for more,
` + "`ARGS='-processes 1000 -participants 1'`" + ` for another *size*: the participants at a time, in how many processes, and the topics.

Each participant has opened the domain for itself, publishes 3 topics at most and subscribes to 5, which it draws, in half
of which publishers block. By lot it publishes, receives, leaves a topic and enters another (*joins*, *leaves*), or leaves the
domain and comes again (*opens*). In each round of 300 kills processes die by SIGKILL, with all participants that they have,
some while they are stopped; others are stopped for up to 300 ms, every sixteenth for 3 s. What is published and received
is entered in files that are not memlane's, and the conductor, who takes no part, judges by them. *Broken* and *stuck* must be 0:

- Every message is whole, of a publication of that topic, and comes once and in its order; nothing is missing that the
  subscriber was not told of, and as many are told to be lost as were (*compared* are a subscription and a publication).
- Who subscribed before a publisher came, or while it was there, has the first message that it must have (*first*): unless
  it took half of the time in which Publish and Subscribe wait for an answer, so that somebody may not have given one.
- At the end each publisher has all subscribers that live and no others, each subscriber all publishers; who stays until
  then has everything that they, and those it has met before, have published (*last*).
- Nobody waits for who is stopped: every participant goes on; *late* are calls that took more than 2 s.
- Processes that live at the end and have closed everything have the descriptors, goroutines and mappings that they had
  before they opened anything, as seen from outside, but for mappings of the Go heap and of threads; and nothing of memlane's.
- Who opens the domain when all are gone finds one socket, its own, and no topics; the folder can be removed.

*Mutants* are rounds of 30 participants in which the processes make a mistake on purpose, a different one in each; *caught* are
those that were judged broken, or stuck, for the right reason.`

var columns = []string{"opens", "joins", "leaves", "stops", "published", "compared", "first", "last", "late"}

// Found returns the figures for these columns.
func (r *round) Found() (kills int, figures []uint64) {
	var opens, joins, leaves, published, late uint64
	for i := range r.ledgers.processes.Entries {
		e := &r.ledgers.processes.Entries[i]
		opens += e.opened.Load()
		late += e.late.Load()
	}
	for _, p := range r.ledgers.publicationsThere {
		joins++
		leaves += p.ended.Load()
		published += p.published.Load()
	}
	for _, s := range r.ledgers.subscriptionsThere {
		joins++
		leaves += s.ended.Load()
	}
	return int(r.killed.Load()), []uint64{opens, joins, leaves, uint64(r.stops.Load()), published,
		uint64(r.judged.receipts), uint64(r.judged.joins), uint64(r.judged.whole), late}
}
