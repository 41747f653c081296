// Litmus proves the axiom that all of memlane rests on: that words which several
// processes have mapped are in the same order for all of them as words of sync/atomic are
// for the goroutines of one, and that plain payload is handed over by them.
//
// Each test is a few lines for each of two to four processes. They are processes of their
// own, which map the memory each for itself, and run their lines at the same time, many
// million times, by the accessors of package word. What must not come of it is counted:
// see all. Some tests have an outcome that may be, or a mistake that is planted: these
// show that the program sees what is out of order, if there is anything.
//
// It exits with 0 if nothing forbidden was seen, and all that had to be was; with 1 if
// not, or if something else failed; with 2 if used wrongly; with 130 if interrupted.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane/test/prove"
)

const description = `Words that several processes have mapped are in the same order for all of them as words of sync/atomic are
for the goroutines of one process. Run ` + "`make prove-litmus`" + ` to add to this table; ` + "`ARGS='-rounds 100000000'`" + ` for more.

Each test is a few lines for each of two to four processes, which map the memory each for itself, meet, and run
their lines as soon as each has seen that the others are there, after delays drawn by lot, by the accessors of internal/word.
*Forbidden* outcomes must be 0. *Relaxed* are those of *SB: released* and *R: released*, in which a load overtakes a
StoreRelease, as it may; and those of the mistakes that are *planted*. They show that the program sees what is out of
order. Where there are fewer processors than a test has processes, as of *WRC*, *IRIW* and all others of more than
two, these are never all at it at once.`

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "processor"}, {Name: "seed"}, {Name: "test", Key: true},
	{Name: "rounds", Sum: true}, {Name: "relaxed", Sum: true}, {Name: "forbidden", Sum: true},
}

// A campaign is one call of the program.
type campaign struct {
	rounds   uint64
	enough   time.Duration // for a test, though it has not had all rounds
	seed     uint64
	exec     []string // what workers are run with; empty: nothing
	file     string   // of the figures; empty: none
	outcomes bool     // print them all
}

func main() {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	var c campaign
	flag.Uint64Var(&c.rounds, "rounds", 1_000_000, "run each test `so many` times; a tenth where there are fewer processors than processes")
	flag.DurationVar(&c.enough, "enough", time.Hour, "run each test for `so long` at most, if what has to be seen was by then")
	flag.Uint64Var(&c.seed, "seed", 0, "`number` that the delays follow from; 0 draws one")
	flag.StringVar(&c.file, "file", "docs/PROOF.md", "Markdown `file` to add the figures to; \"\" for none")
	flag.BoolVar(&c.outcomes, "outcomes", false, "print how often each outcome came")
	only := flag.String("only", "", "`regexp` of the tests to run")
	with := flag.String("exec", "", "`program` to run the processes with, as of go test")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if flag.NArg() > 0 || c.rounds == 0 || c.enough <= 0 || err != nil {
		fmt.Fprintln(os.Stderr, "litmus: takes no arguments, a number of rounds, a time, and regular expressions; see -help:", err)
		os.Exit(2)
	}
	c.seed, c.exec = prove.Seed(c.seed), strings.Fields(*with)
	os.Exit(prove.Run("litmus", func(ctx context.Context) error {
		return c.run(ctx, slices.DeleteFunc(slices.Clone(all), func(t test) bool { return !wanted.MatchString(t.name) }))
	}))
}

