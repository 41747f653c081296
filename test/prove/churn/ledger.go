package main

import (
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/memlane/memlane/test/prove/rounds"
)

// The ledgers of a round. In each, numbers count from 1, and only who has one writes its
// entry, but for what is said to be the conductor's.
type ledgers struct {
	processes     *rounds.Ledger[header, process]
	publications  *rounds.Ledger[counter, publication]
	subscriptions *rounds.Ledger[counter, subscription]
}

// header is what the conductor tells all processes.
type header struct {
	stage atomic.Uint64 // a stage
	clock atomic.Uint64 // counts beginnings; of all
}

// counter counts the entries.
type counter struct{ last atomic.Uint64 }

// participantsMost is how many participants a process can have.
const participantsMost = 64

// process is the account of one process.
type process struct {
	participants [participantsMost]struct {
		steps atomic.Uint64 // calls that have ended
		done  atomic.Uint64 // the stage whose work it has done
	}
	opened, left  atomic.Uint64 // domains
	late          atomic.Uint64 // calls that took longer than lateAfter, in which it was not stopped
	before, after figures       // what it has, when it has closed everything

	stopped atomic.Uint64 // the conductor's: odd while it is stopped
	dead    atomic.Uint64 // the conductor's: 1, it was killed and waited for

	rounds.Report
}

// figures are what a process has.
type figures struct {
	descriptors, mappings, goroutines, threads atomic.Uint64
}

// publication is the account of one publisher of a topic.
type publication struct {
	topic, owner atomic.Uint64 // and whose it is: a process
	// When it began, and when it could publish: see header.clock.
	began, ready atomic.Uint64
	slow         atomic.Uint64 // 1: that took so long that not everybody may have answered
	begun        atomic.Uint64 // messages that it has begun to publish
	published    atomic.Uint64 // those that publishing has returned for
	ended        atomic.Uint64 // 1: it is being closed
}

// subscription is the account of one subscriber of a topic.
type subscription struct {
	topic, owner atomic.Uint64
	began, ready atomic.Uint64
	slow         atomic.Uint64
	ended        atomic.Uint64
	due          [dueMost]struct{ publication, begun atomic.Uint64 } // what had begun when it was ready
	receipts     [receiptsMost]receipt
}

const (
	dueMost      = 32
	receiptsMost = 128
)

// receipt is what was received of one publication.
type receipt struct {
	id          atomic.Uint64 // the publisher's, as package pubsub has it
	publication atomic.Uint64 // 0: nothing has come but that something was lost
	before      atomic.Uint64 // messages that were lost before the first
	first       atomic.Uint64 // the number of that
	received    atomic.Uint64
	lost        atomic.Uint64 // messages that were lost after the first
	next        atomic.Uint64 // the number of the message that is to come
}

// The folders of the ledgers.
const processesFolder, publicationsFolder, subscriptionsFolder = "processes", "publications", "subscriptions"

// createLedgers makes the ledgers of a round, for so many processes; and for as many
// publications and subscriptions as they have not by far.
func createLedgers(folder string, processes int, of size) (l *ledgers, err error) {
	for _, name := range []string{processesFolder, publicationsFolder, subscriptionsFolder} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			return nil, err
		}
	}
	many := processes * of.participants * joinsMost
	if _, err := rounds.Create[header, process](filepath.Join(folder, processesFolder), processes); err != nil {
		return nil, err
	}
	if _, err := rounds.Create[counter, publication](filepath.Join(folder, publicationsFolder), many); err != nil {
		return nil, err
	}
	if _, err := rounds.Create[counter, subscription](filepath.Join(folder, subscriptionsFolder), many); err != nil {
		return nil, err
	}
	return openLedgers(folder)
}

// openLedgers maps them. They stay mapped until the process ends.
func openLedgers(folder string) (l *ledgers, err error) {
	l = &ledgers{}
	if l.processes, err = rounds.Open[header, process](filepath.Join(folder, processesFolder)); err != nil {
		return nil, err
	}
	if l.publications, err = rounds.Open[counter, publication](filepath.Join(folder, publicationsFolder)); err != nil {
		return nil, err
	}
	if l.subscriptions, err = rounds.Open[counter, subscription](filepath.Join(folder, subscriptionsFolder)); err != nil {
		return nil, err
	}
	return l, nil
}

// close ends the use of them.
func (l *ledgers) close() error {
	if l == nil {
		return nil
	}
	for _, err := range []error{l.processes.Close(), l.publications.Close(), l.subscriptions.Close()} {
		if err != nil {
			return err
		}
	}
	return nil
}

// publicationsThere returns the entries of publications that have begun, with their numbers.
func (l *ledgers) publicationsThere(yield func(uint64, *publication) bool) {
	last := min(l.publications.Header.last.Load(), uint64(len(l.publications.Entries)-1))
	for i := uint64(1); i <= last; i++ {
		if !yield(i, &l.publications.Entries[i]) {
			return
		}
	}
}

// subscriptionsThere returns those of subscriptions.
func (l *ledgers) subscriptionsThere(yield func(uint64, *subscription) bool) {
	last := min(l.subscriptions.Header.last.Load(), uint64(len(l.subscriptions.Entries)-1))
	for i := uint64(1); i <= last; i++ {
		if !yield(i, &l.subscriptions.Entries[i]) {
			return
		}
	}
}

// killed says whether the process of that number was.
func (l *ledgers) killed(owner uint64) bool { return l.processes.Entries[owner].dead.Load() != 0 }

// living says whether the publication is there until the end.
func (l *ledgers) living(p *publication) bool {
	return p.ready.Load() != 0 && p.ended.Load() == 0 && !l.killed(p.owner.Load())
}

// listening says whether the subscription is there until the end.
func (l *ledgers) listening(s *subscription) bool {
	return s.ready.Load() != 0 && s.ended.Load() == 0 && !l.killed(s.owner.Load())
}
