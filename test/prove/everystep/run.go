package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/memlane/memlane/test/prove/step"
)

// A campaign is one run of the program over all operations.
type campaign struct {
	every    int // take every so many-th place
	loops    int // of an instruction that is executed again and again, the first and last so many times; 0: all
	parallel int // operations at a time
	kill     bool
	stop     bool
	steps    bool // get to each place by single steps alone
	seed     uint64
}

// A tally is what the victims of one operation have come to.
type tally struct {
	instructions, syscalls int
	killPlaces, stopPlaces int // where victims are to be taken
	killedAt, stoppedAt    int // of them
	kills, stops           int // also where the place was missed
	broken, stuck          int
	asides                 int    // victims that were not judged: see errAside
	late                   int    // answers that took more than half a second, of a backstop
	stages                 string // for people: how many places are in each
}

// missed is how many places no victim has come by.
func (t tally) missed() int { return t.killPlaces + t.stopPlaces - t.killedAt - t.stoppedAt }

// tries is how often a place is looked for. Operations that read files or keep
// what they need in maps do not go exactly the same way each time.
const tries = 50

// A run is one operation's.
type run struct {
	campaign *campaign
	op       *operation
	rnd      *rand.Rand
	arena    *arena // nil: there is none, or it is not to be used any more
	trace    *step.Trace
	turns    []turn // of its places
	taken    []bool // which of them are to be tried
	tally    tally
	reports  int
	misses   int // that were described
}

// reportsMax is how many failures of an operation are described.
const reportsMax = 5

// errJudged is a failure that a judge has found, of the library and not of the rig.
type errJudged struct{ error }

func (e errJudged) Unwrap() error { return e.error }

func judged(err error) error {
	if err == nil {
		return nil
	}
	return errJudged{err}
}

// operation kills and stops victims at all places of an operation.
func (c *campaign) operation(ctx context.Context, op *operation) (tally, error) {
	// Of each operation its own, so that one alone goes as it does among all.
	hash := fnv.New64()
	io.WriteString(hash, op.name)
	r := &run{campaign: c, op: op, rnd: rand.New(rand.NewPCG(c.seed, hash.Sum64()))}
	err := r.operation(ctx)
	r.discard()
	return r.tally, err
}

func (r *run) operation(ctx context.Context) error {
	if err := r.count(); err != nil {
		return fmt.Errorf("%s: count its instructions: %w", r.op.name, err)
	}
	if err := r.inOrder(); err != nil && !r.op.mutant {
		r.tally.broken++
		fmt.Fprintf(os.Stderr, "everystep: %s: %v\n", r.op.name, err)
	}
	if r.op.quiet && r.trace.Syscalls > 0 {
		r.tally.broken++
		fmt.Fprintf(os.Stderr, "everystep: %s: it makes %d system calls, and nobody waits\n", r.op.name, r.trace.Syscalls)
	}
	var kills, stops []int
	for i, take := range r.taken {
		if take {
			kills = append(kills, i)
			stops = append(stops, i)
		}
	}
	// One that sleeps is killed; it is not stopped: it waits, as all who sleep do.
	for i := range r.trace.Sleeps {
		kills = append(kills, len(r.trace.Places)+i)
	}
	t := &r.tally
	if r.campaign.kill {
		t.killPlaces = len(kills)
		if err := r.all(ctx, kills, true, &t.killedAt, &t.kills); err != nil {
			return err
		}
	}
	if r.campaign.stop && (!r.op.mutant || r.op.stops) {
		t.stopPlaces = len(stops)
		if err := r.all(ctx, stops, false, &t.stoppedAt, &t.stops); err != nil {
			return err
		}
	}
	return nil
}

// place returns place number i: those of instructions come first, then the sleeps.
func (r *run) place(i int) step.Place {
	if n := len(r.trace.Places); i >= n {
		return r.trace.Sleeps[i-n]
	}
	return r.trace.Places[i]
}

// counts is how often instructions are counted at most.
const counts = 12

// count finds all places, by single steps. The first way that three victims have gone
// is the one that most go: now and then one finds memory where others have to get some,
// or is one of the goroutines whose times the Go runtime takes. If there is none such
// it is the shortest.
func (r *run) count() error {
	if !r.op.mutant {
		// The first victim in a new segment finds it as no other does.
		if err := r.with(r.uninterrupted); err != nil && !errors.Is(err, errAside) {
			return err
		}
	}
	seen := map[int]int{} // how many, by their lengths
	common := false
	for n := 0; n < counts && !common; n++ {
		err := r.with(func(a *arena) error {
			v, err := r.begin(a)
			if err != nil {
				return err
			}
			defer v.Kill()
			var turns []turn
			look := func() { turns = append(turns, r.turn(a, v)) }
			trace, err := v.Trace(look, func() error { return r.awaken(a) })
			if err == nil {
				err = a.aside()
			}
			if err != nil {
				return err
			}
			n := len(trace.Places)
			seen[n]++
			common = seen[n] == 3
			if r.trace == nil || common || n < len(r.trace.Places) {
				r.trace, r.turns, r.taken = trace, turns, r.campaign.take(turns)
			}
			if r.op.mutant {
				return nil
			}
			stages := r.op.judge.stages()
			return judged(r.comeToEnd(a, stages[len(stages)-1]))
		})
		if err != nil && !errors.Is(err, errAside) {
			return err
		}
		if r.op.mutant || err != nil {
			r.discard()
		}
	}
	if r.trace == nil {
		return errAside
	}
	r.tally.instructions, r.tally.syscalls = len(r.trace.Places)-1, r.trace.Syscalls
	return nil
}

