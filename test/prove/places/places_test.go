package places

import (
	"fmt"
	"slices"
	"testing"
)

// Of loops the first and the last rounds are tried.
func TestTake(t *testing.T) {
	var turns []turn
	for i := range 20 {
		turns = append(turns, turn{stack: "first of loop"}, turn{stack: "second of loop", stage: fmt.Sprint(i / 19)})
	}
	all := Campaign{Every: 1}
	if taken := all.take(turns, 1); slices.Contains(taken, false) {
		t.Errorf("without a bound %v are taken", taken)
	}
	if taken := all.take(turns, 7); !slices.Equal(taken[:9], []bool{true, false, false, false, false, false, false, true, false}) {
		t.Errorf("of every seventh %v are taken", taken)
	}
	bounded := Campaign{Every: 1, Loops: 2}
	var got []int
	for i, taken := range bounded.take(turns, 1) {
		if taken {
			got = append(got, i)
		}
	}
	if want := []int{0, 1, 2, 3, 35, 36, 37, 38, 39}; !slices.Equal(got, want) {
		t.Errorf("%v are taken; want %v", got, want)
	}
}

// Of a mutant with few places not only every so many-th is tried.
func TestEvery(t *testing.T) {
	for _, c := range []struct {
		op                Operation
		campaign, n, want int
	}{
		{Operation{}, 20, 112, 20},
		{Operation{Every: 100}, 20, 112, 100},
		{Operation{Every: 100}, 200, 112, 200},
		{Operation{Mutant: true}, 20, 112, 2},
		{Operation{Mutant: true}, 20, 10_000, 20},
		{Operation{Mutant: true}, 20, 7, 1},
	} {
		r := run{campaign: &Campaign{Every: c.campaign}, op: &c.op}
		if got := r.every(c.n); got != c.want {
			t.Errorf("%+v: every %d of %d; want %d", c.op, got, c.n, c.want)
		}
	}
}
