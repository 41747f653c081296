// Peers measures memlane beside what others use for messages between processes of one
// machine: iceoryx2, Aeron, ZeroMQ, Boost.Interprocess, and beside the floor, two C
// programs with nothing between them.
//
// Speed here is a ratio. All who are compared take turns within one run, in several
// rounds, so that whatever slows the machine down for a while slows them all down; a
// ratio is the median of the rounds' ratios. Everyone is two processes; the thread that
// sends and receives is pinned, in one process to the first processor and in the other
// to the second. Every message is written before it is sent and read after it is
// received, by words of 8 bytes in loops that are not vectorized, and its number is
// checked. How each waits, and whether it copies, is in the tables.
//
// A run prints tables, or with -json one JSON object a line. Whoever cannot be built or
// fails is reported as missing, with the reason. It exits with 0 in either case; 1:
// memlane or the floor failed; 2: used wrongly; 130: interrupted.
//
// Build products, and what install-deps downloads, are in the folder .build.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/memlane/memlane/bench/internal/machine"
)

// A pace is how long a run takes for each of its parts.
type pace struct {
	rounds   int           // in which all take turns
	duration time.Duration // of each in each round, after a fifth of that to warm up
	compile  time.Duration // to warm up for who is compiled while it runs
}

var (
	thorough = pace{rounds: 5, duration: 200 * time.Millisecond, compile: time.Second}
	quick    = pace{rounds: 3, duration: 30 * time.Millisecond, compile: 300 * time.Millisecond}
)

// A bench is one run.
type bench struct {
	ctx  context.Context
	pace pace
	only *regexp.Regexp // of what/size/transport

	folder     string // of this program's source, absolute
	processors [2]int
	products   map[string]*product
	report     report
}

func main() {
	// Processes are told to end with the thread that started them: this one, which
	// ends with the program.
	runtime.LockOSThread()
	b := &bench{pace: thorough, only: regexp.MustCompile("")}
	jsonLines := flag.Bool("json", false, "print one JSON object a line")
	hurry := flag.Bool("quick", false, "take a minute instead of four; the figures are rough")
	rounds := flag.Int("rounds", 0, "`number` of rounds in which all take turns, instead of 5")
	folder := flag.String("folder", "bench/peers", "`folder` of the peers' sources, and of .build")
	flag.TextVar(b.only, "only", b.only, "`regexp`: measure only these of what/size/transport, such as 'latency/40/(aeron|zeromq)', beside memlane and the floor")
	flag.Parse()
	if *hurry {
		b.pace = quick
	}
	if *rounds != 0 {
		b.pace.rounds = *rounds
	}
	if flag.NArg() > 0 || b.pace.rounds < 1 {
		fmt.Fprintln(os.Stderr, "peers: takes no arguments, and at least one round; see -help")
		os.Exit(2)
	}
	b.report = report{out: os.Stdout, json: *jsonLines}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	b.ctx = ctx
	err := b.run(*folder)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "peers: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// run builds and measures everything.
func (b *bench) run(folder string) (err error) {
	if b.folder, err = filepath.Abs(folder); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(b.folder, "testdata", "measure.h")); err != nil {
		return fmt.Errorf("%w: run it in the folder of the repository, or give -folder", err)
	}
	m := machine.This()
	if len(m.Allowed) < 2 {
		return errors.New("two processors are needed, of which /proc/self/status says that this program may use them")
	}
	b.processors = [2]int{m.Allowed[0], m.Allowed[1]}
	b.report.machine(m)
	if err := b.build(b.needed(products())); err != nil {
		return err
	}
	b.report.note(fmt.Sprintf("%d rounds of %v, in which all take turns; a ratio is the median of theirs", b.pace.rounds, b.pace.duration))
	b.report.note("p50 is of groups of 64 round trips up to 4 KiB, where a look at the clock would show, else of each; the other percentiles are of each")
	for _, m := range measurements {
		if err := b.measure(m); err != nil {
			return fmt.Errorf("measure %s: %w", m.title(), err)
		}
	}
	b.report.note("load average at the end: " + machine.Load())
	return nil
}
