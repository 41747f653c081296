package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A cell's middle is within 1/64 of every value in it, and the order of cells is that
// of values.
func TestHistogramCells(t *testing.T) {
	before := -1
	for v := uint64(0); v < 1<<40; v += 1 + v/500 {
		c := cell(v)
		if c < before {
			t.Fatalf("value %d is in cell %d, a smaller one in %d", v, c, before)
		}
		before = c
		if m := middleOf(c); math.Abs(m-float64(v)) > float64(v)/64 {
			t.Fatalf("value %d is in cell %d, whose middle is %v", v, c, m)
		}
	}
	if c := cell(math.MaxUint32); c >= len(histogram{}.cells) {
		t.Errorf("the longest time is in cell %d", c)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	var h histogram
	var all []uint64
	for range 100_000 {
		v := uint64(rand.ExpFloat64() * 1000)
		all = append(all, v)
		h.add(v)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.99, 0.999} {
		want := float64(all[int(q*float64(len(all)))])
		if got := h.quantile(q); math.Abs(got-want) > want/20+1 {
			t.Errorf("quantile %v is %v, by sorting %v", q, got, want)
		}
	}
	if h.max != all[len(all)-1] {
		t.Errorf("max is %d, by sorting %d", h.max, all[len(all)-1])
	}
	var few histogram
	few.add(1)
	if q := few.quantile(0.999); q != 0 {
		t.Errorf("p99.9 of one value is %v", q)
	}
}

// What is not as it was written is found.
func TestCheck(t *testing.T) {
	for size := 8; size < 200; size++ {
		b := make([]byte, size)
		fill(b, 7|final)
		if over, err := check(b, size, 7); err != nil || !over {
			t.Fatalf("%d bytes: over %v, %v", size, over, err)
		}
		if _, err := check(b, size, 8); err == nil {
			t.Fatalf("%d bytes: another number is not found", size)
		}
		if _, err := check(b, size+1, 7); err == nil {
			t.Fatalf("%d bytes: another size is not found", size)
		}
		for at := range size / 8 * 8 {
			b[at]++
			if _, err := check(b, size, 7); err == nil {
				t.Fatalf("%d bytes: a change at %d is not found", size, at)
			}
			b[at]--
		}
	}
}

// Of two sockets the faster one counts, and one that had no time to send anything is
// none.
func TestVerdict(t *testing.T) {
	ns := func(transport string, values ...float64) *entry {
		return &entry{figure: figure{Transport: transport}, values: values}
	}
	for want, sockets := range map[string][2][]float64{
		"what: memlane is 2 times faster than uds; memlane-loan is 4 times faster than uds":                                       {{200}, {300}},
		"what: memlane and uds-buffered tie (1, in rounds 1–1); memlane-loan is 2 times faster than uds-buffered":                 {{200}, {100}},
		"what: memlane is 3 times faster than uds; memlane-loan is 6 times faster than uds":                                       {{300}, nil},
		"what: memlane is 3 times faster than uds-buffered; memlane-loan is 6 times faster than uds-buffered":                     {nil, {300}},
		"what: too short a time to say who is faster, memlane or uds; too short a time to say who is faster, memlane-loan or uds": {nil, nil},
		"what: THE SOCKET WINS: uds is 2 times faster than memlane; memlane-loan and uds tie (1, in rounds 1–1)":                  {{50}, {300}},
	} {
		got := verdictOf("what", []*entry{ns("memlane", 100), ns("memlane-loan", 50), ns("uds", sockets[0]...), ns("uds-buffered", sockets[1]...)})
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
