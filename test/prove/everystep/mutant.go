package main

import (
	"encoding/binary"

	"github.com/memlane/memlane/internal/layout"
)

// mutants are victims that break the rules, to show that the judges can fail: what
// they leave behind must be found wrong at one place at least.
func mutants() []*operation {
	return []*operation{
		{name: "mutant: unlocks in the middle", mutant: true, stops: true,
			judge: mutexJudge{[]string{"free", "held", "free"}, 1},
			act: func(v *view) error {
				if err := v.m.Lock(background); err != nil {
					return err
				}
				*v.a++
				v.mutexWord.Store(0)
				*v.b++
				return nil
			}},
		{name: "mutant: locks for somebody else", mutant: true, judge: mutexJudge{[]string{"free"}, 0},
			// The word that the conductor would lock it with, which holds it now.
			arrange: func(a *arena) error {
				if err := a.local.do("lock", "ok"); err != nil {
					return err
				}
				*a.a, *a.b = a.mutexWord.Load(), a.mutexWord.Load()
				a.a0 = *a.a
				return a.local.do("unlock", "ok")
			},
			act: func(v *view) error {
				v.mutexWord.Store(*v.a)
				return nil
			}},
		{name: "mutant: takes a permit by hand", mutant: true,
			judge: guardJudge{[]string{"not yet", "acquired"}, []int{0, 1}},
			act: func(v *view) error {
				v.guardWord.Add(^uint64(0))
				return nil
			}},
		{name: "mutant: posts twice", mutant: true,
			judge: signalJudge{[]string{"not yet", "done"}, []int{0, 1}},
			act: func(v *view) error {
				if err := v.signal.Post(1); err != nil {
					return err
				}
				return v.signal.Post(1)
			}},
		{name: "mutant: resets what it has set", mutant: true, judge: eventJudge{order: []string{"not yet", "set"}, gives: true},
			act: func(v *view) error {
				if err := v.manual.Set(); err != nil {
					return err
				}
				return v.manual.Reset()
			}},
		{name: "mutant: leaves while it lives", mutant: true, stops: true, judge: mutexJudge{[]string{"free"}, 0},
			act: func(v *view) error { return v.s.Close() }},
		{name: "mutant: makes a name before what it names", mutant: true, stops: true,
			before: func(a *arena) error { return nameOperations()[0].before(a) },
			judge:  namesJudge{[]string{"not yet", "there"}},
			act: func(v *view) error {
				at := areaAt + layout.AreaNamesAt + layout.NameBytes
				entry := v.s.Bytes()[at : at+layout.NameBytes]
				object := v.s.Bytes()[areaAt+layout.AreaHeapAt+layout.MutexBytes:]
				binary.LittleEndian.PutUint32(entry[layout.NameKindAt:], layout.KindSemaphore)
				binary.LittleEndian.PutUint32(entry[layout.NameOffsetAt:], layout.AreaHeapAt+layout.MutexBytes)
				copy(entry[layout.NameTextAt:], victimsName)
				binary.LittleEndian.PutUint64(object[layout.SemaphoreStateAt:], victimsPermits)
				binary.LittleEndian.PutUint32(object[layout.SemaphoreKindAt:], layout.KindSemaphore)
				return nil
			}},
	}
}
