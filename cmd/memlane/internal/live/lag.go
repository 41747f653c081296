package live

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/memlane/memlane/inspect"
)

// Lag is how far a subscriber is behind a publisher.
type Lag struct {
	Topic         string
	ID, Publisher uint64
	PID           int    // 0: not known here
	Program       string // "": unknown
	State         string // of its process
	Lag, Behind   uint64 // messages, and slots, that are before it
	Slots         int    // that the ring has
	Lost          uint64 // messages, as far as it has found out
	Dropped       uint64 // slots that were dropped before it came to them, which it has not found out yet
	Holds         int
	Slow          time.Duration // for how long it has been; 0: it is not
	WaitedFor     bool          // by the publisher, which can publish nothing until it goes on
	Peeks         bool
}

// Part is how much of the ring is before it: 1 is all.
func (l *Lag) Part() float64 { return float64(l.Behind) / float64(max(l.Slots, 1)) }

// Note says what is to be said besides; "" if there is nothing.
func (l *Lag) Note() string {
	switch {
	case l.WaitedFor:
		return "its publisher waits for it"
	case l.Holds >= inspect.HoldsMost:
		return fmt.Sprintf("has borrowed %d messages, all that it may", l.Holds)
	case l.Dropped > 0:
		return "loses messages"
	case l.Peeks:
		return "peeks"
	}
	return ""
}

// Lags returns the subscribers of topics, the slowest first: those that are waited for, then
// by how much of the ring is before them. What is known of the domain's participants says
// what their processes are.
func Lags(snapshots []*inspect.Snapshot, there []inspect.Participant) []Lag {
	processes := map[int]inspect.Participant{}
	for _, p := range there {
		if p.PID != 0 {
			processes[p.PID] = p
		}
	}
	var list []Lag
	for _, snap := range snapshots {
		for _, p := range snap.Publishers {
			var most uint64
			for _, s := range p.Subscriptions {
				if !s.Peeks {
					most = max(most, s.Behind)
				}
			}
			for _, s := range p.Subscriptions {
				process := processes[s.PID]
				state := string(cmp.Or(process.State, inspect.Unknown))
				if s.Silent && process.State != inspect.Stopped {
					state = "does not answer"
				}
				list = append(list, Lag{Topic: snap.Topic, ID: s.ID, Publisher: p.ID, PID: s.PID, Program: process.Program, State: state,
					Lag: s.Lag, Behind: s.Behind, Slots: p.Slots, Lost: s.Lost, Dropped: s.Dropped, Holds: s.Holds, Slow: s.Slow, Peeks: s.Peeks,
					// Who waits does so for room, of which those that are the most behind have none.
					WaitedFor: p.Waiting && !s.Peeks && s.Behind == most && most > 0})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Lag) int {
		if a.WaitedFor != b.WaitedFor {
			if a.WaitedFor {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Part(), a.Part()), cmp.Compare(b.Slow, a.Slow), cmp.Compare(b.Lost, a.Lost),
			cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID))
	})
	return list
}
