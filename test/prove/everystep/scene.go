package main

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
)

// scene is the arena with an operation's judge, as package places sees them.
type scene struct {
	*arena
	op *operation
}

func (op *operation) places() *places.Operation {
	return &places.Operation{Name: op.name, Stages: op.judge.stages(), Quiet: op.quiet, Mutant: op.mutant, Stops: op.stops, Twice: op.twice,
		Make: func(rnd *rand.Rand) (places.Scene, error) { return op.scene(rnd) }}
}

func (op *operation) scene(rnd *rand.Rand) (*scene, error) {
	a, err := newArena(rnd)
	if err != nil {
		return nil, err
	}
	if op.joins {
		err = a.allFree()
	} else {
		err = a.onlyFree(a.place)
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return &scene{a, op}, nil
}

// Close ends it.
func (s *scene) Close() int {
	s.close()
	return s.local.late + s.other.late
}

// Begin starts a victim, which stands at the first mark then.
func (s *scene) Begin() (*step.Victim, error) {
	s.forget()
	if err := call(s.op.before, s.arena); err != nil {
		return nil, places.Judged(fmt.Errorf("before the victim: %w", err))
	}
	v, err := s.start()
	if err != nil {
		return nil, err
	}
	err = call(s.op.arrange, s.arena)
	s.a0 = *s.a
	s.op.judge.begin(s.arena)
	if err != nil {
		err = places.Judged(fmt.Errorf("before what the victim does: %w", err))
		return nil, errors.Join(err, v.Kill())
	}
	return v, nil
}

// Another starts another victim, in whatever place it finds.
func (s *scene) Another() (*step.Victim, error) {
	v, err := step.Start(victimName, s.s.Path(), s.op.name)
	if err != nil {
		return nil, err
	}
	s.victim, s.id = v, life.ID{}
	s.identify()
	s.victims++
	return v, nil
}

// start starts the victim, in its place.
func (s *scene) start() (*step.Victim, error) {
	for {
		v, err := step.Start(victimName, s.s.Path(), s.op.name)
		if err != nil {
			return nil, err
		}
		s.victim = v
		s.identify()
		if s.op.joins || s.id.Index == s.place {
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

// Aside says whether somebody else got what the victim was waked for.
func (s *scene) Aside() error {
	for _, p := range s.parked {
		if s.awake && (p.answered() || !step.Sleeps(p.pid, p.thread)) {
			return places.ErrAside
		}
	}
	return nil
}

// Awaken does what a victim waits for that has fallen asleep.
func (s *scene) Awaken() error {
	if s.op.asleep == nil {
		return errors.New("the victim sleeps, and nobody is to wake it")
	}
	if s.awake {
		return places.ErrAside
	}
	s.awake = true
	err := s.op.asleep(s.arena)
	s.op.judge.begin(s.arena)
	return places.Judged(err)
}

// Stage returns the one in which the victim stands.
func (s *scene) Stage() string { return s.op.judge.stage(s.arena) }

// Frozen judges while the victim is stopped.
func (s *scene) Frozen(stage string) error {
	if err := s.op.judge.frozen(s.arena, stage); err != nil {
		return err
	}
	if !s.op.joins && !s.op.leaves && s.table.Gone(s.id) {
		return errors.New("the victim is stopped and counts as gone")
	}
	return nil
}

// Resumed does what the victim needs to come to its end, when it goes on.
func (s *scene) Resumed(stage string) error { return s.op.judge.resumed(s.arena, stage) }

// After judges when the victim is gone.
func (s *scene) After(stage string, killed bool) error {
	return errors.Join(s.gone(), s.op.judge.after(s.arena, stage, killed))
}
