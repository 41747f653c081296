package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/memlane/memlane/shmsync"
)

// A turn waits until it is this side's, and makes it the other's.
type turn struct {
	get, give func() error
}

// round gives the turn, and gets it back.
func (t turn) round() error {
	if err := t.give(); err != nil {
		return err
	}
	return t.get()
}

// ringMutexes are walked by two processes hand over hand: each step needs the
// mutex that the other one's last step has let go. So a lock is waited for and
// handed over once for each turn, and nobody can be faster than who was waiting.
const ringMutexes = 3

// turnBy prepares this side's turn. The first turn is that of side 0.
func (j job) turnBy(a *arena) (turn, error) {
	none := func(err error) (turn, error) { return turn{}, err }
	switch j.kind {
	case "semaphore":
		var s [2]*shmsync.Semaphore
		var err error
		for i := range s {
			if s[i], err = a.semaphore(i); err != nil {
				return none(err)
			}
		}
		if j.side == 0 {
			err = s[0].Post(1)
		}
		return turn{
			func() error { return s[j.side].Wait(background) },
			func() error { return s[1-j.side].Post(1) },
		}, err
	case "event":
		var e [2]*shmsync.Event
		var err error
		for i := range e {
			if e[i], err = a.event(i); err != nil {
				return none(err)
			}
		}
		if j.side == 0 {
			err = e[0].Set()
		}
		return turn{
			func() error { return e[j.side].Wait(background) },
			func() error { return e[1-j.side].Set() },
		}, err
	case "mutex":
		var m [ringMutexes]*shmsync.Mutex
		var err error
		for i := range m {
			if m[i], err = a.mutex(i); err != nil {
				return none(err)
			}
		}
		at := 1 - j.side
		return turn{
			func() error { return m[(at+1)%ringMutexes].Lock(background) },
			func() error {
				err := m[at].Unlock()
				at = (at + 1) % ringMutexes
				return err
			},
		}, m[at].Lock(background)
	}
	return none(fmt.Errorf("there is no kind %q", j.kind))
}

const samplesMax = 200_000

// handoff is one side of a pair. It prints how many turns it had, and side 0 the
// time of each round trip, all as numbers of the machine.
func (j job) handoff() error {
	a, err := attachArena(j.path)
	if err != nil {
		return err
	}
	t, err := j.turnBy(a)
	if err != nil {
		return err
	}
	a.ready[j.side].Store(1)
	for a.ready[1-j.side].Load() == 0 {
		time.Sleep(50 * time.Microsecond)
	}
	var total uint64
	var samples []uint32
	if j.side == 0 {
		total, samples, err = j.measure(a, t)
	} else {
		total, err = j.answer(a, t)
	}
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	binary.Write(out, binary.LittleEndian, total)
	binary.Write(out, binary.LittleEndian, samples)
	return out.Flush()
}

func (j job) answer(a *arena, t turn) (total uint64, err error) {
	for {
		if err := t.get(); err != nil {
			return total, err
		}
		if a.stop.Load() != 0 {
			return total, nil
		}
		total++
		*a.turns++
		if err := t.give(); err != nil {
			return total, err
		}
	}
}

func (j job) measure(a *arena, t turn) (total uint64, samples []uint32, err error) {
	// The first round trip is from when both are there.
	if err := t.get(); err != nil {
		return 0, nil, err
	}
	if err := t.round(); err != nil {
		return 0, nil, err
	}
	total = 1
	samples = make([]uint32, 0, samplesMax)
	warm := j.length / 5
	begun := time.Now()
	// Where there is too much to do one round trip can take longer than all are to.
	for at := time.Duration(0); (at < warm+j.length || len(samples) == 0) && len(samples) < samplesMax; {
		*a.turns++
		if err := t.round(); err != nil {
			return 0, nil, err
		}
		total++
		after := time.Since(begun)
		if at > warm {
			samples = append(samples, uint32(min(after-at, math.MaxUint32)))
		}
		at = after
	}
	a.stop.Store(1)
	return total, samples, t.give()
}
