// Topics proves that publish/subscribe keeps what it promises when publishers and
// subscribers are killed and stopped at any moment.
//
// In each round some processes publish a topic and others subscribe to it, as fast as
// they can: with one policy or the other, messages of all sizes, batches and loans. The
// conductor kills one after the other at random moments, stops some for a while, and
// starts new ones. Every message says who published it, and its number, and the rest
// of it follows from these. Publishers enter into a ledger, which is another file, what
// they have begun to publish and what was published; a subscriber compares what it
// receives with that: see receipts. Mutant rounds, in which the processes make a mistake
// on purpose, show that each check can fail.
//
// It exits with 0 if nothing was broken, nobody was stuck and every mutant was caught;
// with 1 if not, or if something else failed; with 2 if used wrongly; with 130 if
// interrupted. What was found until then is in the record of campaigns in any case.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/memlane/memlane/test/prove/rounds"
)

const (
	// patience is how long anything may take: what only the backstop of package wait
	// repairs takes 1 to 4 s.
	patience = 10 * time.Second

	killsPerRound  = 1000
	killsPerMutant = 60
)

func main() {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	c := campaign()
	c.Flags(10_000, "domains")
	flag.Parse()
	if flag.NArg() > 0 || c.Kills < 0 {
		fmt.Fprintln(os.Stderr, "topics: takes no arguments; see -help")
		os.Exit(2)
	}
	os.Exit(c.Main())
}

// asked is a worker if this process is to be one, and says whether.
func asked(args []string) bool {
	if args[0] != "publisher" && args[0] != "subscriber" {
		return false
	}
	if err := work(args[0], args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func campaign() *rounds.Campaign {
	return &rounds.Campaign{
		Name: "topics", Promises: "promises", Description: description, Columns: columns,
		Mutants: mutants, KillsPerRound: killsPerRound, KillsPerMutant: killsPerMutant, Patience: patience,
		Make: func(o rounds.Order) (rounds.Round, error) { return newRound(o) },
	}
}
