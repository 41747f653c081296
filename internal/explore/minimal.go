//go:build explore

package explore

import (
	"fmt"
	"slices"
)

// Failure is what is wrong, and the way there: the shortest one, as far as that could be
// found out.
type Failure struct {
	Err   error
	Steps int // how many choices lead to it
	Least int // no fewer do; Steps if the way is minimal
	trace []choice
}

func (f *Failure) Error() string {
	known := "none fewer do"
	if f.Least < f.Steps {
		known = fmt.Sprintf("perhaps fewer do, but not less than %d", f.Least)
	}
	return fmt.Sprintf("%v\n%d steps lead there, %s:\n%s", f.Err, f.Steps, known, trace(f.trace))
}

// Unwrap returns what is wrong.
func (f *Failure) Unwrap() error { return f.Err }

const (
	// shrinkMost is how many executions are spent on making a way shorter.
	shrinkMost = 5_000
	// breadthMost is how many states are looked at to find the shortest one, which takes
	// seconds.
	breadthMost = 1 << 15
)

// failure makes the way to an error as short as can be, of all that there are.
func (x *explorer) failure(err error, path []choice) *Failure {
	x.whole()
	path, err = x.shrink(path, err)
	shortest, depth, found := x.breadth(len(path), breadthMost)
	if found != nil {
		return &Failure{found, len(shortest), len(shortest), shortest}
	}
	return &Failure{err, len(path), min(depth+1, len(path)), path}
}

// shrink leaves out of a way whatever it can, longer pieces first (Zeller and Hildebrandt,
// "Simplifying and Isolating Failure-Inducing Input", 2002). It may come to another error.
func (x *explorer) shrink(path []choice, err error) ([]choice, error) {
	left := shrinkMost
	for size := len(path) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(path) && left > 0; left-- {
			without := slices.Concat(path[:at], path[at+size:])
			if taken, bad := x.try(without); bad != nil {
				path, err = taken, bad
			} else {
				at += size
			}
		}
	}
	return path, err
}

// try goes a way as far as it can be gone, choices that are not there left out, and
// returns the way to what is wrong.
func (x *explorer) try(path []choice) (taken []choice, err error) {
	e := x.execution()
	defer e.close()
	for {
		list, err := e.next()
		if err != nil {
			return taken, err
		}
		for len(path) > 0 && !slices.Contains(list, path[0]) {
			path = path[1:]
		}
		if len(path) == 0 {
			return nil, nil
		}
		taken, path = append(taken, path[0]), path[1:]
		if err := e.take(taken[len(taken)-1]); err != nil {
			return taken, err
		}
	}
}

// breadth looks, breadth first, for an error that fewer than so many steps lead to, at about
// so many states at most. It returns a shortest way; or, if it has found none, of which
// length it has looked at all ways.
func (x *explorer) breadth(steps, states int) (path []choice, depth int, err error) {
	type node struct {
		before  int // in nodes
		last    choice
		choices []choice // what can happen there
	}
	var nodes []node
	seen := map[uint64]struct{}{}
	// way is how one comes to a node.
	way := func(i int) (path []choice) {
		for ; i > 0; i = nodes[i].before {
			path = append(path, nodes[i].last)
		}
		slices.Reverse(path)
		return path
	}
	// look looks at where a way leads to.
	look := func(path []choice, before int) error {
		e := x.execution()
		defer e.close()
		if err := e.follow(path); err != nil {
			return err
		}
		h := e.hash()
		if _, ok := seen[h]; ok {
			return nil
		}
		seen[h] = struct{}{}
		n := node{before: before}
		if len(path) > 0 {
			n.last = path[len(path)-1]
		}
		n.choices, err = e.next()
		nodes = append(nodes, n)
		return err
	}
	if err := look(nil, 0); err != nil {
		return nil, 0, err
	}
	for i := 0; i < len(nodes); i++ {
		path := way(i)
		if len(path)+1 >= steps || len(nodes) > states {
			return nil, len(path), nil
		}
		for _, c := range nodes[i].choices {
			further := append(slices.Clip(path), c)
			if err := look(further, i); err != nil {
				return further, 0, err
			}
		}
		nodes[i].choices = nil
	}
	return nil, steps, nil
}
