package places

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

// A Tally is what the victims of one operation have come to.
type Tally struct {
	instructions, Syscalls int
	killPlaces, stopPlaces int // where victims are to be taken
	killedAt, stoppedAt    int // of them
	Kills, Stops           int // also where the place was missed
	broken, stuck          int
	asides                 int    // victims that were not judged: see ErrAside
	late                   int    // answers that took more than half a second, of a backstop
	stages                 string // for people: how many places are in each
}

// missed is how many places no victim has come by.
func (t Tally) missed() int { return t.killPlaces + t.stopPlaces - t.killedAt - t.stoppedAt }

// tries is how often a place is looked for. Operations that read files or keep
// what they need in maps do not go exactly the same way each time.
const tries = 50

// A run is one operation's.
type run struct {
	campaign *Campaign
	op       *Operation
	rnd      *rand.Rand
	scene    Scene // nil: there is none, or it is not to be used any more
	trace    *step.Trace
	turns    []turn // of its places
	taken    []bool // which of them are to be tried
	tally    Tally
	reports  int
	misses   int // that were described
}

// reportsMax is how many failures of an operation are described.
const reportsMax = 5

// Try kills and stops victims at all places of an operation.
func (c *Campaign) Try(ctx context.Context, op *Operation) (Tally, error) {
	// Of each operation its own, so that one alone goes as it does among all.
	hash := fnv.New64()
	io.WriteString(hash, op.Name)
	r := &run{campaign: c, op: op, rnd: rand.New(rand.NewPCG(c.Seed, hash.Sum64()))}
	err := r.operation(ctx)
	r.discard()
	return r.tally, err
}

