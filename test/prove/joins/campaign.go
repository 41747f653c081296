package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane/test/prove"
)

// A campaign is one run of the program over its operations.
type campaign struct {
	every, loops, pairs, parallel int
	seed                          uint64
	file                          string
	started, commit, kernel       string
}

// A tally is what the victims of one operation have come to.
type tally struct {
	mu                     sync.Mutex
	stores, systems        int // places
	killPlaces, stopPlaces int // that are to be tried
	killedAt, stoppedAt    int // of them
	lines, linesAt         map[string]bool
	kills, stops, pairs    int
	broken, stuck, late    int
	described              int
	fatal                  error
}

// all tries the operations whose names match, and then pairs of them.
func (c *campaign) all(ctx context.Context, which *regexp.Regexp) error {
	var ops, honest []*operation
	for _, o := range operations() {
		if which.MatchString(o.name) {
			ops = append(ops, o)
			if !o.mutant {
				honest = append(honest, o)
			}
		}
	}
	if len(ops) == 0 {
		return errors.New("no operation matches")
	}
	var errs []error
	for _, o := range ops {
		errs = append(errs, c.report(ctx, o.name, o.mutant, func(t *tally) error { return c.try(ctx, o, t) }))
	}
	if c.pairs > 0 && len(honest) > 0 {
		errs = append(errs, c.report(ctx, "two at once", false, func(t *tally) error { return c.tryPairs(ctx, honest, t) }))
	}
	return errors.Join(errs...)
}

// report has something tried, records what came of it, and says what was wrong.
func (c *campaign) report(ctx context.Context, name string, mutant bool, try func(t *tally) error) error {
	if ctx.Err() != nil {
		return nil // main says so
	}
	t := &tally{lines: map[string]bool{}, linesAt: map[string]bool{}}
	begun := time.Now()
	err := try(t)
	err = errors.Join(err, c.record(name, mutant, t))
	fmt.Printf("%s: %s, in %v\n", name, t, time.Since(begun).Round(time.Second))
	switch missed := t.killPlaces + t.stopPlaces - t.killedAt - t.stoppedAt; {
	case err != nil:
		return err
	case mutant && t.broken+t.stuck == 0:
		return fmt.Errorf("%s: it was not caught", name)
	case !mutant && t.broken+t.stuck+missed > 0:
		return fmt.Errorf("%s: %d broken, %d stuck, %d places missed", name, t.broken, t.stuck, missed)
	}
	return nil
}

// String returns the tally for people.
func (t *tally) String() string {
	return fmt.Sprintf("%d stores, %d system calls; killed at %d of %d, stopped at %d of %d, %d of %d lines that store; %d kills, %d stops, %d pairs; %d broken, %d stuck, %d late",
		t.stores, t.systems/2, t.killedAt, t.killPlaces, t.stoppedAt, t.stopPlaces, t.linesSeen(), len(t.lines), t.kills, t.stops, t.pairs, t.broken, t.stuck, t.late)
}

// linesSeen is at how many of the lines that store a victim was.
func (t *tally) linesSeen() (n int) {
	for l := range t.lines {
		if t.linesAt[l] {
			n++
		}
	}
	return n
}

// random is of an operation its own, so that one alone goes as it does among all.
func (c *campaign) random(name string) *rand.Rand {
	hash := fnv.New64()
	io.WriteString(hash, name)
	return rand.New(rand.NewPCG(c.seed, hash.Sum64()))
}

// surveys is how many victims tell how many places there are.
const surveys = 5

// tries is how often a place is looked for. In which order the goroutines of a victim come
// to what they do is left to chance, and so is how much that is in all.
const tries = 50

// mutantVictims is how many there are of a mutant, of each kind.
const mutantVictims = 8

// try kills and stops victims at all places of an operation.
func (c *campaign) try(ctx context.Context, o *operation, t *tally) error {
	like := o
	if o.mutant {
		like = called("publish") // which it is, but for its mistake
	}
	places, err := c.survey(like, t)
	if err != nil {
		return err
	}
	if o.mutant {
		c.random(o.name).Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
		places = places[:min(mutantVictims, len(places))]
	}
	t.killPlaces = len(places)
	if !o.mutant {
		t.stopPlaces = len(places)
	}
	type job struct {
		place
		kill bool
	}
	var jobs []job
	for _, p := range places {
		jobs = append(jobs, job{p, true})
		if !o.mutant {
			jobs = append(jobs, job{p, false})
		}
	}
	c.random(o.name).Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	todo := make(chan job, len(jobs))
	for _, j := range jobs {
		todo <- j
	}
	close(todo)
	return c.workers(t, func(w *worker) error {
		for j := range todo {
			for range tries {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				at, err := w.once(o, j.place, j.kill)
				if err != nil {
					return err
				}
				if at || o.mutant {
					break // with a mutant anything may be
				}
			}
		}
		return nil
	})
}

