package main

const description = `What package shmsync promises of its mutex, semaphore, event and names holds when the processes
that use them are killed by SIGKILL, or stopped and resumed, at any moment. Run ` + "`make prove-locks`" + `
to add to this table; ` + "`ARGS='-kills 100000'`" + ` for more.

In each round of 2000 kills several processes use one segment as fast as they can; one of them lives
until the end, the others die 0 to 4 ms after they have begun (some while they start, some two at
once, some while they are stopped). They acknowledge what they have done in another file. *Broken*
and *stuck* must be 0:

- Mutex: two numbers, of which each section counts up one and then the other, are equal for who
  locks it, and one apart at most for who is told that its owner died; nobody else is inside; whoever
  is said to have died was killed. At the end they are at least the sections that were acknowledged, and at
  most as many more as were under way in processes that were killed. Of every eight that are told of a
  death one leaves the mutex unrecoverable, and another recovers it (*recovered*).
- Semaphore as a guard of 3 permits: never do 3 live in its places while a fourth has a permit; nobody
  living loses its place; at the end exactly 3 can be acquired. *Permits returned* are those that killed
  processes held.
- Semaphore as a signal: permits left and taken are those posted, but for what was under way in
  processes that were killed.
- Events: each counts the times it was set; the automatic one was taken no more often. Who waits
  without an end goes on after one set.
- Names: 60 names, five at a time, are each once in the directory, or not at all, and whole.
- Stuck: while nobody is killed every process that lives must go on; no operation may take 10 s.

*Owners died* are the times that a process was told so by Lock or TryLock and lived to say it. *Late*
are sleeps that only the look ended which package wait takes at all sleepers once a second: who should
have sent the wake was killed after it had changed the word, or the sleeper had been waked and could
not run for 2 ms. *Mutants* are rounds in which the processes make a mistake on purpose, a
different one in each; *caught* are those that were judged broken, or rounds.Stuck, for the right reason.`

var columns = []string{
	"in namespaces", "stops", "sections", "owners died", "recovered", "guarded", "permits returned",
	"posted", "set", "names", "late",
}

// Found returns the figures for these columns.
func (r *round) Found() (kills int, figures []uint64) {
	s := r.ledger.sum()
	return int(r.killed.Load()), []uint64{
		uint64(r.foreign.Load()), uint64(r.stops.Load()), s.sections.least, s.deaths, s.recovered, s.guarded, uint64(r.returned.Load()),
		s.posts.least, s.sets.least + s.rings.least, uint64(r.names), s.late,
	}
}