// uninterrupted lets a victim go on to its end.
func (r *run) uninterrupted(a *arena) error {
	v, err := r.begin(a)
	if err != nil {
		return err
	}
	defer v.Kill()
	for event := step.Asleep; event == step.Asleep; {
		if event, err = v.RunTo(step.Place{Syscalls: 1 << 30}); err == nil && event == step.Asleep {
			err = r.awaken(a)
		}
		if err != nil {
			return err
		}
	}
	stages := r.op.judge.stages()
	return judged(r.comeToEnd(a, stages[len(stages)-1]))
}

// A turn is what one execution of an instruction has in common with the others of
// the same loop.
type turn struct {
	syscalls int    // made before
	stage    string // of the operation
	stack    string // the instruction, and who has called whom to get there
}

// turn returns where the victim stands.
func (r *run) turn(a *arena, v *step.Victim) turn {
	return turn{v.Syscalls(), r.op.judge.stage(a), fmt.Sprint([]uint64(v.Stack()))}
}

// take says which places are tried: all, but of an instruction that is executed
// again and again in a loop only the first times and the last.
func (c *campaign) take(turns []turn) []bool {
	times, before := map[turn]int{}, map[turn]int{}
	for _, t := range turns {
		times[t]++
	}
	taken := make([]bool, len(turns))
	for i, t := range turns {
		inside := c.loops > 0 && before[t] >= c.loops && before[t] < times[t]-c.loops
		taken[i] = !inside && i%c.every == 0
		before[t]++
	}
	return taken
}

// all takes a victim to each of the places, in an order drawn by lot.
func (r *run) all(ctx context.Context, places []int, kill bool, at, victims *int) error {
	for _, i := range r.shuffled(places) {
		for n := range tries {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			there, err := r.once(i, kill)
			if errors.Is(err, errAside) {
				err = nil
				r.tally.asides++
				r.discard()
			} else {
				*victims++
			}
			if err != nil && !r.failed(err, i, kill) {
				return fmt.Errorf("%s, place %d (%v): %w", r.op.name, i, r.place(i), err)
			}
			if there {
				*at++
				break
			}
			if n+1 == tries {
				if r.misses++; r.misses <= reportsMax {
					fmt.Printf("%s: in %d tries no victim came by %v\n", r.op.name, tries, r.place(i))
				}
			}
		}
	}
	return nil
}

func (r *run) shuffled(places []int) []int {
	places = slices.Clone(places)
	r.rnd.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	return places
}

// failed counts and describes what a judge has found; it returns false if it was
// not a judge.
func (r *run) failed(err error, i int, kill bool) bool {
	var found errJudged
	if !errors.As(err, &found) {
		return false
	}
	if errors.Is(err, errStuck) || errors.Is(err, step.ErrStuck) {
		r.tally.stuck++
	} else {
		r.tally.broken++
	}
	r.discard()
	if r.reports++; r.reports <= reportsMax && !r.op.mutant {
		what := "stopped"
		if kill {
			what = "killed"
		}
		fmt.Fprintf(os.Stderr, "everystep: %s, %s after %d instructions:\n%v\n%v\n", r.op.name, what, i, r.place(i), err)
	}
	return true
}

// with calls f with an arena, which is in order and used again, until something has
// failed.
func (r *run) with(f func(a *arena) error) error {
	if r.arena == nil {
		a, err := newArena(r.rnd)
		if err != nil {
			return err
		}
		r.arena = a
		if r.op.joins {
			err = a.allFree()
		} else {
			err = a.onlyFree(a.place)
		}
		if err != nil {
			return err
		}
	}
	r.arena.forget()
	return f(r.arena)
}

// discard ends the arena.
func (r *run) discard() {
	if r.arena != nil {
		r.tally.late += r.arena.local.late + r.arena.other.late
		r.arena.close()
		r.arena = nil
	}
}

// begin starts a victim, which stands at the first mark then.
func (r *run) begin(a *arena) (*step.Victim, error) {
	if err := call(r.op.before, a); err != nil {
		return nil, judged(fmt.Errorf("before the victim: %w", err))
	}
	v, err := r.start(a)
	if err != nil {
		return nil, err
	}
	err = call(r.op.arrange, a)
	a.a0 = *a.a
	r.op.judge.begin(a)
	if err != nil {
		err = judged(fmt.Errorf("before what the victim does: %w", err))
		return nil, errors.Join(err, v.Kill())
	}
	return v, nil
}