// survey finds the places of an operation.
func (c *campaign) survey(o *operation, t *tally) (list []place, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := newScene(o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var lines [][]string
	var counts []int
	for range surveys {
		for _, where := range []place{{nowhere, 0}, {systems, 1 << 30}} {
			v, err := s.start(o, where, true)
			if err != nil {
				return nil, err
			}
			if err := s.run(v); err != nil {
				return nil, errors.Join(err, v.kill())
			}
			if where.kind == systems {
				counts = append(counts, v.Count())
			} else {
				lines = append(lines, v.reports.after("store"))
			}
			if err := s.after(v); err != nil {
				return nil, fmt.Errorf("%s, uninterrupted: %w", o.name, err)
			}
		}
	}
	slices.Sort(counts)
	slices.SortFunc(lines, func(a, b []string) int { return len(a) - len(b) })
	t.systems = counts[surveys/2]
	for i := 0; i < t.systems; i += c.every {
		list = append(list, place{systems, i})
	}
	if !seesStores {
		return list, nil
	}
	common := lines[surveys/2]
	t.stores = len(common)
	for _, l := range common {
		t.lines[l] = true
	}
	for i := range common {
		if i%c.every == 0 && !c.inLoop(common, i) {
			list = append(list, place{stores, i})
		}
	}
	return list, nil
}

// inLoop says whether place i is in the middle of a line that stores again and again.
func (c *campaign) inLoop(lines []string, i int) bool {
	if c.loops == 0 || i < c.loops || i+c.loops >= len(lines) {
		return false
	}
	for _, l := range lines[i-c.loops : i+c.loops+1] {
		if l != lines[i] {
			return false
		}
	}
	return true
}

// A worker has a scene, and tries one victim, or pair of victims, after the other.
type worker struct {
	t     *tally
	scene *scene
	of    *operation // the scene's
}

// workers has some work at once, and wants that nothing is left open of their victims.
func (c *campaign) workers(t *tally, work func(w *worker) error) error {
	var group sync.WaitGroup
	for range c.parallel {
		group.Go(func() {
			// The kernel lets only the thread that has started a victim trace it.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			w := &worker{t: t}
			err := work(w)
			w.discard()
			t.mu.Lock()
			defer t.mu.Unlock()
			t.fatal = errors.Join(t.fatal, err)
		})
	}
	group.Wait()
	if t.fatal != nil {
		return t.fatal
	}
	return nil
}

// in returns the scene, which is in order and used again until something has failed.
func (w *worker) in(o *operation) (*scene, error) {
	if w.scene == nil || w.of.policy != o.policy {
		w.discard()
		s, err := newScene(o)
		if err != nil {
			return nil, err
		}
		w.scene, w.of = s, o
	}
	return w.scene, nil
}

// discard ends the scene.
func (w *worker) discard() {
	if w.scene == nil {
		return
	}
	w.scene.close()
	w.t.mu.Lock()
	w.t.late += w.scene.late
	w.t.mu.Unlock()
	w.scene = nil
}

// once takes one victim to a place, kills or stops it there, and judges, wherever it is.
func (w *worker) once(o *operation, where place, kill bool) (at bool, err error) {
	s, err := w.in(o)
	if err != nil {
		return false, err
	}
	v, err := s.start(o, where, kill)
	if err != nil {
		return false, err
	}
	err = w.judge(o, v, kill)
	err = errors.Join(err, v.kill())
	w.t.mu.Lock()
	for _, l := range v.reports.after("at") {
		w.t.linesAt[l] = true
	}
	switch {
	case kill && v.at:
		w.t.killedAt++
	case v.at:
		w.t.stoppedAt++
	}
	if kill {
		w.t.kills++
	} else {
		w.t.stops++
	}
	w.t.mu.Unlock()
	return v.at, w.found(err, o, v)
}

func (w *worker) judge(o *operation, v *running, kill bool) error {
	s := w.scene
	if err := s.run(v); err != nil {
		return err
	}
	switch {
	case kill:
		if err := v.kill(); err != nil {
			return err
		}
		if o.mistake != nil {
			o.mistake(s)
		}
	case !v.ended:
		if err := s.frozen(); err != nil {
			return judgment(err)
		}
		if err := s.comeToEnd(v); err != nil {
			return err
		}
	}
	return judgment(s.after(v))
}

// reportsMax is how many failures of an operation are described.
const reportsMax = 5

// found counts and describes what a judge has found; other errors it returns.
func (w *worker) found(err error, o *operation, victims ...*running) error {
	if err == nil {
		return nil
	}
	var j judged
	if !errors.As(err, &j) {
		return err
	}
	w.t.mu.Lock()
	if stuck(err) {
		w.t.stuck++
	} else {
		w.t.broken++
	}
	w.t.described++
	describe := w.t.described <= reportsMax && !o.mutant
	w.t.mu.Unlock()
	if describe {
		for _, v := range victims {
			fmt.Fprintf(os.Stderr, "joins: %s, %s\n", o.name, v.described())
		}
		fmt.Fprintf(os.Stderr, "joins: %v\n", err)
	}
	w.discard()
	return nil
}

// tryPairs kills two victims, at places drawn by lot. The second one is started when the
// first is dead, and nobody has cleared up after it; or the first one stands somewhere
// when the second is killed, and is killed after it; or it stands there, and is killed
// just before the second comes to its place, which then may be clearing up.
func (c *campaign) tryPairs(ctx context.Context, ops []*operation, t *tally) error {
	most := map[string]*tally{}
	for _, o := range ops {
		most[o.name] = &tally{lines: map[string]bool{}}
		if _, err := c.survey(o, most[o.name]); err != nil {
			return err
		}
	}
	rnd := c.random("two at once")
	draw := func() (*operation, place) {
		o := ops[rnd.IntN(len(ops))]
		m := most[o.name]
		if n := rnd.IntN(m.stores + m.systems); n < m.stores {
			return o, place{stores, n}
		}
		return o, place{systems, rnd.IntN(m.systems)}
	}
	var mu sync.Mutex
	left := c.pairs
	return c.workers(t, func(w *worker) error {
		for {
			mu.Lock()
			left--
			over, how := left < 0, rnd.IntN(3)
			var pair [2]*operation
			var at [2]place
			for i := range pair {
				pair[i], at[i] = draw()
			}
			mu.Unlock()
			if over {
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := w.pair(pair, at, how); err != nil {
				return err
			}
		}
	})
}

// pair kills two.
func (w *worker) pair(ops [2]*operation, at [2]place, how int) error {
	s, err := w.in(ops[0])
	if err != nil {
		return err
	}
	first, err := s.start(ops[0], at[0], how == 0)
	if err != nil {
		return err
	}
	second, err := w.both(first, ops[1], at[1], how)
	victims := []*running{first}
	if second != nil {
		victims = append(victims, second)
		err = errors.Join(err, second.kill())
	}
	err = errors.Join(err, first.kill())
	if err == nil {
		err = judgment(s.after(victims...))
	}
	w.t.mu.Lock()
	w.t.pairs++
	w.t.kills += len(victims)
	w.t.mu.Unlock()
	return w.found(err, &operation{name: ops[0].name + " and " + ops[1].name}, victims...)
}

// both takes both to their places.
func (w *worker) both(first *running, o *operation, at place, how int) (second *running, err error) {
	s := w.scene
	if err := s.run(first); err != nil {
		return nil, err
	}
	if how == 0 {
		if err := first.kill(); err != nil {
			return nil, err
		}
	}
	second, err = s.start(o, at, true)
	if err != nil {
		return nil, err
	}
	if how == 2 && !first.ended {
		// It dies while the second one is on its way.
		go first.Signal(syscall.SIGKILL)
	}
	return second, s.run(second)
}

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "seed"}, {Name: "operation", Key: true},
	{Name: "stores"}, {Name: "system calls"}, {Name: "killed at"}, {Name: "stopped at"}, {Name: "lines that store"},
	{Name: "kills", Sum: true}, {Name: "stops", Sum: true}, {Name: "pairs", Sum: true},
	{Name: "broken", Sum: true}, {Name: "stuck", Sum: true}, {Name: "late", Sum: true},
	{Name: "mutant victims", Sum: true}, {Name: "mutant caught", Sum: true},
}

// record writes the row of one operation.
func (c *campaign) record(name string, mutant bool, t *tally) error {
	if c.file == "" || t.kills+t.stops == 0 {
		return nil
	}
	of := func(n, all int) string { return fmt.Sprintf("%d of %d", n, all) }
	row := []string{c.started, c.commit, c.kernel, strconv.FormatUint(c.seed, 10), name, strconv.Itoa(t.stores), strconv.Itoa(t.systems / 2),
		of(t.killedAt, t.killPlaces), of(t.stoppedAt, t.stopPlaces), of(t.linesSeen(), len(t.lines))}
	counts := []int{t.kills, t.stops, t.pairs, t.broken, t.stuck, t.late, 0, 0}
	if mutant {
		counts = []int{0, 0, 0, 0, 0, 0, t.kills, t.broken + t.stuck}
	}
	for _, n := range counts {
		row = append(row, strconv.Itoa(n))
	}
	return prove.Add(c.file, "joins", description, columns, row)
}
