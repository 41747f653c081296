package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	bareFutex = "bare futex"
	bareSpin  = "bare cache line, spinning"

	handoffLimit = 1.2
)

var handoffContenders = []contender{
	{name: bareFutex, kind: "futex", inC: true},
	{name: bareSpin, kind: "spin", inC: true},
	{name: semT, kind: "sem", inC: true},
	{name: robustMutex, kind: "robust", inC: true},
	{name: "shmsync.Semaphore", kind: "semaphore"},
	{name: "shmsync.Event", kind: "event"},
	{name: "shmsync.Mutex", kind: "mutex"},
}

// contendersAt returns who can be measured in a placement. Two that spin need two
// processors. Package wait does not spin in a process that has one processor only,
// so parked only differs from as it is where there are more.
func contendersAt(p placement) (list []contender) {
	for _, c := range handoffContenders {
		if c.kind == "spin" && p.name == "same" {
			continue
		}
		list = append(list, c)
		if p.name == "free" && !c.inC {
			c.name, c.env = c.name+", parked only", goParked
			list = append(list, c)
		}
	}
	return list
}

// handoff measures how long it takes two processes to give each other their turn,
// and get it back.
func (b *bench) handoff() error {
	type place struct {
		placement
		list  []contender
		found map[string]*latencies
	}
	var places []place
	all, missing := placements(b.machine)
	for _, p := range all {
		list := b.chosen("handoff", p.name, contendersAt(p), bareFutex, bareSpin)
		found := map[string]*latencies{}
		for _, c := range list {
			found[c.name] = &latencies{}
		}
		places = append(places, place{p, list, found})
	}
	for range b.pace.rounds {
		for _, p := range places {
			for _, c := range p.list {
				samples, err := b.turns(c, p.placement)
				if err != nil {
					return err
				}
				p.found[c.name].add(samples)
			}
		}
	}
	for _, p := range places {
		var results []result
		for _, c := range p.list {
			l := p.found[c.name]
			r := result{Name: "handoff", Peer: c.name, Placement: p.name}
			l.fill(&r)
			if by := p.found[bareFutex]; by != nil {
				r.against(bareFutex, ratios(l.medians, by.medians))
				if !c.inC {
					b.report.judge("hand-off ≤ 1.2 × "+bareFutex, c.name, p.name, r.Ratio, handoffLimit)
				}
			}
			if by := p.found[bareSpin]; by != nil {
				r.beside(bareSpin, ratios(l.medians, by.medians))
			}
			results = append(results, r)
		}
		if len(results) > 0 {
			columns := []column{peerColumn, p50Column, p99Column, p999Column, maxColumn, nColumn, ratioColumn}
			if p.found[bareSpin] != nil {
				columns = append(columns, besideColumn(bareSpin))
			}
			b.report.table("Hand-off and back between two processes, "+where[p.name]+"; ratio to the "+bareFutex, columns, results)
		}
	}
	if missing != "" {
		b.report.note(missing)
	}
	return nil
}

// where says what the placements are.
var where = map[string]string{
	"same": "both on one processor",
	"two":  "each on a processor of its own",
	"free": "wherever the kernel puts them",
}

// turns has one pair of processes take turns, once, and returns how long each
// round trip took.
func (b *bench) turns(c contender, p placement) (samples []uint32, err error) {
	a, err := b.prepare(c)
	if err != nil {
		return nil, err
	}
	var sides [2]*process
	for i := range sides {
		side := 1 - i // who answers first
		if sides[side], err = b.start(task{"handoff", side, a.Path(), b.pace.handoff, p.sides[side], c}); err != nil {
			return nil, err
		}
		defer sides[side].kill()
	}
	var counts [2]uint64
	for i, side := range sides {
		out, err := side.end()
		if err != nil {
			return nil, err
		}
		if len(out) < 8 {
			return nil, side.failed(errors.New("it did not say how many turns it took"))
		}
		counts[i], out = binary.LittleEndian.Uint64(out), out[8:]
		if i == 0 {
			for ; len(out) >= 4; out = out[4:] {
				samples = append(samples, binary.LittleEndian.Uint32(out))
			}
		}
	}
	bare := c.kind == "futex" || c.kind == "spin"
	if err := tookTurns(counts, *a.turns, bare); err != nil {
		return nil, fmt.Errorf("hand-off by %s: %w", c.name, err)
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("hand-off by %s: no round trip within %v", c.name, b.pace.handoff)
	}
	return samples, b.discard(a)
}

// tookTurns says whether two sides have: each has counted in its own memory, and
// together in what they share, except in the first turn, and where nothing but the
// word passes between them.
func tookTurns(counts [2]uint64, shared uint64, bare bool) error {
	if counts[0] != counts[1] || (!bare && shared != counts[0]+counts[1]-1) {
		return fmt.Errorf("%d and %d turns, and %d in the memory that is shared: they did not take turns", counts[0], counts[1], shared)
	}
	return nil
}
