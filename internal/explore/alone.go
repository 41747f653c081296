//go:build explore

package explore

import "math/rand/v2"

// users are who accesses a word, as far as that has been seen: sets of processes.
type users struct {
	all, store uint
	counter    bool
}

// note notes who accesses a word.
func (x *explorer) note(u *users, process int, what access) {
	now := *u
	if now.all |= 1 << process; what == stores {
		now.store |= 1 << process
	}
	if now != *u {
		*u, x.surprised = now, x.config.Reduced
	}
}

// learnWalks is how many walks learn who uses which words, if nothing is wrong in any. It
// needs not be all that there is to learn.
const learnWalks = 1000

func (x *explorer) learn() {
	reduced := x.config
	x.whole()
	for number := range uint64(learnWalks) {
		if _, _, err := x.walk(rand.New(rand.NewPCG(0, number))); err != nil {
			break
		}
	}
	x.config = reduced
}

// whole has nothing left out from now on.
func (x *explorer) whole() {
	c := *x.config
	c.Reduced = false
	x.config = &c
}

// alone returns a process whose next step nobody else can tell from no step, and which
// nobody else can change: who is awake and is about to load what no other stores any more,
// to store what no other uses any more, or to go on with nothing. It comes at once then,
// and no other order is looked at: whatever the others do before it they could as well do
// after it, and all states in which something is wrong are still reached. This is an ample
// set of one (Peled, "Combining partial order reductions with on-the-fly model-checking",
// 1994).
//
// It is so only if a process affects others by its accesses alone. With a ghost, or with
// kills, of which processes learn without a step, it is not.
//
// Who uses which word is learnt by the way. If a word turns out to have a user that was
// not known, what was left out because of that may matter, and the exploration begins
// anew, until one has come to its end that was not surprised. In that one nothing was left
// out wrongly: of all executions in which a process uses a word that it is not known to
// use, take a shortest; up to that step all that was put forward could be put forward, so
// that an execution with the same steps in another order was looked at, and would have
// surprised.
//
// A round of nothing but such steps would keep the others from ever coming; see run.
func (e *execution) alone() *process {
	if !e.config.Reduced {
		return nil
	}
	var active uint
	for _, p := range e.procs {
		if p.active() {
			active |= 1 << p.id
		}
	}
	for _, p := range e.procs {
		if !p.active() || p.parked != nil {
			continue
		}
		others := active &^ (1 << p.id)
		switch u := e.explorer.users[p.pending.word]; {
		case p.pending.what == none,
			p.pending.what == loads && u.store&others == 0,
			p.pending.what == stores && u.all&others == 0:
			return p
		}
	}
	return nil
}
