package history

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// A call is what a process asks for; the checker's input. Its output is the reply.
type call struct {
	process int
	op      op
	arg     uint32
}

type reply struct {
	answer answer
	out    uint32
}

// A model is a primitive as one process after the other would find it.
type model[S comparable] struct {
	start S
	// step returns what the call, with the reply, makes of the state; false if the
	// reply cannot be.
	step func(s S, c call, r reply) (S, bool)
	// effect returns what the call makes of the state if it succeeds at all; false
	// if it cannot.
	effect func(s S, c call) (S, bool)
	// dead says whether the process has died.
	dead func(s S, process int) bool
}

// checker returns the model in the checker's terms. An operation without an answer
// has its effect or not, but none once its process has died.
func (m model[S]) checker() porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{m.start} },
		Step: func(state, input, output any) []any {
			s, c, r := state.(S), input.(call), output.(reply)
			if r.answer == unknown {
				next := []any{s}
				if after, can := m.effect(s, c); can && !m.dead(s, c.process) && after != s {
					next = append(next, after)
				}
				return next
			}
			if after, can := m.step(s, c, r); can {
				return []any{after}
			}
			return nil
		},
		DescribeOperation: func(input, output any) string { return describe(input.(call), output.(reply)) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
	return nondeterministic.ToModel()
}

func describe(c call, r reply) string {
	s := fmt.Sprintf("%d %v", c.process, c.op)
	if c.arg != 0 {
		s += fmt.Sprintf("(%d)", c.arg)
	}
	s += fmt.Sprintf(" → %v", r.answer)
	if r.out != 0 {
		s += fmt.Sprintf(" %d", r.out)
	}
	return s
}

// A mutexState is a mutex: who holds it, from 1; 0: nobody.
type mutexState struct {
	holder                      int
	inconsistent, unrecoverable bool
	died                        [processes]bool
}

var mutexModel = model[mutexState]{
	dead: func(s mutexState, process int) bool { return s.died[process] },
	step: func(s mutexState, c call, r reply) (mutexState, bool) {
		me := c.process + 1
		after, can := mutexEffect(s, c)
		ofDead := s.holder != 0 && s.died[s.holder-1]
		switch r.answer {
		case ok:
			if (c.op == lock || c.op == tryLock) && ofDead || c.op == unlock && s.inconsistent {
				return s, false // it must be told
			}
			return after, can
		case ownerDied:
			return after, can && ofDead
		case unrecoverable:
			if c.op == unlock {
				return after, can && s.inconsistent
			}
			return s, s.unrecoverable
		case busy:
			return s, s.holder != 0 && !ofDead
		case notOwner:
			return s, s.holder != me
		case invalid:
			return s, !s.unrecoverable
		case late:
			return s, true
		}
		return s, false
	},
	effect: mutexEffect,
}

func mutexEffect(s mutexState, c call) (mutexState, bool) {
	me := c.process + 1
	switch c.op {
	case lock, tryLock:
		ofDead := s.holder != 0 && s.died[s.holder-1]
		if s.unrecoverable || (s.holder != 0 && !ofDead) {
			return s, false
		}
		s.holder, s.inconsistent = me, s.inconsistent || ofDead
	case unlock:
		if s.holder != me {
			return s, false
		}
		s.holder, s.unrecoverable, s.inconsistent = 0, s.inconsistent, false
	case consistent:
		if s.holder != me {
			return s, false
		}
		s.inconsistent = false
	case recoverIt:
		if !s.unrecoverable {
			return s, false
		}
		s.holder, s.unrecoverable, s.inconsistent = me, false, true
	case die:
		s.died[c.process] = true
	}
	return s, true
}

// A semaphoreState is a semaphore: free permits, and what each process holds. What
// one that dies held is free from then on.
type semaphoreState struct {
	free int
	held [processes]int
	died [processes]bool
}

var semaphoreModel = model[semaphoreState]{
	dead: func(s semaphoreState, process int) bool { return s.died[process] },
	step: func(s semaphoreState, c call, r reply) (semaphoreState, bool) {
		switch r.answer {
		case ok:
			return semaphoreEffect(s, c)
		case busy:
			return s, s.free == 0
		case notHeld:
			return s, s.held[c.process] == 0
		case late:
			return s, true
		}
		return s, false
	},
	effect: semaphoreEffect,
}

func semaphoreEffect(s semaphoreState, c call) (semaphoreState, bool) {
	switch c.op {
	case acquire, tryAcquire:
		s.free--
		s.held[c.process]++
	case waitFor, tryWait:
		s.free--
	case release:
		s.free++
		s.held[c.process]--
	case post:
		s.free += int(c.arg)
	case die:
		s.free += s.held[c.process]
		s.held[c.process] = 0
		s.died[c.process] = true
	}
	return s, s.free >= 0 && s.held[c.process] >= 0
}

// An eventState is an event of either kind.
type eventState struct {
	set   bool
	count uint32
	died  [processes]bool
}

// eventModel is that of manual or automatic events. That a manual event was set and
// reset while somebody waited lets him go too, and needs no words of its own: his
// wait can stand between the two.
func eventModel(automatic bool) model[eventState] {
	effect := func(s eventState, c call) (eventState, bool) {
		switch c.op {
		case set:
			s.set = true
			s.count++
		case reset:
			s.set = false
		case waitFor, tryWait:
			if !s.set {
				return s, false
			}
			s.set = !automatic
		case die:
			s.died[c.process] = true
		}
		return s, true
	}
	return model[eventState]{
		dead:   func(s eventState, process int) bool { return s.died[process] },
		effect: effect,
		step: func(s eventState, c call, r reply) (eventState, bool) {
			switch {
			case r.answer == late:
				return s, true
			case r.answer == no:
				return s, !s.set
			case r.answer != ok:
				return s, false
			case c.op == count && s.count != r.out, c.op == waitAfter && (s.count != r.out || s.count == c.arg):
				return s, false
			}
			return effect(s, c)
		},
	}
}
