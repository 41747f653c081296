package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/memlane/memlane/mmap"
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

	told   atomic.Uint64 // length of report; stored last
	report [256]byte     // what was broken, its kind before the first tab
}

// header is what the conductor tells all workers.
type header struct {
	finish   atomic.Uint64 // 1: end with the operation under way
	epoch    atomic.Uint64 // which of the names are used now
	patience atomic.Uint64 // nanoseconds that the conductor may take to enter a death
}

const headerBytes = 64 // and to spare

var entryBytes = int(reflect.TypeFor[entry]().Size())

// A ledger is the file in which the workers acknowledge what they have done. It
// is not the segment: what goes wrong there cannot reach it, and what is in it
// outlives whoever wrote it.
type ledger struct {
	*mmap.Mapping
	header  *header
	entries []entry // by incarnation; the first is the conductor's own
}

const ledgerName = "ledger"

// createLedger makes the ledger of a folder, for so many incarnations.
func createLedger(folder string, incarnations int) (*ledger, error) {
	path := filepath.Join(folder, ledgerName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(path, int64(headerBytes+incarnations*entryBytes)); err != nil {
		return nil, err
	}
	return openLedger(folder)
}

// openLedger maps the ledger of a folder.
func openLedger(folder string) (*ledger, error) {
	f, err := os.OpenFile(filepath.Join(folder, ledgerName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := mmap.Map(f, int(st.Size()), mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	l := &ledger{Mapping: m}
	if l.header, err = mmap.At[header](m, 0); err == nil {
		l.entries, err = mmap.SliceOf[entry](m, headerBytes, (m.Len()-headerBytes)/entryBytes)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return l, nil
}

// tell says in the entry what was broken.
func (e *entry) tell(b *broken) {
	e.told.Store(uint64(copy(e.report[:], b.kind+"\t"+b.text)))
}

// broken returns what the entry says was broken; nil if nothing was.
func (e *entry) broken() *broken {
	n := e.told.Load()
	if n == 0 {
		return nil
	}
	kind, text, _ := strings.Cut(string(e.report[:min(n, uint64(len(e.report)))]), "\t")
	return &broken{kind, text}
}

// isDoomed says whether an incarnation's end has been ordered.
func (l *ledger) isDoomed(incarnation uint64) bool {
	return incarnation < uint64(len(l.entries)) && l.entries[incarnation].doomed.Load() != 0
}

// isDead says whether the conductor has waited for an incarnation, which is a
// moment after it could do anything for the last time.
func (l *ledger) isDead(incarnation uint64) bool {
	return incarnation < uint64(len(l.entries)) && l.entries[incarnation].dead.Load() != 0
}
