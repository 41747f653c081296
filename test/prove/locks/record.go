package main

import (
	"errors"
	"strconv"

	"github.com/memlane/memlane/test/prove"
)

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
different one in each; *caught* are those that were judged broken, or stuck, for the right reason.`

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "seed", Key: true},
	{Name: "kills", Sum: true}, {Name: "in namespaces", Sum: true}, {Name: "stops", Sum: true},
	{Name: "sections", Sum: true}, {Name: "owners died", Sum: true}, {Name: "recovered", Sum: true},
	{Name: "guarded", Sum: true}, {Name: "permits returned", Sum: true},
	{Name: "posted", Sum: true}, {Name: "set", Sum: true}, {Name: "names", Sum: true}, {Name: "late", Sum: true},
	{Name: "broken", Sum: true}, {Name: "stuck", Sum: true}, {Name: "mutants", Sum: true}, {Name: "caught", Sum: true},
}

// A tally is what all rounds of a run have found.
type tally struct {
	kills, foreign, stops       int
	sections, deaths, recovered int
	guarded, returned           int
	posted, set, names, late    int
	broken, stuck               int
	mutants, caught             int
}

// add adds what one round has found.
func (t *tally) add(r *round, err error) {
	t.kills += int(r.killed.Load())
	t.foreign += int(r.foreign.Load())
	t.stops += int(r.stops.Load())
	t.returned += int(r.returned.Load())
	t.names += r.names
	t.sections += int(r.sums.sections.least)
	t.deaths += int(r.sums.deaths)
	t.recovered += int(r.sums.recovered)
	t.guarded += int(r.sums.guarded)
	t.posted += int(r.sums.posts.least)
	t.set += int(r.sums.sets.least + r.sums.rings.least)
	t.late += int(r.sums.late)
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
	for _, n := range []int{
		t.kills, t.foreign, t.stops, t.sections, t.deaths, t.recovered, t.guarded, t.returned,
		t.posted, t.set, t.names, t.late, t.broken, t.stuck, t.mutants, t.caught,
	} {
		row = append(row, strconv.Itoa(n))
	}
	return prove.Add(r.file, "locks", description, columns, row)
}
