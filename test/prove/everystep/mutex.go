package main

import (
	"errors"
	"fmt"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/shmsync"
)

func mutexOperations() []*operation {
	lock := func(v *view) error { return v.m.Lock(background) }
	lockAndAdd := func(v *view) error {
		if err := v.m.Lock(background); err != nil {
			return err
		}
		v.add()
		return nil
	}
	addAndUnlock := func(v *view) error {
		v.add()
		return v.m.Unlock()
	}
	takeOver := func(v *view) error {
		err := v.m.Lock(background)
		if errors.Is(err, shmsync.ErrOwnerDied) {
			v.repair()
			err = v.m.Consistent()
		}
		if err != nil {
			return err
		}
		return addAndUnlock(v)
	}
	unlock := func(v *view, err error) error {
		if err != nil {
			return err
		}
		return v.m.Unlock()
	}
	held := func(a *arena) error { a.held = 1; return a.local.do("lock", "ok") }
	letGo := func(a *arena) error { a.held = 0; return a.local.do("unlock", "ok") }
	waiter := func(a *arena) error { return a.sleeper(a.other, "use"+forever) }

	free, locking, unlocking := []string{"free"}, []string{"free", "held"}, []string{"held", "free"}
	return []*operation{
		{name: "mutex: first use of the segment", joins: true, judge: mutexJudge{free, 1},
			// What a process knows about itself it finds out once, from /proc.
			prepare: func(*view) error { life.Self(); return nil },
			act:     func(v *view) (err error) { v.m, err = shmsync.MutexAt(v.s, mutexAt); return err },
			finish: func(v *view, err error) error {
				if err != nil {
					return err
				}
				return v.use(background)
			}},
		{name: "mutex: lock a free one", quiet: true, act: lockAndAdd, finish: unlock, judge: mutexJudge{locking, 1}},
		{name: "mutex: lock, asleep", prepare: (*view).warm, arrange: held, asleep: letGo,
			act: lockAndAdd, finish: unlock, judge: mutexJudge{locking, 1}},
		{name: "mutex: lock, asleep beside another", prepare: (*view).warm, arrange: held,
			asleep: func(a *arena) error { return errors.Join(waiter(a), letGo(a)) },
			act:    lockAndAdd, finish: unlock, judge: mutexJudge{locking, 1}},
		{name: "mutex: lock one whose owner died, repair, unlock", repairs: true, act: takeOver, judge: mutexJudge{unlocking, 1},
			before: func(a *arena) error { return a.death(dieHoldingMutex, false) }},
		{name: "mutex: lock one whose owner died in the same place, repair, unlock", repairs: true, act: takeOver, judge: mutexJudge{unlocking, 1},
			before: func(a *arena) error { return a.death(dieHoldingMutex, true) }},
		{name: "mutex: unlock, nobody waits", quiet: true, prepare: lock, act: addAndUnlock, judge: mutexJudge{unlocking, 1}},
		{name: "mutex: unlock, one is asleep", prepare: lock, arrange: waiter, act: addAndUnlock, judge: mutexJudge{unlocking, 1}},
		{name: "mutex: unlock while inconsistent, one is asleep", judge: mutexJudge{[]string{"held", "unrecoverable"}, 0},
			before: func(a *arena) error { return leaveTorn(a) }, arrange: waiter,
			prepare: func(v *view) error { return wants(v.m.Lock(background), shmsync.ErrOwnerDied) },
			act:     func(v *view) error { return v.m.Unlock() },
			finish:  func(_ *view, err error) error { return wants(err, shmsync.ErrUnrecoverable) }},
		{name: "mutex: recover, repair, unlock", judge: mutexJudge{[]string{"unrecoverable", "held", "free"}, 0},
			before: func(a *arena) error {
				if err := leaveTorn(a); err != nil {
					return err
				}
				return errors.Join(wants(a.m.Lock(background), shmsync.ErrOwnerDied), wants(a.m.Unlock(), shmsync.ErrUnrecoverable))
			},
			act: (*view).recover},
		{name: "mutex: try to lock one that is held", arrange: held, judge: mutexJudge{free, 0},
			act: func(v *view) error { return v.m.TryLock() },
			finish: func(v *view, err error) error {
				if err == nil { // it was stopped until it was not held any more
					return v.m.Unlock()
				}
				return wants(err, shmsync.ErrBusy)
			}},
		{name: "mutex: close the segment while holding it", prepare: lock, leaves: true, judge: mutexJudge{[]string{"held"}, 1},
			act: func(v *view) error {
				v.add()
				return v.s.Close()
			}},
		{name: "mutex: lock and unlock, steady", quiet: true, judge: mutexJudge{[]string{"free", "held", "free"}, 1},
			prepare: func(v *view) error { return errors.Join(v.m.Lock(background), v.m.Unlock()) },
			act: func(v *view) error {
				if err := v.m.Lock(background); err != nil {
					return err
				}
				return addAndUnlock(v)
			}},
	}
}

