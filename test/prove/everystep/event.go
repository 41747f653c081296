package main

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/shmsync"
)

func eventOperations() []*operation {
	set := func(a *arena) error { return a.manual.Set() }
	signal := func(a *arena) error { return a.auto.Set() }
	var seen uint32 // of the victim
	setting, waiting := []string{"not yet", "set"}, []string{"not yet", "let go"}
	return []*operation{
		{name: "event: set a manual one, two are asleep", arrange: twoAsleep("await"), act: func(v *view) error { return v.manual.Set() },
			judge: eventJudge{order: setting, gives: true}},
		{name: "event: set an automatic one, two are asleep", arrange: twoAsleep("take"), act: func(v *view) error { return v.auto.Set() },
			judge: eventJudge{order: setting, automatic: true, gives: true}},
		{name: "event: wait for a manual one, asleep", prepare: (*view).warm, asleep: set,
			act: func(v *view) error { return v.manual.Wait(background) }, judge: eventJudge{order: waiting}},
		{name: "event: wait for an automatic one, asleep", prepare: (*view).warm, asleep: signal,
			act:   func(v *view) error { return v.auto.Wait(background) },
			judge: eventJudge{order: []string{"not yet", "let go", "taken"}, automatic: true}},
		{name: "event: wait for an automatic one, asleep beside another", prepare: (*view).warm,
			asleep: func(a *arena) error { return errors.Join(a.sleeper(a.other, "take"+forever), signal(a)) },
			act:    func(v *view) error { return v.auto.Wait(background) },
			judge:  eventJudge{order: []string{"not yet", "let go", "taken"}, automatic: true}},
		{name: "event: reset", quiet: true, before: set, act: func(v *view) error { return v.manual.Reset() },
			judge: eventJudge{order: []string{"set", "reset"}, resets: true}},
		{name: "event: wait after a count, asleep", asleep: set, judge: eventJudge{order: waiting},
			prepare: func(v *view) (err error) {
				if err := v.warm(); err != nil {
					return err
				}
				seen, err = v.manual.Count()
				return err
			},
			act: func(v *view) error {
				count, err := v.manual.WaitAfter(background, seen)
				if err == nil && count == seen {
					err = fmt.Errorf("the count is still %d", count)
				}
				return err
			}},
		{name: "event: set and wait for an automatic one, steady", quiet: true,
			prepare: func(v *view) error { return errors.Join(v.auto.Set(), v.auto.Wait(background)) },
			act:     func(v *view) error { return errors.Join(v.auto.Set(), v.auto.Wait(background)) },
			judge:   eventJudge{order: []string{"not yet", "set", "taken"}, automatic: true, gives: true}},
	}
}

// eventJudge judges an event: it is set or not, and who waits is let go or not, as
// the victim's operation has or has not been done.
type eventJudge struct {
	order     []string
	automatic bool
	gives     bool // the victim sets it; otherwise it waits for it, or
	resets    bool // resets it
}

func (j eventJudge) stages() []string { return j.order }

func (j eventJudge) begin(a *arena) {
	_, word := j.event(a)
	a.base = word.Load() & layout.EventStateCountMask
}

func (j eventJudge) event(a *arena) (*shmsync.Event, *atomic.Uint32) {
	if j.automatic {
		return a.auto, a.autoWord
	}
	return a.manual, a.manualWord
}

// orders are what survivors are told: to wait, and to look whether it is set, which
// takes it if it is automatic.
func (j eventJudge) orders() (wait, try string) {
	if j.automatic {
		return "take", "trytake"
	}
	return "await", "tryawait"
}

func (j eventJudge) stage(a *arena) string {
	_, word := j.event(a)
	now := word.Load()
	set := now&layout.EventStateSet != 0
	counted := now&layout.EventStateCountMask != a.base
	last := j.order[len(j.order)-1]
	switch {
	case j.resets && !set, j.gives && counted && (!set || len(j.order) == 2), a.awake && len(j.order) == 3 && !set:
		return last
	case j.gives && counted, a.awake:
		return j.order[1]
	}
	return j.order[0]
}

// set says whether the event is set in a stage, before anybody who waits takes it.
func (j eventJudge) set(a *arena, stage string) bool {
	switch {
	case a.spent:
		return false
	case j.resets:
		return stage == "set"
	case j.automatic:
		return stage == "set" || stage == "let go"
	}
	return stage != j.order[0]
}

// served has those who are parked go who are to, and says whether it is set then.
func (j eventJudge) served(a *arena, stage string) (set bool, err error) {
	set = j.set(a, stage)
	switch {
	case !set || len(a.parked) == 0:
		return set, a.stillParked()
	case j.automatic:
		a.spent = true
		return false, a.awaken(1, "ok")
	}
	return true, a.awaken(len(a.parked), "ok")
}

// found has a survivor look whether the event is set.
func (j eventJudge) found(s *survivor, set bool) error {
	_, try := j.orders()
	want := "no"
	if set {
		want = "yes"
	}
	return s.do(try, want)
}

func (j eventJudge) frozen(a *arena, stage string) error {
	set, err := j.served(a, stage)
	if err != nil || len(a.parked) > 0 {
		return err
	}
	e, _ := j.event(a)
	wait, _ := j.orders()
	for _, s := range a.survivors() {
		if err := j.found(s, set); err != nil {
			return fmt.Errorf("while the victim is stopped: %w", err)
		}
		if set && j.automatic { // it has been taken
			if err := e.Set(); err != nil {
				return err
			}
		}
		if !set {
			if err := s.do(wait+brief, "late"); err != nil {
				return fmt.Errorf("while the victim is stopped: %w", err)
			}
		}
	}
	return nil
}

func (j eventJudge) resumed(a *arena, stage string) error {
	if j.gives || j.resets || (stage != j.order[0] && !a.spent) || stage == "taken" {
		return nil
	}
	a.spent, a.awake = false, true
	e, _ := j.event(a)
	return e.Set()
}

func (j eventJudge) after(a *arena, stage string, killed bool) error {
	if !killed {
		stage = j.order[len(j.order)-1]
	}
	set, err := j.served(a, stage)
	if err != nil {
		return err
	}
	e, word := j.event(a)
	for len(a.parked) > 0 { // for what comes now
		n := len(a.parked)
		if j.automatic {
			n = 1
		}
		if err := errors.Join(e.Set(), a.awaken(n, "ok")); err != nil {
			return err
		}
		set = !j.automatic
	}
	both := a.survivors()
	if err := j.found(both[0], set); err != nil {
		return err
	}
	if err := j.found(both[1], set && !j.automatic); err != nil {
		return err
	}
	if err := e.Reset(); err != nil {
		return err
	}
	// Who waits for one that is not set is let go by a later Set.
	wait, _ := j.orders()
	if err := errors.Join(a.sleeper(both[0], wait+forever), e.Set(), a.awaken(1, "ok")); err != nil {
		return err
	}
	if err := e.Reset(); err != nil {
		return err
	}
	if word.Load()&layout.EventStateSet != 0 {
		return errors.New("the event is reset or taken, and it is set")
	}
	return nil
}
