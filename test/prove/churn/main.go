// Churn proves that a domain of many participants and topics keeps what it promises while
// they come, go, are stopped and are killed all the time.
//
// Processes hold several participants each, every one of which has opened the domain for
// itself. By lot a participant publishes topics and subscribes to topics, publishes,
// receives, leaves topics, and leaves the domain and comes again. The conductor kills
// processes, all of whose participants die at once, stops some for a while, and starts new
// ones. What is published and what is received is entered into ledgers, which are other
// files; the conductor, who takes no part in the domain, judges them: see judge.go. At the
// end all leave, and it looks from outside at what the processes have left, and what is left
// in the folder. Mutant rounds, in which the processes make a mistake on purpose, show that
// each check can fail.
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

// patience is how long anything may take, with a thousand participants on two processors.
const patience = 60 * time.Second

// size is how large a round is.
type size struct {
	processes    int
	participants int // of each process
	topics       int
	kills        int // of processes
}

// String says how large, for the record.
func (s size) String() string {
	return fmt.Sprintf("%d in %d processes, %d topics", s.processes*s.participants, s.processes, s.topics)
}

var (
	whole = size{processes: 100, participants: 10, topics: 1000, kills: 300}
	small = size{processes: 6, participants: 5, topics: 30, kills: 24}
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := work(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	of := whole
	c := campaign(&of)
	c.Flags(900, "domains")
	flag.IntVar(&of.processes, "processes", of.processes, "`number` of processes at a time")
	flag.IntVar(&of.participants, "participants", of.participants, fmt.Sprintf("`number` of participants of each, of at most %d", participantsMost))
	flag.IntVar(&of.topics, "topics", of.topics, "`number` of topics")
	flag.Parse()
	if flag.NArg() > 0 || c.Kills < 0 || of.processes < 1 || of.participants < 1 || of.participants > participantsMost || of.topics < 1 {
		fmt.Fprintln(os.Stderr, "churn: takes no arguments, and numbers of at least 1; see -help")
		os.Exit(2)
	}
	c.Size = of.String()
	os.Exit(c.Main())
}

// campaign is one of rounds so large; its mutants are tried in small ones.
func campaign(of *size) *rounds.Campaign {
	return &rounds.Campaign{
		Name: "churn", Promises: "promises", Description: description, Size: of.String(), Columns: columns,
		Mutants: mutants, KillsPerRound: of.kills, KillsPerMutant: small.kills, Patience: patience,
		Make: func(o rounds.Order) (rounds.Round, error) {
			if o.Mutant != "" {
				return newRound(o, small)
			}
			return newRound(o, *of)
		},
	}
}
