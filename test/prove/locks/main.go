// Locks proves that the mutex, the semaphore, the event and the names of package
// shmsync keep what they promise when processes that use them are killed and
// stopped at any moment.
//
// In each round several worker processes use one segment as fast as they can, some
// of them in PID and user namespaces of their own. The conductor kills one after the
// other at random moments, stops some for a while, and starts new ones. They
// acknowledge what they have done in a file that is not the segment; at the end of
// the round what is left in the segment must be what was acknowledged, but for what
// was under way in those who were killed: see judge. Workers check much more
// themselves, while they are at it: that they are alone in a section, that nobody
// living loses what it holds. Whoever lives must go on: see watch. Mutant rounds, in
// which the workers make a mistake on purpose, show that each check can fail.
//
// It exits with 0 if nothing was broken, nobody was stuck and every mutant was
// caught; with 1 if not, or if something else failed; with 2 if used wrongly; with
// 130 if interrupted. What was found until then is in the record of campaigns in
// any case.
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

const (
	// patience is how long anything may take. The longest stop is 500 times
	// shorter, and what only the backstop of package wait repairs takes 1 to 4 s.
	patience = 10 * time.Second

	killsPerRound  = 2000
	killsPerMutant = 150
)

func main() {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	workers := flag.Int("workers", 5, "`number` of processes at a time; one of them is not killed before the end of a round")
	c := campaign(workers)
	c.Flags(20_000, "segments")
	flag.Parse()
	if flag.NArg() > 0 || c.Kills < 0 || *workers < 2 {
		fmt.Fprintln(os.Stderr, "locks: takes no arguments, and needs two workers; see -help")
		os.Exit(2)
	}
	os.Exit(c.Main())
}

// asked does what one process of a run asks another to do, and says whether it was
// such.
func asked(args []string) bool {
	switch args[0] {
	case "nothing":
		return true
	case "worker":
		if err := work(args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return true
	}
	return false
}

// campaign returns the campaign, with so many workers at a time.
func campaign(workers *int) *rounds.Campaign {
	namespaces := sync.OnceValue(func() bool {
		why := namespacesWork()
		if why != nil {
			fmt.Printf("all workers are in this PID namespace: no other can be made here: %v\n", why)
		}
		return why == nil
	})
	return &rounds.Campaign{
		Name: "locks", Promises: "invariants", Description: description, Columns: columns,
		Mutants: mutants, KillsPerRound: killsPerRound, KillsPerMutant: killsPerMutant, Patience: patience,
		Make: func(o rounds.Order) (rounds.Round, error) { return newRound(o, *workers, namespaces()) },
	}
}
