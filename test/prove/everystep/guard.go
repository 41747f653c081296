package main

import (
	"errors"
	"fmt"

	"github.com/memlane/memlane/internal/layout"
)

func guardOperations() []*operation {
	acquire := func(v *view) error { return v.guard.Acquire(background) }
	release := func(v *view, err error) error {
		if err != nil {
			return err
		}
		return v.guard.Release()
	}
	// The conductor takes n permits.
	taken := func(n int) func(a *arena) error {
		return func(a *arena) error {
			for range n {
				if err := a.local.do("acquire"+patient, "ok"); err != nil {
					return err
				}
				a.held++
			}
			return nil
		}
	}
	letGo := func(a *arena) error {
		a.held--
		return a.local.do("release", "ok")
	}
	waiter := func(a *arena) error { return a.sleeper(a.other, "acquire"+forever) }

	acquiring := guardJudge{[]string{"not yet", "acquired"}, []int{0, 1}}
	returning := guardJudge{[]string{"not yet", "returned", "acquired"}, []int{0, 0, 1}}
	releasing := guardJudge{[]string{"not yet", "released"}, []int{1, 0}}
	return []*operation{
		{name: "semaphore: acquire a free permit", quiet: true, act: acquire, finish: release, judge: acquiring},
		{name: "semaphore: acquire, asleep", prepare: (*view).warm, arrange: taken(permits), asleep: letGo,
			act: acquire, finish: release, judge: acquiring},
		{name: "semaphore: acquire, asleep beside another", prepare: (*view).warm, arrange: taken(permits),
			asleep: func(a *arena) error { return errors.Join(waiter(a), letGo(a)) },
			act:    acquire, finish: release, judge: acquiring},
		{name: "semaphore: acquire what a dead process held", repairs: true, act: acquire, finish: release, judge: returning,
			before: func(a *arena) error { return a.death(dieHoldingPermits, false) }},
		{name: "semaphore: acquire what a dead process held in the same place", repairs: true, act: acquire, finish: release, judge: returning,
			before: func(a *arena) error { return a.death(dieHoldingPermits, true) }},
		{name: "semaphore: release, nobody waits", quiet: true, prepare: acquire, judge: releasing,
			act: func(v *view) error { return v.guard.Release() }},
		{name: "semaphore: release, one is asleep", prepare: acquire, judge: releasing,
			arrange: func(a *arena) error { return errors.Join(taken(permits-1)(a), waiter(a)) },
			act:     func(v *view) error { return v.guard.Release() }},
		{name: "semaphore: acquire and release, steady", quiet: true,
			judge:   guardJudge{[]string{"not yet", "acquired", "released"}, []int{0, 1, 0}},
			prepare: func(v *view) error { return errors.Join(v.guard.Acquire(background), v.guard.Release()) },
			act:     func(v *view) error { return errors.Join(v.guard.Acquire(background), v.guard.Release()) }},
	}
}

// guardJudge judges the semaphore whose permits are held: none may be lost, and
// none be there twice.
type guardJudge struct {
	order []string
	holds []int // how many permits the victim holds in each stage
}

func (j guardJudge) stages() []string { return j.order }

func (guardJudge) begin(a *arena) { a.base, _ = changes(a.guardWord.Load()) }

// changes returns how many changes a semaphore has had, and what the last was.
func changes(word uint64) (sequence uint32, change int) {
	return uint32(word >> layout.SemaphoreStateSequenceShift), int(word >> layout.SemaphoreStateChangeShift & layout.SemaphoreStateChangeMask)
}

func (j guardJudge) stage(a *arena) string {
	sequence, change := changes(a.guardWord.Load())
	middle := len(j.order) == 3
	switch {
	case sequence == a.base:
		return j.order[0]
	case middle && (j.order[1] == "returned" && change == layout.ChangeReturned || j.order[1] == "acquired" && change == layout.ChangeAcquired):
		return j.order[1]
	}
	return j.order[len(j.order)-1]
}

func (j guardJudge) held(stage string) int {
	for i, s := range j.order {
		if s == stage {
			return j.holds[i]
		}
	}
	return 0
}

// served has who is parked get a permit if one is free, and give it back.
func (a *arena) served(free int) error {
	if len(a.parked) == 0 || free == 0 {
		return a.stillParked()
	}
	s := a.parked[0]
	if err := a.awaken(1, "ok"); err != nil {
		return err
	}
	return s.do("release", "ok")
}

func (j guardJudge) frozen(a *arena, stage string) error {
	free := permits - a.held - j.held(stage)
	if err := a.served(free); err != nil {
		return err
	}
	for range free {
		if err := a.local.do("acquire"+patient, "ok"); err != nil {
			return fmt.Errorf("%d permits are free while the victim is stopped: %w", free, err)
		}
	}
	for _, s := range a.survivors() {
		if s.order != "" {
			continue
		}
		if err := errors.Join(s.do("tryacquire", "busy"), s.do("acquire"+brief, "late")); err != nil {
			return fmt.Errorf("%d permits are free while the victim is stopped: %w", free, err)
		}
	}
	for range free {
		if err := a.local.do("release", "ok"); err != nil {
			return err
		}
	}
	return a.stillParked()
}

func (j guardJudge) resumed(a *arena, _ string) error {
	for ; a.held > 0; a.held-- {
		if err := a.local.do("release", "ok"); err != nil {
			return err
		}
	}
	return nil
}

func (j guardJudge) after(a *arena, stage string, _ bool) error {
	if err := j.resumed(a, stage); err != nil {
		return err
	}
	if err := a.served(permits); err != nil {
		return err
	}
	both := a.survivors()
	for i := range permits {
		if err := both[i%2].do("acquire"+patient, "ok"); err != nil {
			return fmt.Errorf("permit %d of %d: %w", i+1, permits, err)
		}
	}
	for _, s := range both {
		if err := s.do("tryacquire", "busy"); err != nil {
			return fmt.Errorf("the survivors hold all %d permits: %w", permits, err)
		}
	}
	for i := range permits {
		if err := both[i%2].do("release", "ok"); err != nil {
			return err
		}
	}
	st, err := a.guard.Status()
	if err != nil || st.Permits != permits || len(st.Holders) > 0 || st.Waiters {
		return fmt.Errorf("nobody holds a permit of %d, and the status is %+v, %v", permits, st, err)
	}
	return nil
}
