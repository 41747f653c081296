package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// A count is what side 0 of a pair has measured.
type count struct {
	messages uint64        // or round trips
	took     time.Duration // for all of them
	groups   []uint32      // ns that a group of round trips took
	singles  []uint32      // ns that one took
}

// samplesMost is how many a worker keeps.
const samplesMost = 1 << 18

// readCount reads what a worker prints: a line of four numbers (memlane's has two more),
// and the samples.
func readCount(r io.Reader) (*count, error) {
	b := bufio.NewReader(r)
	line, err := b.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("read what the worker measured: %w after %q", err, line)
	}
	var c count
	var took int64
	var groups, singles int
	if _, err := fmt.Sscan(line, &c.messages, &took, &groups, &singles); err != nil {
		return nil, fmt.Errorf("read what the worker measured: %q: %w", line, err)
	}
	if groups < 0 || groups > samplesMost || singles < 0 || singles > samplesMost || took <= 0 || c.messages == 0 {
		return nil, fmt.Errorf("read what the worker measured: %q is nothing that can be measured", line)
	}
	c.took = time.Duration(took)
	c.groups, c.singles = make([]uint32, groups), make([]uint32, singles)
	for _, samples := range [][]uint32{c.groups, c.singles} {
		if err := binary.Read(b, binary.LittleEndian, samples); err != nil {
			return nil, fmt.Errorf("read the worker's samples: %w", err)
		}
	}
	return &c, nil
}

// An entry is a contender of one measurement, and what its rounds have given.
type entry struct {
	contender contender
	task      task
	values    []float64 // of each round: ns for a round trip, or messages/s
	rates     []float64
	singles   []uint32
	n         uint64
	missing   string
}

func (e *entry) add(c *count) {
	e.n += c.messages
	rate := float64(c.messages) / c.took.Seconds()
	e.rates = append(e.rates, rate)
	if e.task.what == throughput {
		e.values = append(e.values, rate)
		return
	}
	if e.task.group == 1 {
		e.singles = append(e.singles, c.groups...)
	}
	e.singles = append(e.singles, c.singles...)
	e.values = append(e.values, float64(median(c.groups))/float64(e.task.group))
}

// figure returns what was found, beside the floor and memlane.
func (e *entry) figure(floor, memlane *entry) figure {
	f := figure{
		Transport: e.contender.name, What: e.task.what, Size: e.task.size, Batch: e.task.batch,
		Waits: e.contender.waits, Payload: e.contender.payload, Missing: e.missing,
	}
	if e.missing != "" {
		return f
	}
	f.N, f.Rate = e.n, median(slices.Clone(e.rates))
	f.Bytes = f.Rate * float64(f.Size)
	if e.task.what == latency {
		slices.Sort(e.singles)
		f.P50 = median(slices.Clone(e.values))
		f.P99, f.P999 = quantile(e.singles, 0.99), quantile(e.singles, 0.999)
		f.Max = float64(e.singles[len(e.singles)-1])
	}
	if floor != nil {
		f.Floor, f.ToFloor = floor.contender.name, ratios(e.values, floor.values)
	}
	if memlane != nil {
		f.ToMemlane = ratios(e.values, memlane.values)
	}
	return f
}

// quantile returns what the share q of the values, which are in order, does not exceed;
// 0 if there are so few that it is a matter of chance.
func quantile(sorted []uint32, q float64) float64 {
	n := float64(len(sorted))
	if n*(1-q) < 1 {
		return 0
	}
	return float64(sorted[int(math.Ceil(q*n))-1])
}

// median returns the value in the middle, which are put in order for that.
func median[T cmp.Ordered](values []T) (m T) {
	if len(values) == 0 {
		return m
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// A spread is what the rounds have in common: their median, and how far they are apart.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// ratios divides round by round.
func ratios(of, by []float64) spread {
	var each []float64
	for i := range min(len(of), len(by)) {
		if by[i] > 0 {
			each = append(each, of[i]/by[i])
		}
	}
	if len(each) == 0 {
		return spread{}
	}
	slices.Sort(each)
	return spread{each[len(each)/2], each[0], each[len(each)-1]}
}
