package bench

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// histogram counts values in cells whose width is less than 1/64 of their value.
type histogram struct {
	cells [58 * 64]uint64
	n     uint64
	max   uint64
}

// cell returns where a value is counted: values below 128 each for themselves, then
// 64 cells for every doubling.
func cell(v uint64) int {
	shift := max(bits.Len64(v)-7, 0)
	return shift*64 + int(v>>shift)
}

// middleOf returns the value in the middle of a cell.
func middleOf(cell int) float64 {
	if cell < 128 {
		return float64(cell)
	}
	shift := cell/64 - 1
	return (float64(cell-shift*64) + 0.5) * math.Exp2(float64(shift))
}

func (h *histogram) add(v uint64) {
	h.cells[cell(v)]++
	h.n++
	h.max = max(h.max, v)
}

// quantile returns what the share q of the values does not exceed; 0 if there are
// so few values that it is a matter of chance.
func (h *histogram) quantile(q float64) float64 {
	if float64(h.n)*(1-q) < 1 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.n)))
	for i, n := range h.cells {
		if rank <= n {
			return middleOf(i)
		}
		rank -= n
	}
	return float64(h.max)
}

// median returns the value in the middle, which are put in order for that.
func median[T cmp.Ordered](values []T) (m T) {
	if len(values) == 0 {
		return m
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// A spread is what the rounds have in common: their median, and how far they are
// apart.
type spread struct{ median, low, high float64 }

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