// start starts the victim, in its place.
func (r *run) start(a *arena) (*step.Victim, error) {
	for {
		v, err := step.Start(victimName, a.s.Path(), r.op.name)
		if err != nil {
			return nil, err
		}
		a.victim = v
		a.identify()
		if r.op.joins || a.id.Index == a.place {
			return v, nil
		}
		// It has found another that was left free, the one of the dead.
		if err := v.Kill(); err != nil {
			return nil, err
		}
	}
}

func call(f func(a *arena) error, a *arena) error {
	if f == nil {
		return nil
	}
	return f(a)
}

// errAside: the victim was waked, and who slept beside it was faster, by the look that
// package wait takes at all sleepers. Such a victim is of no use, and not judged.
var errAside = errors.New("somebody else got what the victim was waked for")

// aside says whether that has happened so far.
func (a *arena) aside() error {
	for _, s := range a.parked {
		if a.awake && (s.answered() || !step.Sleeps(s.pid, s.thread)) {
			return errAside
		}
	}
	return nil
}

// awaken does what a victim waits for that has fallen asleep.
func (r *run) awaken(a *arena) error {
	if r.op.asleep == nil {
		return errors.New("the victim sleeps, and nobody is to wake it")
	}
	if a.awake {
		return errAside
	}
	a.awake = true
	err := r.op.asleep(a)
	r.op.judge.begin(a)
	return judged(err)
}

// once takes one victim to a place, kills or stops it there, and judges, wherever it
// is. It says whether it was there.
func (r *run) once(i int, kill bool) (there bool, err error) {
	err = r.with(func(a *arena) error {
		v, err := r.begin(a)
		if err != nil {
			return err
		}
		defer v.Kill()
		if there, err = r.goTo(a, v, i); err != nil {
			return err
		}
		stage := r.op.judge.stage(a)
		if err := a.aside(); err != nil {
			return err
		}
		if kill {
			where := v.Stack()
			if err := v.Kill(); err != nil {
				return err
			}
			if err := errors.Join(a.gone(), r.op.judge.after(a, stage, true)); err != nil {
				return judged(fmt.Errorf("in stage %q, %w\n%s", stage, err, where))
			}
			return nil
		}
		where := v.Stack()
		if err := r.op.judge.frozen(a, stage); err != nil {
			return judged(fmt.Errorf("in stage %q, while the victim is stopped: %w\n%s", stage, err, where))
		}
		if !r.op.joins && !r.op.leaves && a.table.Gone(a.id) {
			return judged(fmt.Errorf("the victim is stopped and counts as gone\n%s", where))
		}
		if err := r.comeToEnd(a, stage); err != nil {
			return judged(fmt.Errorf("stopped in stage %q, %w\n%s", stage, err, where))
		}
		return nil
	})
	return there, err
}

// goTo takes the victim to the place; there is false if it has not come by it.
func (r *run) goTo(a *arena, v *step.Victim, i int) (there bool, err error) {
	for place := r.place(i); ; {
		var event step.Event
		if r.campaign.steps && !place.Asleep {
			event, err = v.StepTo(i)
		} else {
			event, err = v.RunTo(place)
		}
		switch {
		case err != nil:
			return false, judged(err)
		case event == step.Stopped && !place.Asleep && !place.VDSO:
			// One that goes another way can come by the same instruction elsewhere.
			return r.turn(a, v) == r.turns[i], nil
		case event != step.Asleep:
			return event == step.Stopped, nil
		}
		if err := r.awaken(a); err != nil {
			return false, err
		}
	}
}

// comeToEnd lets the victim go on by itself, and judges when it has come to its end.
func (r *run) comeToEnd(a *arena, stage string) error {
	if err := a.victim.Release(); err != nil {
		return err
	}
	if err := r.op.judge.resumed(a, stage); err != nil {
		return fmt.Errorf("after it was let go on: %w", err)
	}
	status, err := a.victim.Wait()
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("the victim has not come to a good end: exit status %d, signal %v; see above", status.ExitStatus(), status.Signal())
	}
	if err := errors.Join(a.gone(), r.op.judge.after(a, stage, false)); err != nil {
		return fmt.Errorf("after its end: %w", err)
	}
	return nil
}

// inOrder checks that the stages come one after the other, each by one instruction,
// and never again. It notes how many places are in each.
func (r *run) inOrder() error {
	order := r.op.judge.stages()
	at, n := 0, 0
	var notes []string
	note := func() { notes = append(notes, fmt.Sprintf("%d %s", n, order[at])) }
	for i, t := range r.turns {
		for at < len(order) && order[at] != t.stage {
			note()
			at, n = at+1, 0
		}
		if at == len(order) {
			return fmt.Errorf("after %d instructions it is in the stage %q; the stages come in the order %v", i, t.stage, order)
		}
		if r.taken[i] {
			n++
		}
	}
	note()
	r.tally.stages = strings.Join(notes, ", ")
	return nil
}
