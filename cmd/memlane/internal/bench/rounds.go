package bench

import (
	"fmt"
	"strings"
	"time"
)

// interleave runs all in turns, another one first in each round, and reports them.
func (b *bench) interleave(title string, entries []*entry) error {
	var able []*entry
	for _, e := range entries {
		if e.tasks[0].Part != "one way" || !strings.HasPrefix(e.figure.Transport, "floor-") || b.floor != "" {
			able = append(able, e)
		}
	}
	lines, err := b.takeTurns(able)
	if err != nil {
		return err
	}
	var figures []*figure
	for _, e := range able {
		e.fill(able)
		figures = append(figures, &e.figure)
	}
	b.tell(title, figures, lines)
	return nil
}

// takeTurns runs all, and returns how long a line took before each round and after
// the last one.
func (b *bench) takeTurns(entries []*entry) (lines []float64, err error) {
	for round := range b.config.Rounds {
		line, err := b.line()
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
		for i := range entries {
			e := entries[(i+round)%len(entries)]
			c, err := b.run(e.tasks[0], e.tasks[1:]...)
			if err != nil {
				return nil, err
			}
			e.add(c)
		}
	}
	line, err := b.line()
	return append(lines, line), err
}

// line measures how long a cache line takes to the other processor and back. On a
// virtual machine that changes: the hypervisor moves processors, and figures of
// neighbours are others than those of processors with caches of their own.
func (b *bench) line() (ns float64, err error) {
	side0, side1 := b.pairOf(task{Part: "round trips", Transport: "floor-line", Size: 8, Group: 64}, false)
	for _, t := range []*task{&side0, &side1} {
		t.Warm, t.Length = time.Millisecond, 5*time.Millisecond
	}
	c, err := b.run(side0, side1)
	if err != nil {
		return 0, err
	}
	return float64(median(c.Groups)) / 64, nil
}

// tell reports figures, and how far apart the processors were.
func (b *bench) tell(title string, figures []*figure, lines []float64) {
	far := spread{low: lines[0], high: lines[0]}
	for _, ns := range lines {
		far.low, far.high = min(far.low, ns), max(far.high, ns)
	}
	far.median = median(lines)
	for _, f := range figures {
		f.Line, f.LineLow, f.LineHigh = far.median, far.low, far.high
	}
	b.report.table(fmt.Sprintf("%s (a line there and back: %s ns)", title, number(far.median)), figures)
	if far.high > 1.5*far.low {
		b.report.note(fmt.Sprintf("THE PROCESSORS MOVED: a line there and back took from %s to %s ns; these figures are of several machines, measure again", number(far.low), number(far.high)))
	}
}
