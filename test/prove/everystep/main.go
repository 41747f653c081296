// Everystep kills a process after every single machine instruction of every
// operation of package shmsync, and has the processes that survive it find out that
// nothing is broken, lost, leaked or stuck. Then it does the same with a process
// that is stopped there, and goes on after the others have tried all they may.
//
// A victim is a second process that package step takes to the instruction. The
// survivors are two: this process, and a servant, which may be asleep in the
// operation's counterpart. What they check is in the judges: see judge.
//
// It exits with 0 if nothing was wrong and every mutant was caught, a victim that
// breaks the rules; with 1 if not, or if something else failed; with 2 if used
// wrongly; with 130 if interrupted. What was found until then is in the record of
// campaigns in any case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/memlane/memlane/test/prove"
	"github.com/memlane/memlane/test/prove/step"
)

func main() {
	if ok, err := role(os.Args[1:]); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, "everystep:", err)
			os.Exit(1)
		}
		return
	}
	c := campaign{}
	rec := record{started: time.Now().UTC().Format(time.DateTime), commit: prove.Commit(), kernel: prove.Kernel()}
	flag.IntVar(&c.every, "every", 1, "take every `n`-th instruction")
	flag.IntVar(&c.loops, "loops", 4, "of an instruction that is executed again and again in a loop, take the first `n` times and the last; 0: all, which takes hours")
	flag.IntVar(&c.parallel, "parallel", 4*runtime.NumCPU(), "`number` of operations at a time; most of the time they wait")
	flag.BoolVar(&c.kill, "kill", true, "kill victims")
	flag.BoolVar(&c.stop, "stop", true, "stop victims, and let them go on")
	flag.BoolVar(&c.steps, "single", false, "get to each place by single steps alone, without the processor's breakpoints: slow")
	only := flag.String("only", "", "`expression` that matches the operations to try")
	flag.Uint64Var(&c.seed, "seed", 0, "`number` that all choices follow from; 0 draws one")
	flag.StringVar(&rec.file, "file", "docs/PROOF.md", "Markdown `file` to add the figures to; empty: none")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 || c.every < 1 || c.loops < 0 || c.parallel < 1 {
		fmt.Fprintln(os.Stderr, "everystep: takes no arguments; see -help", err)
		os.Exit(2)
	}
	for c.seed == 0 {
		c.seed = rand.Uint64()
	}
	rec.seed = c.seed
	fmt.Printf("seed %d\n", c.seed)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // the second signal finds the default action: whoever insists is obeyed
	err = c.all(ctx, which, &rec)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "everystep: interrupted:", err)
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "everystep:", err)
		os.Exit(1)
	}
	fmt.Println("nothing was broken, nobody was stuck, and every mutant was caught")
}

// role does what this process is, if it was started as a victim or as the servant.
func role(args []string) (ok bool, err error) {
	switch {
	case step.IsVictim() && len(args) == 3 && args[0] == victimName:
		return true, beVictim(args[1:])
	case len(args) == 2 && args[0] == servantName:
		return true, serve(args[1])
	}
	return false, nil
}

// all tries the operations whose names match, several at a time.
func (c *campaign) all(ctx context.Context, which *regexp.Regexp, rec *record) error {
	var todo []*operation
	for _, op := range operations() {
		if which.MatchString(op.name) {
			todo = append(todo, op)
		}
	}
	if len(todo) == 0 {
		return errors.New("no operation matches")
	}
	ops, results := make(chan *operation), make(chan error)
	for range c.parallel {
		go func() {
			// The kernel lets only the thread that has started a victim trace it.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for op := range ops {
				results <- c.one(ctx, op, rec)
			}
		}()
	}
	go func() {
		for _, op := range todo {
			ops <- op
		}
		close(ops)
	}()
	var errs []error
	for range todo {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// one tries an operation, and says what went wrong, if something did.
func (c *campaign) one(ctx context.Context, op *operation, rec *record) error {
	if ctx.Err() != nil {
		return nil // main says so
	}
	begun := time.Now()
	t, err := c.operation(ctx, op)
	// Also of one that was interrupted, or failed.
	err = errors.Join(err, rec.add(op, t))
	fmt.Printf("%s: %s, in %v\n", op.name, t.String(op), time.Since(begun).Round(time.Second))
	switch {
	case err != nil:
		return err
	case !t.good(op) && op.mutant:
		return fmt.Errorf("%s: it was not caught", op.name)
	case !t.good(op):
		return fmt.Errorf("%s: %d broken, %d stuck, %d places missed", op.name, t.broken, t.stuck, t.missed())
	}
	return nil
}
