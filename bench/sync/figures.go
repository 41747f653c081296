package main

import (
	"cmp"
	"math"
	"slices"
)

// quantile returns the least of the sorted values that the share q of them does
// not exceed.
func quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var none T
		return none
	}
	rank := int(math.Ceil(q * float64(len(sorted)))) // from 1
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// A spread is what the rounds of a run have in common: their median, and how far
// they are apart.
type spread struct {
	median, low, high float64
}

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	return spread{quantile(sorted, 0.5), quantile(sorted, 0), quantile(sorted, 1)}
}

// ratios divides round by round.
func ratios(of, by []float64) spread {
	var each []float64
	for i := range min(len(of), len(by)) {
		if by[i] > 0 {
			each = append(each, of[i]/by[i])
		}
	}
	return spreadOf(each)
}

// latencies are those of all rounds, in ns.
type latencies struct {
	samples []uint32
	medians []float64 // of each round
}

func (l *latencies) add(round []uint32) {
	slices.Sort(round)
	l.medians = append(l.medians, float64(quantile(round, 0.5)))
	l.samples = append(l.samples, round...)
}

// fill enters the percentiles into a result, as far as there are enough samples
// beyond them.
func (l *latencies) fill(r *result) {
	slices.Sort(l.samples)
	r.N = len(l.samples)
	r.P50 = float64(quantile(l.samples, 0.5))
	if r.N >= 100 {
		r.P99 = float64(quantile(l.samples, 0.99))
	}
	if r.N >= 10_000 {
		r.P999 = float64(quantile(l.samples, 0.999))
	}
	r.Max = float64(quantile(l.samples, 1))
}
