// Package bench measures messages between processes beside what the processor, the
// kernel and a Unix socket take for the same (layer L9).
//
// Speed here is a ratio. All who are compared take turns within one run, in several
// rounds, so that whatever slows the machine down for a while slows them all down; a
// ratio is the median of the rounds' ratios. The two sides are processes of their
// own, each on a processor of its own unless it says "same". Every message is
// written before it is sent and read after it is received, by words of 8 bytes, and
// its number is checked.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Config says what is measured, and how long.
type Config struct {
	Size     int           // of messages; 0: those of the budgets
	Readers  int           // of fan-out and compare; 0: those of the budgets
	Batch    int           // of throughput and fan-out; 0: those of the budgets
	Rounds   int           // in which all take turns
	Duration time.Duration // of each in each round; of compare: of all

	JSON    bool // one object a line, and no tables
	Out     io.Writer
	Folder  string   // in which a folder is made, and removed
	Command []string // starts another process of the bench: see [Worker]
}

// Parts are what [Run] can measure.
var Parts = []string{"latency", "throughput", "fanout", "park", "observed", "compare"}

// bench is one run.
type bench struct {
	ctx        context.Context
	config     Config
	folder     string
	floor      string // the C side; "" if there is none
	processors [2]int
	report     report
}

// budgets is what those need to know who find that one does not hold.
const budgets = "budgets are memlane's own (docs/PERFORMANCE.md), for a machine that does nothing else, and for rounds of the default length or longer; floor-line is a cache line handed over and back; bench --help has the rest"

// Run measures one of [Parts]. Its processes end with the thread that calls it.
func Run(ctx context.Context, part string, c Config) (err error) {
	b := &bench{ctx: ctx, config: c, report: report{out: c.Out, json: c.JSON}}
	if c.Folder != "" {
		if err := os.MkdirAll(c.Folder, 0o700); err != nil {
			return err
		}
	}
	if b.folder, err = os.MkdirTemp(c.Folder, "bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	two := twoProcessors()
	if len(two) < 2 {
		return errors.New("it is not known which processors this program may use")
	}
	b.processors = [2]int{two[0], two[1]}
	b.report.machine(thisMachine())
	if two[0] == two[1] {
		b.report.note("there is one processor only: the two sides take turns on it, and figures across processors mean nothing")
	}
	floors := "floors are in C: gcc " + strings.Join(floorFlags, " ")
	if b.floor, err = compileFloor(ctx, b.folder); err != nil {
		floors = fmt.Sprintf("floors are in Go, some ns slower than in C, and those of throughput are missing: %v", err)
	}
	length := fmt.Sprintf("%d rounds of %v", c.Rounds, c.Duration)
	if part == "compare" {
		length = fmt.Sprintf("%d rounds in %v", c.Rounds, c.Duration)
	} else {
		b.report.note(floors)
		b.report.note(budgets)
	}
	b.report.note(length + ", in which all take turns; a ratio is the median of theirs")
	measure := map[string]func() error{
		"latency": b.latency, "throughput": b.throughput, "fanout": b.fanout, "park": b.park, "observed": b.observed, "compare": b.compare,
	}[part]
	if measure == nil {
		return fmt.Errorf("there is no bench %q", part)
	}
	if err := measure(); err != nil {
		return err
	}
	b.report.note("load average at the end: " + load())
	return nil
}

// An entry is one of those that take turns.
type entry struct {
	figure figure // what is known before
	tasks  []task // side 0 first
	bare   string // the transport that the ratio is to
	limit  float64
	rate   bool // the ratio is of rates, and the limit is a least rate in messages/s

	values  []float64 // of each round, whose ratios are taken
	rates   []float64
	singles histogram
	took    time.Duration
	bytes   uint64
	extra   []float64
}

func (e *entry) add(c *count) {
	e.figure.N += int(c.Messages)
	e.took += c.Took
	e.bytes = c.Bytes
	e.extra = append(e.extra, c.Extra)
	if c.Took > 0 {
		e.rates = append(e.rates, float64(c.Messages)/c.Took.Seconds())
	}
	singles := c.Singles
	if len(singles) == 0 && e.tasks[0].Group == 1 {
		singles = c.Groups
	}
	for _, ns := range singles {
		e.singles.add(uint64(ns))
	}
	switch {
	case e.rate && c.Took > 0:
		e.values = append(e.values, float64(c.Messages)/c.Took.Seconds())
	case len(c.Groups) > 0:
		e.values = append(e.values, float64(median(c.Groups))/float64(e.tasks[0].Group))
	case c.Messages > 0:
		e.values = append(e.values, float64(c.Took.Nanoseconds())/float64(c.Messages))
	}
}

// fill enters what was found into the figure.
func (e *entry) fill(all []*entry) {
	f := &e.figure
	sorted := append([]float64(nil), e.values...)
	middle := median(sorted)
	if e.rate {
		f.Rate = middle
		f.Bytes = middle * float64(f.Size*f.Readers)
	} else {
		f.P50 = middle
		if e.singles.n > 0 {
			f.P99, f.P999, f.Max = e.singles.quantile(0.99), e.singles.quantile(0.999), float64(e.singles.max)
		}
		f.Rate = median(append([]float64(nil), e.rates...))
		f.Bytes = f.Rate * float64(f.Size)
	}
	for _, other := range all {
		if other == e || other.figure.What != f.What && other.figure.Transport != e.bare {
			continue
		}
		s := ratios(e.values, other.values)
		if s.median == 0 {
			continue
		}
		if other.figure.Transport == e.bare {
			f.Against, f.Ratio, f.RatioLow, f.RatioHigh = e.bare, s.median, s.low, s.high
		} else if !strings.HasPrefix(f.Transport, "floor-") {
			if f.Ratios == nil {
				f.Ratios = map[string]float64{}
			}
			f.Ratios[other.figure.Transport] = s.median
		}
	}
	switch {
	case e.limit == 0:
	case e.rate:
		f.budget(fmt.Sprintf("at least %s/s", humanize.SIWithDigits(e.limit, 0, "")), f.Rate >= e.limit)
	case f.Ratio > 0:
		f.budget(fmt.Sprintf("at most %g × %s", e.limit, e.bare), f.Ratio <= e.limit)
	}
}
