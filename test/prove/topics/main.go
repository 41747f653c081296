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
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/memlane/memlane/test/prove"
)

const (
	// patience is how long anything may take: what only the backstop of package wait
	// repairs takes 1 to 4 s.
	patience = 10 * time.Second

	killsPerRound  = 1000
	killsPerMutant = 60

	// maxBroken is after how many broken rounds a run gives up.
	maxBroken = 10
)

func main() {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	r := run{mutants: mutants, started: time.Now().UTC().Format(time.DateTime), commit: prove.Commit(), kernel: prove.Kernel()}
	flag.IntVar(&r.kills, "kills", 10_000, "`number` of processes to kill")
	flag.Uint64Var(&r.seed, "seed", 0, "`number` that all choices follow from; 0 draws one")
	flag.StringVar(&r.dir, "dir", "/dev/shm", "`folder` for the domains")
	flag.StringVar(&r.file, "file", "docs/PROOF.md", "Markdown `file` to add the figures to; \"\" for none")
	flag.Parse()
	if flag.NArg() > 0 || r.kills < 0 {
		fmt.Fprintln(os.Stderr, "topics: takes no arguments; see -help")
		os.Exit(2)
	}
	for r.seed == 0 {
		r.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // the second signal finds the default action: whoever insists is obeyed
	err := r.all(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "topics: interrupted:", err)
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "topics:", err)
		os.Exit(1)
	}
	fmt.Printf("%d kills: nothing was broken, nobody was stuck, and every mutant was caught\n", r.sum.kills)
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

// A run is one call of the program.
type run struct {
	kills                   int
	mutants                 []mutant
	seed                    uint64
	dir, file               string
	started, commit, kernel string

	sum tally
}

// all runs the mutants, then the real rounds, and leaves nothing behind.
func (r *run) all(ctx context.Context) (err error) {
	dir, remove, err := prove.Workspace(r.dir, "topics")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	fmt.Printf("seed %d\n", r.seed)
	defer func() { err = errors.Join(err, r.record()) }()
	rnd := rand.New(rand.NewPCG(r.seed, 0))
	for _, m := range r.mutants {
		if err := r.try(ctx, dir, m, rnd.Uint64()); err != nil {
			return err
		}
	}
	begun := time.Now()
	for r.sum.kills < r.kills && r.sum.broken+r.sum.stuck < maxBroken {
		seed := rnd.Uint64()
		round, err := newRound(dir, seed, min(killsPerRound, r.kills-r.sum.kills), "", patience)
		if err != nil {
			return err
		}
		err = round.run(ctx)
		r.sum.add(round, err)
		err = errors.Join(err, round.discard())
		if b := (*broken)(nil); errors.As(err, &b) {
			fmt.Fprintf(os.Stderr, "topics: round of seed %d, %s: %v\n", seed, round.policy, err)
		} else if err != nil {
			return fmt.Errorf("round of seed %d: %w", seed, err)
		}
		if err := r.record(); err != nil {
			return err
		}
		fmt.Printf("%d kills, %.0f a second, %d broken, %d stuck\n", r.sum.kills, float64(r.sum.kills)/time.Since(begun).Seconds(), r.sum.broken, r.sum.stuck)
	}
	if r.sum.broken+r.sum.stuck > 0 {
		return fmt.Errorf("in %d kills %d promises were broken, and %d times somebody was stuck", r.sum.kills, r.sum.broken, r.sum.stuck)
	}
	return nil
}

// try runs a round of a mutant, which must be caught, and for the right reason.
func (r *run) try(ctx context.Context, dir string, m mutant, seed uint64) error {
	round, err := newRound(dir, seed, killsPerMutant, m.name, cmp.Or(m.patience, patience))
	if err != nil {
		return err
	}
	err = errors.Join(round.run(ctx), round.discard())
	if ctx.Err() != nil {
		return err
	}
	r.sum.mutants++
	if b := (*broken)(nil); !errors.As(err, &b) || !slices.Contains(m.kinds, b.kind) {
		return fmt.Errorf("the mutant %q (seed %d) was not caught: want one of %q, got: %v", m.name, seed, m.kinds, err)
	}
	r.sum.caught++
	return nil
}
