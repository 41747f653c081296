package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/memlane/memlane/test/prove/step"
)

// An operation is what a victim does between the marks, and what surrounds it.
type operation struct {
	name string

	// In the victim.
	prepare func(v *view) error            // before the first mark
	act     func(v *view) error            // between the marks
	finish  func(v *view, err error) error // afterwards, if it may: err is what act has returned

	// In the conductor; nil: nothing.
	before  func(a *arena) error // while there is no victim yet
	arrange func(a *arena) error // while it stands at the first mark
	asleep  func(a *arena) error // when it has fallen asleep: what it waits for

	// It clears up after the dead, and does not care in which state of that it finds all.
	repairs bool

	judge  judge
	quiet  bool // it must make no system call
	joins  bool // the victim is no member before the first mark
	leaves bool // nor at the second
	mutant bool // the victim breaks the rules, and the judge must notice
	stops  bool // of a mutant: it is stopped too, not only killed
	twice  bool // two victims are killed: see package places
}

// A judge tells whether all is right in the arena.
type judge interface {
	// stages are what can have become of the operation, in the order in which it
	// goes through them.
	stages() []string
	// begin notes how all is before what the victim does next.
	begin(a *arena)
	// stage returns the one in which the victim stands.
	stage(a *arena) string
	// frozen judges while the victim is stopped.
	frozen(a *arena, stage string) error
	// resumed does what the victim needs to come to its end, when it goes on.
	resumed(a *arena, stage string) error
	// after judges when the victim is gone, and leaves all as it was before it.
	// killed says that it was killed in the stage; otherwise it has come to its
	// end.
	after(a *arena, stage string, killed bool) error
}

// operations are all, the mutants first.
func operations() []*operation {
	all := slices.Concat(mutants(), mutexOperations(), guardOperations(), signalOperations(), eventOperations(), nameOperations())
	for _, op := range all {
		if op.repairs {
			pair := *op
			pair.name, pair.twice, pair.quiet = op.name+pairs, true, false
			all = append(all, &pair)
		}
	}
	return all
}

// pairs is the end of the name of an operation of which two victims are killed.
const pairs = ": two"

func operationCalled(name string) (*operation, error) {
	for _, op := range slices.Concat(operations(), extras()) {
		if op.name == name {
			return op, nil
		}
	}
	return nil, fmt.Errorf("no operation is called %q", name)
}

const victimName = "victim"

// beVictim is the victim process: args are the segment and the operation.
func beVictim(args []string) error {
	op, err := operationCalled(args[1])
	if err != nil {
		return err
	}
	v, err := attach(args[0])
	if err != nil {
		return err
	}
	if !op.joins {
		if err := v.join(); err != nil {
			return err
		}
	}
	if op.prepare != nil {
		if err := op.prepare(v); err != nil {
			return fmt.Errorf("prepare %q: %w", op.name, err)
		}
	}
	step.Begin()
	err = op.act(v)
	step.End()
	if op.finish != nil {
		err = op.finish(v, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op.name, err)
	}
	if op.leaves {
		return nil
	}
	return v.s.Close()
}

const (
	dieHoldingMutex   = "die holding the mutex"
	dieHoldingPermits = "die holding all permits"
)

// extras are the victims of operations that need a death before their own.
func extras() []*operation {
	nothing := func(*view) error { return nil }
	return []*operation{
		{name: dieHoldingMutex, act: nothing, prepare: func(v *view) error {
			if err := v.m.Lock(background); err != nil {
				return err
			}
			*v.a++
			return nil
		}},
		{name: dieHoldingPermits, act: nothing, prepare: func(v *view) error {
			for range permits {
				if err := v.guard.Acquire(background); err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

// death has a process die that holds something, in the place that the victim gets
// after it, or in another, which stays free.
func (a *arena) death(name string, same bool) error {
	if same {
		return a.die(name, a.place)
	}
	if err := a.onlyFree(a.grave); err != nil {
		return err
	}
	return errors.Join(a.die(name, a.grave), a.onlyFree(a.place, a.grave))
}

func (a *arena) die(name string, place int) error {
	v, err := step.Start(victimName, a.s.Path(), name)
	if err != nil {
		return err
	}
	if who := a.owner(); name == dieHoldingMutex && who.Index != place {
		err = fmt.Errorf("member %d holds the mutex; want %d", who.Index, place)
	}
	return errors.Join(err, v.Kill())
}
