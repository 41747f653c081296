//go:build explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// words makes scenes of processes that share five words.
func words(check func(w []*word.Uint32) error, bodies ...func(w []*word.Uint32)) func() *Scene {
	return func() *Scene {
		const n = 5
		r := region.Heap(8 * n)
		var w []*word.Uint32
		for i := range n {
			w = append(w, r.Uint32(8*i))
		}
		s := &Scene{Memory: r.Bytes(0, 8*n), Mark: func(int) {}, Check: func() error { return check(w) }}
		for _, body := range bodies {
			s.Bells = append(s.Bells, new(wait.Bell))
			s.Processes = append(s.Processes, func() { body(w) })
		}
		return s
	}
}

func anything([]*word.Uint32) error { return nil }

// park sleeps until the word is not 0.
func park(w *word.Uint32) {
	for seen := w.Load(); seen == 0; seen = w.Load() {
		Assert(wait.Park(context.Background(), w, seen, nil, 0) == nil, "park")
	}
}

// add adds one in two steps, so that what others add meanwhile is lost, and wants the
// number never to become smaller.
func add(times int) func(w []*word.Uint32) {
	return func(w []*word.Uint32) {
		least := uint32(0)
		for range times {
			v := w[0].Load()
			Assert(v >= least, "it was %d and is %d", least, v)
			w[0].Store(v + 1)
			least = v + 1
		}
	}
}

// planted are scenes with mistakes, and how many steps it takes at least to see them,
// which is found out by hand.
var planted = []struct {
	name  string
	build func() *Scene
	kills int
	what  string
	steps int
}{
	// Both load, both store.
	{"an addition is lost", words(func(w []*word.Uint32) error {
		if n := w[0].Load(); n != 2 {
			return fmt.Errorf("it is %d", n)
		}
		return nil
	}, add(1), add(1)), 0, "it is 1", 4},
	// One loads 0, the other stores 1 and 2, the first 1, which the other loads.
	{"a number becomes smaller", words(anything, add(5), add(5)), 0, "it was 2 and is 1", 7},
	// The one loads and falls asleep, the other loads twice.
	{"nobody wakes", words(anything, func(w []*word.Uint32) { park(w[0]) }, func(w []*word.Uint32) {
		for range 2 {
			w[1].Load()
		}
	}), 0, "process 0 is stuck", 4},
	// Who wakes looks whether anybody sleeps before it stores: the other loads 0; the one
	// finds nobody; the other says that it sleeps, and does; the one stores.
	{"a wake is lost", words(anything, func(w []*word.Uint32) {
		if w[0].Load() == 0 {
			w[1].Store(1)
			Assert(wait.Park(context.Background(), w[0], 0, nil, 0) == nil, "park")
		}
	}, func(w []*word.Uint32) {
		sleeps := w[1].Load() != 0
		w[0].Store(1)
		if sleeps {
			wait.Wake(w[0], 1)
		}
	}), 0, "a wake was lost", 5},
	// One is stopped at once, marked and gone. The other loads and falls asleep.
	{"a process is killed that another waits for", words(anything, func(w []*word.Uint32) { park(w[0]) }, func(w []*word.Uint32) {
		for range 4 {
			w[1].Load()
		}
		w[0].Store(1)
		wait.Wake(w[0], 1)
	}), 1, "process 0 is stuck", 5},
}

// What is wrong is found, and the way there that is told is a shortest.
func TestExploreMinimal(t *testing.T) {
	for _, p := range planted {
		t.Run(p.name, func(t *testing.T) {
			r := Run(Config{Build: p.build, Kills: p.kills})
			var f *Failure
			if !errors.As(r.Err, &f) || !strings.Contains(f.Error(), p.what) {
				t.Fatalf("found %v; want %q", r.Err, p.what)
			}
			if f.Steps != p.steps || f.Least != p.steps || len(f.trace) != p.steps {
				t.Errorf("%d steps, and at least %d; want %d\n%v", f.Steps, f.Least, p.steps, f)
			}
			t.Log(f)
		})
	}
}

// A search that has to end early says how far it has come.
func TestExploreBreadth(t *testing.T) {
	x, end := begin(Config{Build: planted[1].build})
	defer end()
	path, _, err := x.breadth(100, 1<<20)
	if err == nil || len(path) != 7 {
		t.Errorf("%v after %d steps; want an error after 7", err, len(path))
	}
	path, depth, err := x.breadth(7, 1<<20)
	if err != nil || depth != 6 {
		t.Errorf("%v after %d steps, looked at %d; want nothing after 6", err, len(path), depth)
	}
	if path, depth, err = x.breadth(100, 5); err != nil || depth < 2 || depth > 6 {
		t.Errorf("%v after %d steps, looked at %d; want nothing after a few", err, len(path), depth)
	}
}

