// Joins kills a process at every store to shared memory and at every system call of its
// life in a topic: it opens the domain, publishes or subscribes, leaves, and closes. Then
// it does the same with a process that is stopped there, and goes on after the others,
// and one who comes meanwhile, have tried all they may; and with two at once, of which
// the second one may be clearing up after the first when it is killed.
//
// What joins and leaves takes several goroutines, so that a place is not the same in each
// victim, as it is for package places: it is the n-th store, or the n-th system call,
// whoever makes it. Stores are told of by package word, with the build tag stores.
//
// The conductor, this process, has a publisher and a subscriber in the topic: see scene.
//
// It exits with 0 if nothing was wrong and every mutant was caught; with 1 if not, or if
// something else failed; with 2 if used wrongly; with 130 if interrupted. What was found
// until then is in the record of campaigns in any case.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"

	"github.com/memlane/memlane/test/prove"
)

func main() {
	if ok, err := role(os.Args[1:]); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, "joins:", err)
			os.Exit(1)
		}
		return
	}
	c := campaign{started: time.Now().UTC().Format(time.DateTime), commit: prove.Commit(), kernel: prove.Kernel()}
	flag.IntVar(&c.every, "every", 1, "take every `n`-th place")
	flag.IntVar(&c.loops, "loops", 4, "of a line that stores again and again take the first `n` times and the last; 0: all")
	flag.IntVar(&c.pairs, "pairs", 1000, "kill two at once so `many` times")
	flag.IntVar(&c.parallel, "parallel", 2*runtime.NumCPU(), "`number` of scenes at a time; most of the time they wait")
	only := flag.String("only", "", "`expression` that matches the operations to try")
	flag.Uint64Var(&c.seed, "seed", 0, "`number` that all choices follow from; 0 draws one")
	flag.StringVar(&c.file, "file", "docs/PROOF.md", "Markdown `file` to add the figures to; empty: none")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 || c.every < 1 || c.loops < 0 || c.pairs < 0 || c.parallel < 1 {
		fmt.Fprintf(os.Stderr, "joins: takes no arguments; see -help %v\n", err)
		os.Exit(2)
	}
	c.seed = prove.Seed(c.seed)
	fmt.Printf("seed %d\n", c.seed)
	if status := prove.Run("joins", func(ctx context.Context) error { return c.all(ctx, which) }); status != 0 {
		os.Exit(status)
	}
	fmt.Println("nothing was broken, nobody was stuck, and every mutant was caught")
}
