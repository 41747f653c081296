package main

import (
	"errors"
	"fmt"
)

func signalOperations() []*operation {
	wait := func(v *view) error { return v.signal.Wait(background) }
	post := func(n int) func(v *view) error { return func(v *view) error { return v.signal.Post(n) } }
	posted := func(n int) func(a *arena) error { return func(a *arena) error { return a.post(n) } }
	waiter := func(a *arena) error { return a.sleeper(a.other, "wait"+forever) }
	order := []string{"not yet", "done"}

	return []*operation{
		{name: "semaphore: wait, with a permit there", quiet: true, before: posted(1), act: wait, judge: signalJudge{order, []int{0, -1}}},
		{name: "semaphore: wait, asleep", prepare: (*view).warm, asleep: posted(1), act: wait, judge: signalJudge{order, []int{0, -1}}},
		{name: "semaphore: wait, asleep beside another", prepare: (*view).warm,
			asleep: func(a *arena) error { return errors.Join(waiter(a), a.post(1)) },
			act:    wait, judge: signalJudge{order, []int{0, -1}}},
		{name: "semaphore: post, nobody waits", quiet: true, act: post(1), judge: signalJudge{order, []int{0, 1}}},
		{name: "semaphore: post two, two are asleep", act: post(2), judge: signalJudge{order, []int{0, 2}}, arrange: twoAsleep("wait")},
		{name: "semaphore: wait and post, steady", quiet: true, before: posted(1),
			prepare: func(v *view) error { return errors.Join(v.signal.Wait(background), v.signal.Post(1)) },
			act:     func(v *view) error { return errors.Join(v.signal.Wait(background), v.signal.Post(1)) },
			judge:   signalJudge{[]string{"not yet", "taken", "done"}, []int{0, -1, 0}}},
	}
}

// twoAsleep has both survivors fall asleep in something.
func twoAsleep(order string) func(a *arena) error {
	return func(a *arena) error {
		both := a.survivors()
		return errors.Join(a.sleeper(both[0], order+forever), a.sleeper(both[1], order+forever))
	}
}

// post adds to the permits of the signal.
func (a *arena) post(n int) error {
	a.tokens += n
	return a.signal.Post(n)
}

// signalJudge judges the semaphore whose permits nobody holds: their number is the
// one before the victim's operation, or the one after it.
type signalJudge struct {
	order []string
	adds  []int // what the victim has added in each stage
}

func (j signalJudge) stages() []string { return j.order }

func (signalJudge) begin(a *arena) { a.base, _ = changes(a.signalWord.Load()) }

func (j signalJudge) stage(a *arena) string {
	// The victim's changes come after the base, and before those of who is let go.
	sequence, _ := changes(a.signalWord.Load())
	return j.order[min(int(sequence-a.base), len(j.order)-1)]
}

func (j signalJudge) added(stage string) int {
	for i, s := range j.order {
		if s == stage {
			return j.adds[i]
		}
	}
	return 0
}

// served has those who are parked get the permits that are there, and returns how
// many are left.
func (j signalJudge) served(a *arena, stage string) (left int, err error) {
	there := a.tokens + j.added(stage)
	n := min(there, len(a.parked))
	a.tokens -= n
	return there - n, a.awaken(n, "ok")
}

func (j signalJudge) frozen(a *arena, stage string) error {
	left, err := j.served(a, stage)
	if err != nil || len(a.parked) > 0 {
		return err
	}
	both := a.survivors()
	for range left {
		if err := both[0].do("wait"+patient, "ok"); err != nil {
			return fmt.Errorf("%d permits are there while the victim is stopped: %w", left, err)
		}
	}
	for _, s := range both {
		if err := errors.Join(s.do("trywait", "busy"), s.do("wait"+brief, "late")); err != nil {
			return fmt.Errorf("%d permits are there while the victim is stopped: %w", left, err)
		}
	}
	if left == 0 {
		return nil
	}
	return a.signal.Post(left)
}

func (j signalJudge) resumed(a *arena, stage string) error {
	if wants := -j.adds[1]; wants > 0 && stage == j.order[0] && a.tokens < wants {
		return a.post(wants - a.tokens)
	}
	return nil
}

func (j signalJudge) after(a *arena, stage string, killed bool) error {
	if !killed {
		stage = j.order[len(j.order)-1]
	}
	left, err := j.served(a, stage)
	if err != nil {
		return err
	}
	if n := len(a.parked); n > 0 {
		// They wait for permits that are not there, and get those that come now.
		if err := errors.Join(a.signal.Post(n), a.awaken(n, "ok")); err != nil {
			return err
		}
	}
	both := a.survivors()
	for i := range left {
		if err := both[i%2].do("wait"+patient, "ok"); err != nil {
			return fmt.Errorf("permit %d of %d: %w", i+1, left, err)
		}
	}
	for _, s := range both {
		if err := s.do("trywait", "busy"); err != nil {
			return fmt.Errorf("there should be no more than %d permits: %w", left, err)
		}
	}
	if st, err := a.signal.Status(); err != nil || st.Permits != 0 || len(st.Holders) > 0 {
		return fmt.Errorf("all permits are taken, and the status is %+v, %v", st, err)
	}
	return nil
}
