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
	if taken := all.take(turns, 0); slices.Contains(taken, false) {
		t.Errorf("without a bound %v are taken", taken)
	}
	if taken := all.take(turns, 7); !slices.Equal(taken[:9], []bool{true, false, false, false, false, false, false, true, false}) {
		t.Errorf("of every seventh %v are taken", taken)
	}
	bounded := Campaign{Every: 1, Loops: 2}
	var got []int
	for i, taken := range bounded.take(turns, 0) {
		if taken {
			got = append(got, i)
		}
	}
	if want := []int{0, 1, 2, 3, 35, 36, 37, 38, 39}; !slices.Equal(got, want) {
		t.Errorf("%v are taken; want %v", got, want)
	}
}