func (r *run) operation(ctx context.Context) error {
	if err := r.count(); err != nil {
		return fmt.Errorf("%s: count its instructions: %w", r.op.Name, err)
	}
	if err := r.inOrder(); err != nil && !r.op.Mutant {
		r.tally.broken++
		fmt.Fprintf(os.Stderr, "%s: %s: %v\n", r.campaign.Name, r.op.Name, err)
	}
	if r.op.Quiet && r.trace.Syscalls > 0 {
		r.tally.broken++
		fmt.Fprintf(os.Stderr, "%s: %s: it makes %d system calls, and nobody waits\n", r.campaign.Name, r.op.Name, r.trace.Syscalls)
	}
	if r.op.Twice {
		return r.pairs(ctx)
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
	if r.campaign.Kill {
		t.killPlaces = len(kills)
		if err := r.all(ctx, kills, true, &t.killedAt, &t.Kills); err != nil {
			return err
		}
	}
	if r.campaign.Stop && (!r.op.Mutant || r.op.Stops) {
		t.stopPlaces = len(stops)
		if err := r.all(ctx, stops, false, &t.stoppedAt, &t.Stops); err != nil {
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
	if !r.op.Mutant {
		// The first victim in a new segment finds it as no other does.
		if err := r.with(r.uninterrupted); err != nil && !errors.Is(err, ErrAside) {
			return err
		}
	}
	seen := map[int]int{} // how many, by their lengths
	common := false
	for n := 0; n < counts && !common; n++ {
		err := r.with(func(s Scene) error {
			v, err := s.Begin()
			if err != nil {
				return err
			}
			defer v.Kill()
			var turns []turn
			look := func() { turns = append(turns, r.turn(s, v)) }
			trace, err := v.Trace(look, func() error { return s.Awaken() })
			if err == nil {
				err = s.Aside()
			}
			if err != nil {
				return err
			}
			n := len(trace.Places)
			seen[n]++
			common = seen[n] == 3
			if r.trace == nil || common || n < len(r.trace.Places) {
				r.trace, r.turns, r.taken = trace, turns, r.campaign.take(turns, r.every(len(turns)))
			}
			if r.op.Mutant {
				return nil
			}
			stages := r.op.Stages
			return Judged(r.comeToEnd(s, v, stages[len(stages)-1]))
		})
		if err != nil && !errors.Is(err, ErrAside) {
			return err
		}
		if r.op.Mutant || err != nil {
			r.discard()
		}
	}
	if r.trace == nil {
		return ErrAside
	}
	r.tally.instructions, r.tally.Syscalls = len(r.trace.Places)-1, r.trace.Syscalls
	return nil
}

// uninterrupted lets a victim go on to its end.
func (r *run) uninterrupted(s Scene) error {
	v, err := s.Begin()
	if err != nil {
		return err
	}
	defer v.Kill()
	for event := step.Asleep; event == step.Asleep; {
		if event, err = v.RunTo(step.Place{Syscalls: 1 << 30}); err == nil && event == step.Asleep {
			err = s.Awaken()
		}
		if err != nil {
			return err
		}
	}
	stages := r.op.Stages
	return Judged(r.comeToEnd(s, v, stages[len(stages)-1]))
}

// A turn is what one execution of an instruction has in common with the others of
// the same loop.
type turn struct {
	syscalls int    // made before
	stage    string // of the operation
	stack    string // the instruction, and who has called whom to get there
}

// turn returns where the victim stands.
func (r *run) turn(s Scene, v *step.Victim) turn {
	return turn{v.Syscalls(), s.Stage(), fmt.Sprint([]uint64(v.Stack()))}
}

// mutantPlaces is at how many places a mutant is tried at least: its mistake may show at
// few.
const mutantPlaces = 50

// every is which of n places are taken.
func (r *run) every(n int) int {
	every := max(r.op.Every, r.campaign.Every)
	if r.op.Mutant {
		return min(every, max(n/mutantPlaces, 1))
	}
	return every
}

// take says which places are tried: all, but of an instruction that is executed
// again and again in a loop only the first times and the last; and of those every so
// many-th.
func (c *Campaign) take(turns []turn, every int) []bool {
	times, before := map[turn]int{}, map[turn]int{}
	for _, t := range turns {
		times[t]++
	}
	taken := make([]bool, len(turns))
	for i, t := range turns {
		inside := c.Loops > 0 && before[t] >= c.Loops && before[t] < times[t]-c.Loops
		taken[i] = !inside && i%every == 0
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
			if errors.Is(err, ErrAside) {
				err = nil
				r.tally.asides++
				r.discard()
			} else {
				*victims++
			}
			if err != nil && !r.failed(err, i, kill) {
				return fmt.Errorf("%s, place %d (%v): %w", r.op.Name, i, r.place(i), err)
			}
			if there {
				*at++
				break
			}
			if n+1 == tries {
				if r.misses++; r.misses <= reportsMax {
					fmt.Printf("%s: in %d tries no victim came by %v\n", r.op.Name, tries, r.place(i))
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
	var found judged
	if !errors.As(err, &found) {
		return false
	}
	if errors.Is(err, ErrStuck) || errors.Is(err, step.ErrStuck) {
		r.tally.stuck++
	} else {
		r.tally.broken++
	}
	r.discard()
	if r.reports++; r.reports <= reportsMax && !r.op.Mutant {
		what := "stopped"
		if kill {
			what = "killed"
		}
		fmt.Fprintf(os.Stderr, "%s: %s, %s after %d instructions:\n%v\n%v\n", r.campaign.Name, r.op.Name, what, i, r.place(i), err)
	}
	return true
}

// with calls f with a scene, which is in order and used again, until something has
// failed.
func (r *run) with(f func(s Scene) error) error {
	if r.scene == nil {
		var err error
		if r.scene, err = r.op.Make(r.rnd); err != nil {
			return err
		}
	}
	return f(r.scene)
}

// discard ends the scene.
func (r *run) discard() {
	if r.scene != nil {
		r.tally.late += r.scene.Close()
		r.scene = nil
	}
}

// once takes one victim to a place, kills or stops it there, and judges, wherever it
// is. It says whether it was there.
func (r *run) once(i int, kill bool) (there bool, err error) {
	err = r.with(func(s Scene) error {
		v, err := s.Begin()
		if err != nil {
			return err
		}
		defer v.Kill()
		if there, err = r.goTo(s, v, i); err != nil {
			return err
		}
		stage := s.Stage()
		if err := s.Aside(); err != nil {
			return err
		}
		if kill {
			where := v.Stack()
			if err := v.Kill(); err != nil {
				return err
			}
			if err := s.After(stage, true); err != nil {
				return Judged(fmt.Errorf("in stage %q, %w\n%s", stage, err, where))
			}
			return nil
		}
		where := v.Stack()
		if err := s.Frozen(stage); err != nil {
			return Judged(fmt.Errorf("in stage %q, while the victim is stopped: %w\n%s", stage, err, where))
		}
		if err := r.comeToEnd(s, v, stage); err != nil {
			return Judged(fmt.Errorf("stopped in stage %q, %w\n%s", stage, err, where))
		}
		return nil
	})
	return there, err
}

// pairs kills two victims, again and again.
func (r *run) pairs(ctx context.Context) error {
	t := &r.tally
	t.killPlaces = r.campaign.Pairs
	for range r.campaign.Pairs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		i, j := r.rnd.IntN(len(r.turns)), r.rnd.IntN(len(r.turns))
		err := r.with(func(s Scene) error { return r.pair(s.(Pairs), i, j) })
		if errors.Is(err, ErrAside) {
			t.asides++
			r.discard()
			continue
		}
		t.Kills += 2
		t.killedAt++
		if err != nil && !r.failed(err, i, true) {
			return fmt.Errorf("%s, the first at place %d (%v), the second at %d (%v): %w", r.op.Name, i, r.place(i), j, r.place(j), err)
		}
	}
	return nil
}

// pair kills two victims, wherever they are when they cannot get to their places.
func (r *run) pair(s Pairs, i, j int) error {
	var where []string
	for n, place := range []int{i, j} {
		begin := s.Begin
		if n == 1 {
			begin = s.Another
		}
		v, err := begin()
		if err != nil {
			return err
		}
		_, err = r.goTo(s, v, place)
		if err == nil {
			err = s.Aside()
		}
		where = append(where, v.Stack().String())
		if err := errors.Join(err, v.Kill()); err != nil {
			return err
		}
	}
	stage := s.Stage()
	if err := s.After(stage, true); err != nil {
		return Judged(fmt.Errorf("in stage %q, %w\nthe first: %s\nthe second: %s", stage, err, where[0], where[1]))
	}
	return nil
}

// goTo takes the victim to the place; there is false if it has not come by it.
func (r *run) goTo(s Scene, v *step.Victim, i int) (there bool, err error) {
	for place := r.place(i); ; {
		var event step.Event
		if r.campaign.Single && !place.Asleep {
			event, err = v.StepTo(i)
		} else {
			event, err = v.RunTo(place)
		}
		switch {
		case err != nil:
			return false, Judged(err)
		case event == step.Stopped && !place.Asleep && !place.VDSO:
			// One that goes another way can come by the same instruction elsewhere.
			return r.turn(s, v) == r.turns[i], nil
		case event != step.Asleep:
			return event == step.Stopped, nil
		}
		if err := s.Awaken(); err != nil {
			return false, err
		}
	}
}

// comeToEnd lets the victim go on by itself, and judges when it has come to its end.
func (r *run) comeToEnd(s Scene, v *step.Victim, stage string) error {
	if err := v.Release(); err != nil {
		return err
	}
	if err := s.Resumed(stage); err != nil {
		return fmt.Errorf("after it was let go on: %w", err)
	}
	status, err := v.Wait()
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("the victim has not come to a good end: exit status %d, signal %v; see above", status.ExitStatus(), status.Signal())
	}
	if err := s.After(stage, false); err != nil {
		return fmt.Errorf("after its end: %w", err)
	}
	return nil
}

// inOrder checks that the stages come one after the other, each by one instruction,
// and never again. It notes how many places are in each.
func (r *run) inOrder() error {
	order := r.op.Stages
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
