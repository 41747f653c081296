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
	// patience is how long anything may take. The longest stop is 500 times
	// shorter, and what only the backstop of package wait repairs takes 1 to 4 s.
	patience = 10 * time.Second

	killsPerRound  = 2000
	killsPerMutant = 150

	// maxBroken is after how many broken rounds a run gives up.
	maxBroken = 10
)

func main() {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	r := run{mutants: mutants, started: time.Now().UTC().Format(time.DateTime), commit: prove.Commit(), kernel: prove.Kernel()}
	flag.IntVar(&r.kills, "kills", 20_000, "`number` of processes to kill")
	flag.IntVar(&r.workers, "workers", 5, "`number` of processes at a time; one of them is not killed before the end of a round")
	flag.Uint64Var(&r.seed, "seed", 0, "`number` that all choices follow from; 0 draws one")
	flag.StringVar(&r.dir, "dir", "/dev/shm", "`folder` for the segments")
	flag.StringVar(&r.file, "file", "docs/PROOF.md", "Markdown `file` to add the figures to; \"\" for none")
	flag.Parse()
	if flag.NArg() > 0 || r.kills < 0 || r.workers < 2 {
		fmt.Fprintln(os.Stderr, "locks: takes no arguments, and needs two workers; see -help")
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
		fmt.Fprintln(os.Stderr, "locks: interrupted:", err)
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "locks:", err)
		os.Exit(1)
	}
	fmt.Printf("%d kills: nothing was broken, nobody was stuck, and every mutant was caught\n", r.sum.kills)
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

// A run is one call of the program.
type run struct {
	kills, workers          int
	mutants                 []mutant
	seed                    uint64
	dir, file               string
	started, commit, kernel string

	namespaces bool
	sum        tally
}

// all runs the mutants, then the real rounds, and leaves nothing behind.
func (r *run) all(ctx context.Context) (err error) {
	dir, remove, err := prove.Workspace(r.dir, "locks")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	fmt.Printf("seed %d\n", r.seed)
	why := namespacesWork()
	if r.namespaces = why == nil; why != nil {
		fmt.Printf("all workers are in this PID namespace: no other can be made here: %v\n", why)
	}
	defer func() { err = errors.Join(err, r.record()) }()
	rnd := rand.New(rand.NewPCG(r.seed, 0))
	for _, m := range r.mutants {
		if err := r.try(ctx, dir, m, rnd.Uint64()); err != nil {
			return err
		}
	}
	begun := time.Now()
	for r.sum.kills < r.kills {
		seed := rnd.Uint64()
		err := r.round(ctx, dir, seed, min(killsPerRound, r.kills-r.sum.kills))
		if b := (*broken)(nil); errors.As(err, &b) {
			fmt.Fprintf(os.Stderr, "locks: round of seed %d: %v\n", seed, err)
			if r.sum.broken+r.sum.stuck >= maxBroken {
				break
			}
		} else if err != nil {
			return fmt.Errorf("round of seed %d: %w", seed, err)
		}
		if err := r.record(); err != nil {
			return err
		}
		fmt.Printf("%d kills, %.0f a second, %d broken, %d stuck\n", r.sum.kills, float64(r.sum.kills)/time.Since(begun).Seconds(), r.sum.broken, r.sum.stuck)
	}
	if r.sum.broken+r.sum.stuck > 0 {
		return fmt.Errorf("in %d kills %d invariants were broken, and %d times somebody was stuck", r.sum.kills, r.sum.broken, r.sum.stuck)
	}
	return nil
}

// round runs a real round and adds what came of it to the sum.
func (r *run) round(ctx context.Context, dir string, seed uint64, kills int) error {
	round, err := newRound(dir, seed, kills, r.workers, "", r.namespaces, patience)
	if err != nil {
		return err
	}
	err = round.run(ctx)
	r.sum.add(round, err)
	return err
}

// try runs a round of a mutant, which must be caught, and for the right reason.
func (r *run) try(ctx context.Context, dir string, m mutant, seed uint64) error {
	if m.patience == 0 {
		m.patience = patience
	}
	round, err := newRound(dir, seed, killsPerMutant, r.workers, m.name, r.namespaces, m.patience)
	if err != nil {
		return err
	}
	err = round.run(ctx)
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
