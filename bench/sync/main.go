// Sync measures the locks of package shmsync beside what does the same for C
// programs and in one process: pthread mutexes, sem_t, flock, sync.Mutex, and the
// floors that the kernel and the processor set.
//
// Speed here is a ratio. All who are compared take turns within one run, several
// times, so that whatever slows the machine down for a while slows them all down;
// a ratio is the median of the rounds' ratios. Whatever says something about two
// processes has two. A run prints tables, or with -json one JSON object a line,
// and for every budget whether it holds; it exits with 0 in either case, because
// it is a measurement and not a test. 1: something failed; 2: used wrongly; 130:
// interrupted.
//
// The C side is compiled with gcc when the program runs. Where there is none its
// figures are left out, and the ratios to them too.
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
	rounds        int           // in which all who are compared take turns
	handoff       time.Duration // of each in each round, after a fifth of that to warm up
	contended     time.Duration
	shortRounds   int // the same for what takes a short time only
	uncontended   time.Duration
	kills         int // of each kind
	settle, watch time.Duration
}

var (
	thorough = pace{rounds: 9, handoff: 150 * time.Millisecond, contended: 150 * time.Millisecond, shortRounds: 31, uncontended: 20 * time.Millisecond, kills: 100, settle: 15 * time.Second, watch: 20 * time.Second}
	quick    = pace{rounds: 7, handoff: 20 * time.Millisecond, contended: 20 * time.Millisecond, shortRounds: 11, uncontended: 10 * time.Millisecond, kills: 15, settle: 2 * time.Second, watch: 4 * time.Second}
)

// A bench is one run.
type bench struct {
	ctx  context.Context
	pace pace
	only *regexp.Regexp // of part/placement/contender

	self   string // this program, which is the Go side of everything
	peer   string // the C side; "" if there is none
	folder string // where the shared files lie

	machine machine.Machine
	report  *report
	files   int // so far
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := work(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "worker %q: %v\n", os.Args[2:], err)
			os.Exit(1)
		}
		return
	}
	// Processes are told to end with the thread that started them: this one, which
	// ends with the program.
	runtime.LockOSThread()
	b := &bench{pace: thorough, only: regexp.MustCompile("")}
	jsonLines := flag.Bool("json", false, "print one JSON object a line")
	hurry := flag.Bool("quick", false, "take about 20 s instead of two minutes; the figures are rough")
	flag.TextVar(b.only, "only", b.only, "`regexp`: measure only these of part/placement/contender, such as 'handoff/same', and what they are compared with")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "sync: takes no arguments; see -help")
		os.Exit(2)
	}
	if *hurry {
		b.pace = quick
	}
	b.report = &report{out: os.Stdout, json: *jsonLines}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	b.ctx = ctx
	err := b.run()
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "sync: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "sync:", err)
		os.Exit(1)
	}
}

// run measures everything and leaves nothing behind.
func (b *bench) run() (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.folder, err = os.MkdirTemp("/dev/shm", "memlane-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	b.machine = machine.This()
	b.report.machine(b.machine)
	before := ticksNow()
	b.peer, err = compilePeer(b.ctx, filepath.Join(b.folder, "peer"))
	if err != nil {
		b.report.note(fmt.Sprintf("no C peers: %v", err))
	}
	for _, part := range []func() error{b.uncontended, b.handoff, b.contended, b.death, b.rest} {
		if err := part(); err != nil {
			return err
		}
	}
	b.report.verdicts()
	b.report.disturbance(disturbedSince(before))
	return nil
}
