package places

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"

	"github.com/memlane/memlane/test/prove"
)

// A Campaign is one run of a program over its operations.
type Campaign struct {
	Name        string // of the program
	Section     string // of the record of campaigns
	Description string // of the section, as Markdown
	Operations  []*Operation

	// As the command line has them.
	Every    int  // take every so many-th place
	Loops    int  // of an instruction that is executed again and again, the first and last so many times; 0: all
	Pairs    int  // that are killed of each operation with Twice
	Parallel int  // operations at a time
	Kill     bool // victims
	Stop     bool // victims, and let them go on
	Single   bool // get to each place by single steps alone
	Seed     uint64
}

// Main does what the command line says, and returns the program's exit status: 0 if
// nothing was wrong and every mutant was caught; 1 if not, or if something else failed; 2
// if used wrongly; 130 if interrupted. What was found until then is in the record in any
// case.
func (c *Campaign) Main() int {
	rec := record{section: c.Section, description: c.Description,
		started: time.Now().UTC().Format(time.DateTime), commit: prove.Commit(), kernel: prove.Kernel()}
	flag.IntVar(&c.Every, "every", 1, "take every `n`-th instruction")
	flag.IntVar(&c.Loops, "loops", 4, "of an instruction that is executed again and again in a loop, take the first `n` times and the last; 0: all, which takes hours")
	flag.IntVar(&c.Pairs, "pairs", 500, "kill `so many` pairs of victims, of which the second clears up after the first")
	flag.IntVar(&c.Parallel, "parallel", 4*runtime.NumCPU(), "`number` of operations at a time; most of the time they wait")
	flag.BoolVar(&c.Kill, "kill", true, "kill victims")
	flag.BoolVar(&c.Stop, "stop", true, "stop victims, and let them go on")
	flag.BoolVar(&c.Single, "single", false, "get to each place by single steps alone, without the processor's breakpoints: slow")
	only := flag.String("only", "", "`expression` that matches the operations to try")
	flag.Uint64Var(&c.Seed, "seed", 0, "`number` that all choices follow from; 0 draws one")
	flag.StringVar(&rec.file, "file", "docs/PROOF.md", "Markdown `file` to add the figures to; empty: none")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 || c.Every < 1 || c.Loops < 0 || c.Pairs < 0 || c.Parallel < 1 {
		fmt.Fprintf(os.Stderr, "%s: takes no arguments; see -help %v\n", c.Name, err)
		return 2
	}
	c.Seed = prove.Seed(c.Seed)
	rec.seed = c.Seed
	fmt.Printf("seed %d\n", c.Seed)
	if status := prove.Run(c.Name, func(ctx context.Context) error { return c.all(ctx, which, &rec) }); status != 0 {
		return status
	}
	fmt.Println("nothing was broken, nobody was stuck, and every mutant was caught")
	return 0
}

// all tries the operations whose names match, several at a time.
func (c *Campaign) all(ctx context.Context, which *regexp.Regexp, rec *record) error {
	var todo []*Operation
	for _, op := range c.Operations {
		if which.MatchString(op.Name) {
			todo = append(todo, op)
		}
	}
	if len(todo) == 0 {
		return errors.New("no operation matches")
	}
	ops, results := make(chan *Operation), make(chan error)
	for range c.Parallel {
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
func (c *Campaign) one(ctx context.Context, op *Operation, rec *record) error {
	if ctx.Err() != nil {
		return nil // main says so
	}
	begun := time.Now()
	t, err := c.Try(ctx, op)
	// Also of one that was interrupted, or failed.
	err = errors.Join(err, rec.add(op, t))
	fmt.Printf("%s: %s, in %v\n", op.Name, t.String(op), time.Since(begun).Round(time.Second))
	switch {
	case err != nil:
		return err
	case !t.Good(op) && op.Mutant:
		return fmt.Errorf("%s: it was not caught", op.Name)
	case !t.Good(op):
		return fmt.Errorf("%s: %d broken, %d stuck, %d places missed", op.Name, t.broken, t.stuck, t.missed())
	}
	return nil
}
