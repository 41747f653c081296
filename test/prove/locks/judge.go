package main

import (
	"context"
	"errors"
	"time"

	"github.com/memlane/memlane/shmsync"
	"github.com/memlane/memlane/test/prove/rounds"
)

// A span is what is known of a number: it lies between the two, both included. What
// was acknowledged has happened; what was begun and not acknowledged, by somebody
// who was killed, may have.
type span struct{ least, most uint64 }

// sums are the accounts of all incarnations of a round.
type sums struct {
	sections, posts, takes, sets, rings, answers span

	deaths, abandoned, recovered, guarded, late uint64
	named                                       uint64
	steps                                       uint64
}

// sum adds up the ledger.
func (l *ledger) sum() (s sums) {
	for i := range l.Entries {
		e := &l.Entries[i]
		for _, c := range []struct {
			of  *count
			all *span
		}{{&e.sections, &s.sections}, {&e.posts, &s.posts}, {&e.takes, &s.takes}, {&e.sets, &s.sets}, {&e.rings, &s.rings}, {&e.answers, &s.answers}} {
			c.all.least += c.of.acknowledged.Load()
			c.all.most += c.of.begun.Load()
		}
		s.deaths += e.deaths.Load()
		s.abandoned += e.abandoned.Load()
		s.recovered += e.recovered.Load()
		s.guarded += e.guarded.Load()
		s.late += e.late.Load()
		s.named |= e.named.Load()
		s.steps += e.steps.Load()
	}
	return s
}

// left is what is found in the segment when all workers have ended.
type left struct {
	a           uint64 // sections that the mutex has guarded
	permits     uint64 // of the signal
	set, rung   uint64 // counts of the events
	isRung      bool   // the automatic event is set
	guardTaken  int    // permits of the guard that could be acquired at once
	guardPosted int    // those that are free when they are released
}

// judge holds what was found against the accounts:
//
//   - Mutex: as many sections as were acknowledged, and at most as many more as
//     were begun by those who were killed in them. One less is a lost update, and
//     so were two inside at once; one more is one that nobody made.
//   - Guard: exactly its permits can be acquired, and are free afterwards.
//   - Signal: permits that are left and that were taken are those that were posted.
//   - Events: their counts are the times they were set. The automatic one was
//     taken no more often than it was set, once less if it still is.
func judge(s sums, l left) error {
	var all []error
	check := func(ok bool, kind, format string, args ...any) {
		if !ok {
			all = append(all, rounds.Breaks(kind, format, args...))
		}
	}
	check(l.a >= s.sections.least, sectionLost, "%d counted, %d to %d made", l.a, s.sections.least, s.sections.most)
	check(l.a <= s.sections.most, sectionMadeUp, "%d counted, %d to %d made", l.a, s.sections.least, s.sections.most)
	check(l.guardTaken >= permits && l.guardPosted >= permits, permitLost, "%d can be acquired, then %d are free; want %d", l.guardTaken, l.guardPosted, permits)
	check(l.guardTaken <= permits && l.guardPosted <= permits, permitMadeUp, "%d can be acquired, then %d are free; want %d", l.guardTaken, l.guardPosted, permits)
	check(l.permits+s.takes.most >= s.posts.least, signalLost, "%d left, %d to %d taken, %d to %d posted", l.permits, s.takes.least, s.takes.most, s.posts.least, s.posts.most)
	check(l.permits+s.takes.least <= s.posts.most, signalMadeUp, "%d left, %d to %d taken, %d to %d posted", l.permits, s.takes.least, s.takes.most, s.posts.least, s.posts.most)
	for _, e := range []struct {
		name  string
		count uint64
		sets  span
	}{{"manual", l.set, s.sets}, {"automatic", l.rung, s.rings}} {
		check(e.count >= e.sets.least, eventLost, "%s: %d counted, %d to %d set", e.name, e.count, e.sets.least, e.sets.most)
		check(e.count <= e.sets.most, eventMadeUp, "%s: %d counted, %d to %d set", e.name, e.count, e.sets.least, e.sets.most)
	}
	taken := s.answers.least
	if l.isRung {
		taken++
	}
	check(taken <= l.rung, eventMadeUp, "automatic: taken, or still set, %d times, set %d", taken, l.rung)
	return errors.Join(all...)
}

// take finds what is left. Everything that it waits for must be free at once, or
// when the deaths of those who had it are noticed: within the patience.
func (a *arena) take(patience time.Duration, survivors []*arena) (l left, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = a.mutex.Lock(ctx)
	whole := err == nil
	if errors.Is(err, shmsync.ErrUnrecoverable) {
		err = a.mutex.Recover()
	}
	g := a.guarded
	switch {
	case err != nil && !errors.Is(err, shmsync.ErrOwnerDied):
		return l, rounds.Breaks(rounds.Stuck, "lock at the end: %v", err)
	case g.a != g.b && (whole || g.a != g.b+1):
		return l, rounds.Breaks(torn, "%d and %d are left, whole: %v", g.a, g.b, whole)
	}
	l.a = g.a
	if err := errors.Join(a.mutex.Consistent(), a.mutex.Unlock()); err != nil {
		return l, failed("unlock at the end", err)
	}

	if l.guardTaken, l.guardPosted, err = takeGuard(ctx, survivors); err != nil {
		return l, err
	}
	for err = a.signal.TryWait(); err == nil; err = a.signal.TryWait() {
		l.permits++
	}
	if !errors.Is(err, shmsync.ErrBusy) {
		return l, failed("take at the end", err)
	}
	set, err := a.manual.Status()
	if err != nil {
		return l, failed("look at the manual event", err)
	}
	rung, err := a.auto.Status()
	if err != nil {
		return l, failed("look at the automatic event", err)
	}
	l.set, l.rung, l.isRung = uint64(set.Count), uint64(rung.Count), rung.Set
	return l, nil
}

// takeGuard has each survivor acquire a permit and then one more; these must be
// one too many. It returns how many were had, and how many are free when they are
// released.
func takeGuard(ctx context.Context, survivors []*arena) (taken, free int, err error) {
	var held []*shmsync.Semaphore
	for _, s := range survivors {
		err := s.guard.Acquire(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return 0, 0, failed("acquire at the end", err)
		}
		held = append(held, s.guard)
	}
	for _, s := range survivors {
		err := s.guard.TryAcquire()
		if errors.Is(err, shmsync.ErrBusy) {
			continue
		}
		if err != nil {
			return 0, 0, failed("acquire at the end", err)
		}
		held = append(held, s.guard)
	}
	for _, g := range held {
		if err := g.Release(); err != nil {
			return 0, 0, failed("release at the end", err)
		}
	}
	st, err := survivors[0].guard.Status()
	if err != nil {
		return 0, 0, failed("look at the guard", err)
	}
	if len(st.Holders) > 0 {
		return 0, 0, rounds.Breaks(permitLost, "all are released, and %v still hold some", st.Holders)
	}
	return len(held), st.Permits, nil
}