// asked is a worker if this process is to be one, and says whether.
func asked(args []string) bool {
	if args[0] != "litmus" {
		return false
	}
	if err := work(args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// run runs the tests, one after the other, and adds their figures to the file.
func (c *campaign) run(ctx context.Context, tests []test) error {
	if len(tests) == 0 {
		return errors.New("there is no test of that name")
	}
	started := time.Now().UTC().Format(time.DateTime)
	var errs []error
	for i := range tests {
		t := &tests[i]
		begun := time.Now()
		sum, err := c.try(ctx, t)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			errs = append(errs, err)
			if sum == nil {
				continue
			}
		}
		relaxed, forbidden := sum.Odd, uint64(0)
		if !c.allows(t) {
			relaxed, forbidden = 0, sum.Odd
		}
		fmt.Printf("%-46s %10d rounds in %5.1f s, %d outcomes: %d relaxed, %d forbidden\n", t.name, sum.Rounds, time.Since(begun).Seconds(), len(sum.Outcomes), relaxed, forbidden)
		if c.outcomes {
			fmt.Print(sum.text())
		}
		if c.file == "" {
			continue
		}
		number := func(n uint64) string { return strconv.FormatUint(n, 10) }
		if err := prove.Add(c.file, "litmus", description, columns, []string{started, prove.Commit(), prove.Kernel(), processor(),
			number(c.seed), t.name, number(sum.Rounds), number(relaxed), number(forbidden)}); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// processor says what the tests ran on: how many, and of which kind.
func processor() string {
	kind := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text); name != nil {
			kind = strings.TrimSpace(string(name[1]))
		}
	}
	return fmt.Sprintf("%d × %s", runtime.NumCPU(), kind)
}

// text are the outcomes, those that were seldom first.
func (t *tally) text() string {
	var lines []string
	for o, n := range t.Outcomes {
		lines = append(lines, fmt.Sprintf("%12d  %s\n", n, o))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// allows says whether the odd outcome of a test may be. A load overtakes a Store, too, under
// qemu-user, whose STLR and LDAR do not keep the order of a store and a load of another word.
func (c *campaign) allows(t *test) bool {
	return t.allowed || t.overtakes && len(c.exec) > 0
}

// try runs a test, and judges what came of it.
func (c *campaign) try(ctx context.Context, t *test) (*tally, error) {
	rounds := c.rounds
	if len(t.programs) > runtime.NumCPU() {
		rounds = max(rounds/10, 1)
	}
	sum, err := c.play(ctx, t, rounds)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", t.name, err)
	case sum.Odd > 0 && !c.allows(t):
		return sum, fmt.Errorf("%s: %d of %d rounds of seed %d ended as none may; all outcomes:\n%s", t.name, sum.Odd, sum.Rounds, c.seed, sum.text())
	case len(sum.Outcomes) < 2:
		return sum, fmt.Errorf("%s: the processes have never met in %d rounds; all outcomes:\n%s", t.name, sum.Rounds, sum.text())
	case sum.Odd == 0 && t.wanted && runtime.NumCPU() > 1: // one processor sees its own stores
		return sum, fmt.Errorf("%s: in %d rounds of seed %d nothing was out of order, so that this would not be seen elsewhere either; all outcomes:\n%s", t.name, sum.Rounds, c.seed, sum.text())
	}
	return sum, nil
}

// play runs the processes of a test.
func (c *campaign) play(ctx context.Context, t *test, rounds uint64) (*tally, error) {
	f, err := sharedFile()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	self := "/proc/self/exe"
	if len(c.exec) > 0 { // which must find this program, and not itself
		if self, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var out bytes.Buffer
	var wg sync.WaitGroup
	errs := make([]error, len(t.programs))
	for p := range t.programs {
		command := append(slices.Clone(c.exec), self, "litmus", t.name, strconv.Itoa(p), strconv.FormatUint(rounds, 10),
			strconv.FormatInt(int64(c.enough), 10), strconv.FormatUint(c.seed, 10))
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		cmd.ExtraFiles = []*os.File{f}
		// Ctrl-C is for this process alone, which then ends the others.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var said bytes.Buffer
		cmd.Stderr = &said
		if p == 0 {
			cmd.Stdout = &out
		}
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				errs[p] = fmt.Errorf("process %d: %w: %s", p, err, &said)
				cancel() // the others would wait for it
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	sum := &tally{}
	if err := json.Unmarshal(out.Bytes(), sum); err != nil {
		return nil, fmt.Errorf("what process 0 says: %w", err)
	}
	return sum, nil
}

// sharedFile makes a file without a name, of the size that a test needs.
func sharedFile() (*os.File, error) {
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = ""
	}
	f, err := os.CreateTemp(dir, "memlane-litmus-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), f.Truncate(size)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