// Walks find it too; the same walk again ends in the same way.
func TestExploreWalk(t *testing.T) {
	for _, p := range planted {
		t.Run(p.name, func(t *testing.T) {
			c := Config{Build: p.build, Kills: p.kills}
			w := Walk(c, 1, 0, 1000)
			var f *Failure
			if !errors.As(w.Err, &f) || f.Steps != p.steps || f.Least != p.steps {
				t.Fatalf("%v: found %v; want an error after %d steps", w, w.Err, p.steps)
			}
			again := Walk(c, 1, w.Walks-1, 1)
			if again.Err == nil || again.Err.Error() != w.Err.Error() {
				t.Errorf("walk %d again: found %v; want %v", w.Walks-1, again.Err, w.Err)
			}
		})
	}
}

// Where nothing is wrong nothing is found, and walks differ.
func TestExploreNothing(t *testing.T) {
	build := words(anything, func(w []*word.Uint32) { park(w[0]) }, func(w []*word.Uint32) {
		w[0].Store(1)
		wait.Wake(w[0], 1)
	})
	if r := Run(Config{Build: build, Spurious: 1}); r.Err != nil || !r.Complete {
		t.Errorf("%v: %v", r, r.Err)
	}
	one, other := Walk(Config{Build: build, Spurious: 1}, 1, 0, 100), Walk(Config{Build: build, Spurious: 1}, 2, 0, 100)
	if one.Err != nil || other.Err != nil || one.Walks != 100 || one.Steps == other.Steps {
		t.Errorf("%v: %v; with another seed %v: %v", one, one.Err, other, other.Err)
	}
	// In pieces they are the same walks.
	half, rest := Walk(Config{Build: build, Spurious: 1}, 1, 0, 50), Walk(Config{Build: build, Spurious: 1}, 1, 50, 50)
	if half.Steps+rest.Steps != one.Steps || half.Steps == rest.Steps {
		t.Errorf("100 walks are %d steps, in pieces %d and %d", one.Steps, half.Steps, rest.Steps)
	}
}

// Who goes round for ever ends a walk, and an exploration if it leaves out what others do.
func TestExploreEndless(t *testing.T) {
	c := Config{Build: words(anything, func(w []*word.Uint32) {
		for w[0].Load() == 0 {
			Operation()
		}
	})}
	if w := Walk(c, 1, 0, 10); !errors.Is(w.Err, errEndless) || w.Walks != 1 {
		t.Errorf("%v: %v", w, w.Err)
	}
	c.Reduced = true
	if r := Run(c); !errors.Is(r.Err, errRound) {
		t.Errorf("%v: %v", r, r.Err)
	}
}

// What is left out where steps cannot be told from each other leaves out nothing: programs
// made by lot come to the same ends, and the mistakes are found.
func TestExploreReduced(t *testing.T) {
	fewer, stuck := 0, 0
	for seed := range uint64(programs) {
		all, full := ends(seed, false)
		some, reduced := ends(seed, true)
		switch {
		case (full.Err == nil) != (reduced.Err == nil):
			t.Errorf("program %d: found %v, reduced %v", seed, full.Err, reduced.Err)
		case full.Err != nil:
			stuck++
		case !maps.Equal(all, some):
			t.Fatalf("program %d comes to %d ends, reduced to %d", seed, len(all), len(some))
		case reduced.States < full.States:
			fewer++
		}
	}
	if fewer < programs/4 || stuck < programs/4 {
		t.Errorf("of %d programs %d were reduced and %d stuck", programs, fewer, stuck)
	}
	for _, p := range planted {
		if p.kills > 0 {
			continue
		}
		r := Run(Config{Build: p.build, Reduced: true})
		var f *Failure
		if !errors.As(r.Err, &f) || f.Steps != p.steps || f.Least != p.steps {
			t.Errorf("%s: found %v; want an error after %d steps", p.name, r.Err, p.steps)
		}
	}
}

const programs = 200

// ends explores a program that is made by lot, and returns all that the memory can be when
// it has ended.
func ends(seed uint64, reduced bool) (map[string]bool, Result) {
	lot := rand.New(rand.NewPCG(seed, 0))
	type act struct {
		what, word, from int
		value            uint32
	}
	ends := map[string]bool{}
	var bodies []func(w []*word.Uint32)
	for range 2 + lot.IntN(2) {
		var acts []act
		for range 2 + lot.IntN(3) {
			acts = append(acts, act{lot.IntN(9), lot.IntN(5), lot.IntN(5), 1 + lot.Uint32N(2)})
		}
		bodies = append(bodies, func(w []*word.Uint32) {
			for _, a := range acts {
				switch a.what {
				case 0, 1:
					w[a.word].Store(a.value)
				case 2:
					w[a.word].Store(a.value)
					wait.Wake(w[a.word], wait.All)
				case 3:
					park(w[a.word])
				case 4:
					w[a.word].Add(w[a.from].Load())
				default:
					w[a.word].Store(3*w[a.from].Load() + a.value)
				}
			}
		})
	}
	check := func(w []*word.Uint32) error {
		end := ""
		for _, w := range w {
			end += fmt.Sprint(w.Load(), " ")
		}
		ends[end] = true
		return nil
	}
	x, done := begin(Config{Build: words(check, bodies...), Reduced: reduced})
	defer done()
	for {
		clear(ends)
		x.surprised = false
		if r := x.run(); r.Err != nil || !x.surprised {
			return ends, r
		}
	}
}
