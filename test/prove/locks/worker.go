package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/test/prove/rounds"
)

// An op is what a worker is doing, as its entry in the ledger says it.
type op uint64

const (
	opStart op = iota // it joins
	opNone
	opSection
	opGuard
	opPost
	opTake
	opTakeForever // until somebody posts
	opSet
	opReset
	opAwait
	opAwaitForever // until the manual event is set
	opChange
	opChangeForever // until the manual event has been set once more
	opRing
	opAnswer
	opAnswerForever // until the automatic event is set
	opName
	opLeft // only of mutants: it has closed the segment, and lives
)

var opNames = [...]string{
	"joining", "between operations", "in the mutex's section", "guarded", "posting", "taking for a moment", "taking",
	"setting the manual event", "resetting it", "awaiting it for a moment", "awaiting it", "awaiting a change for a moment", "awaiting a change",
	"ringing", "answering for a moment", "answering", "naming", "having left",
}

func (o op) String() string { return opNames[o] }

// A worker is a process that uses everything in the segment until it is killed,
// or told to finish.
type worker struct {
	*arena
	incarnation uint64
	veteran     bool // it is killed at the end of the round only
	mutant      string
	ledger      *ledger
	entry       *entry
	rnd         *rand.Rand
	stays       uint64 // places of the guard that it has taken
	seen        uint32 // the manual event's count, last time
}

// work is the worker process: args are the folder of the segment and the ledger,
// its incarnation, its seed, whether it is a veteran, and which mutant it is, "" if
// none.
func work(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("worker: %d arguments; want folder, incarnation, seed, veteran and mutant", len(args))
	}
	incarnation, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("worker: incarnation: %w", err)
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("worker: seed: %w", err)
	}
	w := &worker{incarnation: incarnation, veteran: args[3] == "true", mutant: args[4], rnd: rand.New(rand.NewPCG(seed, incarnation))}
	l, err := rounds.Open[header, entry](args[0])
	if err != nil {
		return fmt.Errorf("worker: open the ledger: %w", err)
	}
	w.ledger = &ledger{l}
	w.entry = &w.ledger.Entries[incarnation]
	if w.arena, err = attachArena(args[0]); err != nil {
		return fmt.Errorf("worker: attach: %w", err)
	}
	w.entry.now.Store(uint64(opNone))
	if err := rounds.Announce(incarnation); err != nil {
		return fmt.Errorf("worker: announce: %w", err)
	}
	for w.ledger.Header.finish.Load() == 0 {
		if err := w.step(); err != nil {
			w.entry.Tell(err)
			w.entry.doomed.Store(1) // who has what it held need not wonder
			return fmt.Errorf("worker %d: %w", incarnation, err)
		}
		w.entry.now.Store(uint64(opNone))
		w.entry.steps.Add(1)
		w.entry.late.Store(wait.Late.Load())
	}
	return nil
}

// step does one operation.
func (w *worker) step() error {
	switch n := w.rnd.IntN(100); {
	case n < 40:
		return w.section()
	case n < 65:
		return w.enter()
	case n < 72:
		return w.post()
	case n < 80:
		return w.take()
	case n < 84:
		return w.set()
	case n < 86:
		return w.reset()
	case n < 89:
		return w.await()
	case n < 92:
		return w.ring()
	case n < 96:
		return w.answer()
	}
	return w.name()
}

// one says yes once in n times.
func (w *worker) one(n int) bool { return w.rnd.IntN(n) == 0 }

// is says whether the worker is that mutant, and shall behave as one now: once in
// n times.
func (w *worker) is(mutant string, n int) bool { return w.mutant == mutant && w.one(n) }

// toil is the work that is done while something is held. Some of it sleeps, so that
// the others do too.
func (w *worker) toil() {
	if w.one(16) {
		time.Sleep(time.Duration(w.rnd.IntN(300)) * time.Microsecond)
		return
	}
	for end := time.Now().Add(time.Duration(w.rnd.IntN(5000))); time.Now().Before(end); {
	}
}

// waiting enters which wait is under way, and returns the context for it: one that
// soon ends for the op, or none that ever does for the op after it.
func (w *worker) waiting(o op) (context.Context, context.CancelFunc) {
	if w.one(3) {
		w.entry.now.Store(uint64(o + 1))
		return context.Background(), func() {}
	}
	w.entry.now.Store(uint64(o))
	return context.WithTimeout(context.Background(), time.Duration(w.rnd.IntN(2000))*time.Microsecond)
}
