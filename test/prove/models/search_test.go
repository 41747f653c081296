package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What Spin's search writes is read as it is meant, and what is not complete is no
// verdict.
func TestJudge(t *testing.T) {
	const end = "State-vector 80 byte, depth reached 69, errors: %d\n     6662 states, stored\n    10693 states, matched\n"
	for name, tc := range map[string]struct {
		out     string
		failure error
		want    result
		wrong   bool
	}{
		"nothing found":       {out: fmt.Sprintf(end, 0), want: result{verdict: holds, states: 6662}},
		"an assertion":        {out: "pan:1: assertion violated (holds==0) (at depth 24)\nWarning: Search not completed\n" + fmt.Sprintf(end, 1), want: result{verdict: broken, states: 6662}},
		"somebody waits":      {out: "Depth= 9\npan:1: invalid end state (at depth 44)\n" + fmt.Sprintf(end, 1), want: result{verdict: stuck, states: 6662}},
		"a cycle":             {out: "pan:1: acceptance cycle (at depth 44)\n" + fmt.Sprintf(end, 1), want: result{verdict: endless, states: 6662}},
		"many states":         {out: "State-vector 8 byte, depth reached 9, errors: 0\n1.2102432e+07 states, stored\n", want: result{verdict: holds, states: 12102432}},
		"something else":      {out: "pan:1: a surprise\n" + fmt.Sprintf(end, 1), wrong: true},
		"too deep":            {out: "error: max search depth too small\n" + fmt.Sprintf(end, 0), wrong: true},
		"too little memory":   {out: "pan: reached -DMEMLIM bound\n" + fmt.Sprintf(end, 0), wrong: true},
		"no result":           {out: "hello\n", wrong: true},
		"it has been stopped": {out: fmt.Sprintf(end, 0), failure: errors.New("signal: killed"), wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := judge(tc.out, tc.failure)
			if (err != nil) != tc.wrong || !tc.wrong && r != tc.want {
				t.Errorf("got %v, %v; want %v, an error: %v", r, err, tc.want, tc.wrong)
			}
		})
	}
}

// A row of the record is that of one configuration, and each has a model.
func TestTable(t *testing.T) {
	names := map[string]bool{}
	for _, c := range table {
		if names[c.String()] {
			t.Errorf("%v is in the table twice", c)
		}
		names[c.String()] = true
		if _, err := os.Stat(filepath.Join("../../../spec/models", c.model+".pml")); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}
