package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

func (m measurement) title() string {
	if m.what == throughput {
		return fmt.Sprintf("one way, %d B", m.size)
	}
	return fmt.Sprintf("round trip, %d B", m.size)
}

// measure runs all contenders in turns, another one first in each round, and reports
// them.
func (b *bench) measure(m measurement) error {
	entries := b.entries(m)
	if len(entries) == 0 {
		return nil
	}
	var lines []float64
	for round := range b.pace.rounds {
		line, err := b.line()
		if err != nil {
			return err
		}
		lines = append(lines, line)
		for i := range entries {
			if err := b.turn(entries[(i+round)%len(entries)]); err != nil {
				return err
			}
		}
	}
	line, err := b.line()
	if err != nil {
		return err
	}
	b.report.table(m, figuresOf(m, entries), append(lines, line))
	return nil
}

// entries are the contenders of a measurement: those that -only selects, beside memlane
// and the floor.
func (b *bench) entries(m measurement) (list []*entry) {
	selected := false
	for _, c := range contenders {
		if !c.takes(m) {
			continue
		}
		matches := b.matches(m, c)
		selected = selected || matches
		if matches || c.name == m.floor() || c.name == "memlane" {
			list = append(list, &entry{contender: c, task: b.task(m, c), missing: b.products[c.product].Missing})
		}
	}
	if !selected {
		return nil
	}
	return list
}

// matches says whether -only selects a contender of a measurement.
func (b *bench) matches(m measurement, c contender) bool {
	return c.takes(m) && b.only.MatchString(fmt.Sprintf("%s/%d/%s", m.what, m.size, c.name))
}

// selects says whether -only selects a contender of any measurement.
func (b *bench) selects(c contender) bool {
	return slices.ContainsFunc(measurements, func(m measurement) bool { return b.matches(m, c) })
}

// task is what both processes of a contender are started for.
func (b *bench) task(m measurement, c contender) task {
	t := task{measurement: m, batch: max(c.batch, 1), group: 1, warm: b.pace.duration / 5, length: b.pace.duration}
	if m.size <= 4096 {
		t.group = 64
	}
	if c.compiled {
		t.warm = b.pace.compile
	}
	return t
}

// turn measures one contender once. A peer that fails is missing from then on.
func (b *bench) turn(e *entry) error {
	if e.missing != "" {
		return nil
	}
	c, err := b.exchange(e.contender, e.task)
	switch {
	case b.ctx.Err() != nil:
		return context.Cause(b.ctx)
	case err != nil && b.products[e.contender.product].own:
		return fmt.Errorf("%s: %w", e.contender.name, err)
	case err != nil:
		e.missing = err.Error()
	default:
		e.add(c)
	}
	return nil
}

// lineGroup is how many times a line goes there and back between two looks at the clock.
const lineGroup = 16

// line measures how long a cache line takes to the other processor and back. On a
// virtual machine that changes: the hypervisor moves processors, and figures of
// neighbours are others than those of processors with caches of their own.
func (b *bench) line() (ns float64, err error) {
	c := contenders[slices.IndexFunc(contenders, func(c contender) bool { return c.name == "floor-line" })]
	counted, err := b.exchange(c, task{measurement: measurement{latency, 8}, batch: 1, group: lineGroup, warm: time.Millisecond, length: 5 * time.Millisecond})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.name, err)
	}
	return float64(median(counted.groups)) / lineGroup, nil
}

func figuresOf(m measurement, entries []*entry) (figures []figure) {
	of := func(name string) *entry {
		if i := slices.IndexFunc(entries, func(e *entry) bool { return e.contender.name == name }); i >= 0 {
			return entries[i]
		}
		return nil
	}
	for _, e := range entries {
		figures = append(figures, e.figure(of(m.floor()), of("memlane")))
	}
	return figures
}
