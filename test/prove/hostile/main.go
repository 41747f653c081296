// Hostile proves that processes that mean harm disturb nobody but themselves.
//
// In each round two honest processes, one that publishes and one that subscribes, share a
// topic with others that write any bytes at any time into their own memory and sockets,
// send memory that is not what it has to be, and crowd the sockets: see package
// internal/hostile. The subscriber has to get every message of the publisher, and no
// errors about it; both have to go on, with bounded memory, descriptors and threads.
// Mutant rounds, in which an honest process is none, show that each check can fail.
//
// It exits with 0 if nothing was broken and every mutant was caught; with 1 if not, or if
// something else failed; with 2 if used wrongly; with 130 if interrupted. What was found
// until then is in the record of campaigns in any case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/memlane/memlane/test/prove"
)

const description = `Processes that mean harm disturb nobody but themselves. Run ` + "`make prove-hostile`" + ` to add to this table;
` + "`ARGS='-duration 1h'`" + ` for more.

In each round of a minute two honest processes, a publisher and a subscriber of a topic, are among eight others that
know the protocol and the layout, and begin again at once when they are dropped: two subscribers and two publishers that
write random words into their own segments all the time, also such that look right for a moment; two that send messages of
all types with files, unsealed, short, large or wrong memory; one that sends changed packets and noise to every socket; one
that keeps 300 silent connections. The honest publisher does not run ahead of its subscriber by more than half of a ring, so
that nothing may be lost.

*Broken* must be 0: a message of the honest publisher that is lost, comes twice, late or changed; an error about that
publisher; an honest process that ends, or does nothing for 10 s, or has more than 256 MiB, 1000 descriptors or 200
threads. *Attacks* are the times that an honest process dropped a peer or met memory that made no sense. In *mutants* an
honest process makes a mistake; *caught* are those in which the check noticed.`

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "seed"},
	{Name: "seconds", Sum: true}, {Name: "messages", Sum: true}, {Name: "attacks", Sum: true}, {Name: "broken", Sum: true},
	{Name: "mutants", Sum: true}, {Name: "mutants caught", Sum: true},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == roleArgument {
		if err := be(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	duration := flag.Duration("duration", 2*time.Minute, "`how long` to go on")
	seed := flag.Uint64("seed", 0, "`number` that all choices follow from; 0 draws one")
	file := flag.String("file", "docs/PROOF.md", "Markdown `file` to add the figures to; empty: none")
	flag.Parse()
	if flag.NArg() > 0 || *duration <= 0 {
		fmt.Fprintln(os.Stderr, "hostile: takes no arguments; see -help")
		os.Exit(2)
	}
	*seed = prove.Seed(*seed)
	fmt.Printf("seed %d\n", *seed)
	if status := prove.Run("hostile", func(ctx context.Context) error { return all(ctx, *duration, *seed, *file) }); status != 0 {
		os.Exit(status)
	}
	fmt.Println("nobody was disturbed, and every mutant was caught")
}

// roundTime is how long a round is.
const roundTime = time.Minute

// all runs the mutants, and then rounds as long as there is time. The row of the record is
// written anew after each.
func all(ctx context.Context, d time.Duration, seed uint64, file string) error {
	rnd := rand.New(rand.NewPCG(seed, 0))
	started, commit, kernel := time.Now().UTC().Format(time.DateTime), prove.Commit(), prove.Kernel()
	var total figures
	caught := 0
	for _, m := range mutants {
		r := round{seed: rnd.Uint64(), duration: 5 * time.Second, mutant: m}
		if err := r.run(ctx); errors.As(err, new(broken)) {
			caught++
		} else if ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "hostile: the mutant %q was not caught: %v\n", m, err)
		}
	}
	record := func() error {
		if file == "" {
			return nil
		}
		row := []string{started, commit, kernel, strconv.FormatUint(seed, 10)}
		for _, n := range []int{total.seconds, total.messages, total.attacks, total.broken, len(mutants), caught} {
			row = append(row, strconv.Itoa(n))
		}
		return prove.Add(file, "hostile", description, columns, row)
	}
	var errs []error
	if caught < len(mutants) {
		errs = append(errs, fmt.Errorf("%d of %d mutants were caught", caught, len(mutants)))
	}
	for end := time.Now().Add(d); ctx.Err() == nil && time.Now().Before(end); {
		r := round{seed: rnd.Uint64(), duration: min(roundTime, time.Until(end))}
		err := r.run(ctx)
		total.add(r.figures)
		if errors.As(err, new(broken)) {
			total.broken++
			err = fmt.Errorf("round of seed %d: %w", r.seed, err)
			fmt.Fprintln(os.Stderr, "hostile:", err)
		}
		if err != nil && ctx.Err() == nil {
			errs = append(errs, err)
		}
		errs = append(errs, record())
		fmt.Printf("%d s, %d messages, %d attacks, %d broken\n", total.seconds, total.messages, total.attacks, total.broken)
	}
	return errors.Join(errs...)
}

// figures are what rounds have come to.
type figures struct{ seconds, messages, attacks, broken int }

func (f *figures) add(g figures) {
	f.seconds += g.seconds
	f.messages += g.messages
	f.attacks += g.attacks
}

// broken is what must not be.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }
