package main

import (
	"sync/atomic"

	"github.com/memlane/memlane/test/prove/rounds"
)

// A count is how often a worker has begun something and how often it is done.
// Each side is one store, so that whoever is killed leaves the two at most one
// act apart: begun is what may have happened, acknowledged what has.
type count struct{ begun, acknowledged atomic.Uint64 }

// begin says that n more are to come.
func (c *count) begin(n int) { c.begun.Store(c.acknowledged.Load() + uint64(n)) }

// acknowledge says that what was begun is done.
func (c *count) acknowledge() { c.acknowledged.Store(c.begun.Load()) }

// cancel says that what was begun has not happened.
func (c *count) cancel() { c.begun.Store(c.acknowledged.Load()) }

// An entry is the account of one incarnation of a worker. The worker alone
// writes it, except for what is the conductor's.
type entry struct {
	doomed atomic.Uint64 // 1 before the conductor kills the process, or it ends itself
	dead   atomic.Uint64 // 1 once the conductor has waited for the process

	steps atomic.Uint64 // operations that have ended
	now   atomic.Uint64 // the operation under way, an op

	sections count // of the mutex
	posts    count // permits of the signal
	takes    count // permits of the signal
	sets     count // of the manual event
	rings    count // sets of the automatic event
	answers  count // sets of the automatic event that were taken

	deaths    atomic.Uint64 // owners whose death the mutex told of
	abandoned atomic.Uint64 // times the mutex was unlocked without Consistent
	recovered atomic.Uint64 // times it was recovered
	guarded   atomic.Uint64 // permits of the guard that were held and released
	named     atomic.Uint64 // a bit for each name that was seen in the directory
	late      atomic.Uint64 // sleeps that only the backstop has ended

	rounds.Report
}

// header is what the conductor tells all workers.
type header struct {
	finish   atomic.Uint64 // 1: end with the operation under way
	epoch    atomic.Uint64 // which of the names are used now
	patience atomic.Uint64 // nanoseconds that the conductor may take to enter a death
}

// A ledger has the accounts by incarnation; the first is the conductor's own.
type ledger struct {
	*rounds.Ledger[header, entry]
}

// isDoomed says whether an incarnation's end has been ordered.
func (l *ledger) isDoomed(incarnation uint64) bool {
	return incarnation < uint64(len(l.Entries)) && l.Entries[incarnation].doomed.Load() != 0
}

// isDead says whether the conductor has waited for an incarnation, which is a
// moment after it could do anything for the last time.
func (l *ledger) isDead(incarnation uint64) bool {
	return incarnation < uint64(len(l.Entries)) && l.Entries[incarnation].dead.Load() != 0
}