// wants says that an error is not the one that was to come.
func wants(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("it returns %v; want %w", err, want)
	}
	return nil
}

// leaveTorn has a member die in the middle of what the mutex guards: another
// membership of this process, which ends as the segment is closed.
func leaveTorn(a *arena) error {
	v, err := attach(a.s.Path())
	if err != nil {
		return err
	}
	if err := v.join(); err != nil {
		return err
	}
	err = v.m.Lock(background)
	*v.a++
	return errors.Join(err, v.s.Close())
}

// mutexJudge judges the mutex and the two numbers that it guards.
type mutexJudge struct {
	order []string
	adds  uint64 // how often the victim adds to the numbers
}

func (j mutexJudge) stages() []string { return j.order }

func (mutexJudge) begin(*arena) {}

// owner returns who holds the mutex by its word alone.
func (a *arena) owner() life.ID {
	now := a.mutexWord.Load()
	return life.ID{
		Index:      int(now>>layout.MutexStateOwnerShift&layout.MutexStateOwnerMask) - 1,
		Generation: uint32(now >> layout.MutexStateOwnerGenerationShift),
	}
}

func (mutexJudge) stage(a *arena) string {
	holder := a.whose(a.owner())
	switch {
	case a.mutexWord.Load()&layout.MutexStateUnrecoverable != 0:
		return "unrecoverable"
	case holder == victimHolds || holder == deadHolds:
		return "held" // by one who is dead, or can die with it
	}
	return "free" // or a survivor's
}

// answers are what Lock tells the first survivor who asks after a death.
var answers = map[string]string{"free": "ok", "held": "died", "unrecoverable": "unrecoverable"}

// use has a survivor lock the mutex, work, and unlock it.
func (a *arena) use(s *survivor, want string) error {
	if want == "ok" || want == "died" {
		a.used++
	}
	return s.do("use"+patient, want)
}

// awakenUser is awaken of the one who waits for the mutex.
func (a *arena) awakenUser(want string) error {
	if want == "ok" || want == "died" {
		a.used++
	}
	return a.awaken(1, want)
}

func (j mutexJudge) frozen(a *arena, stage string) error {
	holder := a.whose(a.owner())
	gone := a.id != (life.ID{}) && a.table.Gone(a.id) // it has left, though not ended
	switch {
	case holder == victimHolds && !gone:
		st, err := a.m.Status()
		if err != nil || !st.Locked || st.Holder.PID != a.victim.PID() || !st.Holder.Stopped || st.Holder.Gone {
			return fmt.Errorf("the victim is stopped and holds the mutex; its status is %+v, %v", st, err)
		}
		return a.contend()
	case a.held > 0:
		return a.contend()
	case stage == "held": // by one who is gone
		if a.rnd.IntN(2) == 0 {
			return nil // the victim finds it as it is
		}
		return a.use(a.survivors()[0], "died")
	case len(a.parked) > 0:
		if err := a.awakenUser(answers[stage]); err != nil {
			return err
		}
	}
	for _, s := range a.survivors() {
		if err := a.use(s, answers[stage]); err != nil {
			return err
		}
	}
	return nil
}

// contend has the survivors ask for what somebody holds who does not let go.
func (a *arena) contend() error {
	for _, s := range a.survivors() {
		if s.order != "" || (s == a.local && a.held > 0) {
			continue // it waits already, or has it
		}
		if err := s.do("use"+brief, "late"); err != nil {
			return err
		}
	}
	return a.stillParked()
}

func (mutexJudge) resumed(a *arena, _ string) error {
	if a.held == 0 {
		return nil
	}
	a.held = 0
	return a.local.do("unlock", "ok")
}

func (j mutexJudge) after(a *arena, stage string, killed bool) error {
	if !killed {
		stage = j.stage(a)
	}
	if err := j.resumed(a, stage); err != nil {
		return err
	}
	both := a.survivors()
	switch {
	case len(a.parked) > 0:
		if err := a.awakenUser(answers[stage]); err != nil {
			return err
		}
	default:
		if err := a.use(both[0], answers[stage]); err != nil {
			return err
		}
	}
	if stage == "unrecoverable" {
		if err := a.use(both[1], "unrecoverable"); err != nil {
			return err
		}
		if err := both[0].do("recover", "ok"); err != nil {
			return err
		}
	}
	for _, s := range a.survivors() {
		if err := a.use(s, "ok"); err != nil {
			return err
		}
	}
	if word := a.mutexWord.Load(); word != 0 {
		return fmt.Errorf("nobody holds the mutex or waits for it, and its word is %#x", word)
	}
	if *a.a != *a.b {
		return fmt.Errorf("the numbers are %d and %d", *a.a, *a.b)
	}
	// What the victim has added is there once, or not at all.
	by := *a.a - a.a0 - a.used
	if by > j.adds*a.victims || (!killed && by != j.adds) {
		return fmt.Errorf("the survivors have added %d, and all together %d; the victim adds %d", a.used, *a.a-a.a0, j.adds)
	}
	return nil
}
