package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/pubsub"
)

// snapshotJSON is how stat -o json shows a topic. Identities are hexadecimal, as they
// are too large for the numbers of JSON.
type snapshotJSON struct {
	Topic      string           `json:"topic"`
	At         time.Time        `json:"at"`
	Publishers []publisherJSON  `json:"publishers"`
	Waiting    []subscriberJSON `json:"subscribers_without_publisher"`
	Silent     []silentJSON     `json:"not_answering"`
}

type publisherJSON struct {
	ID            string             `json:"id"`
	PID           int                `json:"pid"` // 0: not known here
	Policy        string             `json:"policy"`
	Slots         int                `json:"slots"`
	SlotBytes     int                `json:"slot_bytes"`
	ArenaBytes    uint64             `json:"arena_bytes"`
	Published     uint64             `json:"published"`
	Waiting       bool               `json:"waiting"`
	Blocked       uint64             `json:"blocked"`
	Wakes         uint64             `json:"wakes"`
	Evicted       uint64             `json:"evicted"`
	Rate          *float64           `json:"published_per_second,omitempty"` // since the last time
	Subscriptions []subscriptionJSON `json:"subscriptions"`
	Refused       []refusalJSON      `json:"refused"`
}

type subscriberJSON struct {
	ID  string `json:"id"`
	PID int    `json:"pid"`
}

type subscriptionJSON struct {
	subscriberJSON
	Received  uint64   `json:"received"`
	Lost      uint64   `json:"lost"`
	Lag       uint64   `json:"lag"`
	Behind    uint64   `json:"slots_behind"`
	Holds     int      `json:"holds"`
	Asleep    bool     `json:"asleep"`
	Peeks     bool     `json:"peeks"`
	Answering bool     `json:"answering"`
	Rate      *float64 `json:"received_per_second,omitempty"`
}

type refusalJSON struct {
	subscriberJSON
	Reason string `json:"reason"`
}

type silentJSON struct {
	Role string `json:"role"`
	PID  int    `json:"pid"`
}

// snapshotToJSON adds rates, if there is an earlier snapshot.
func snapshotToJSON(s, before *inspect.Snapshot) snapshotJSON {
	j := snapshotJSON{Topic: s.Topic, At: s.At, Publishers: []publisherJSON{}, Waiting: []subscriberJSON{}, Silent: []silentJSON{}}
	earlier := map[string]uint64{} // what was counted, by identity
	var took time.Duration
	if before != nil {
		took = s.At.Sub(before.At)
		for _, p := range before.Publishers {
			earlier[hex(p.ID)] = p.Published
			for _, sub := range p.Subscriptions {
				earlier[hex(p.ID)+hex(sub.ID)] = sub.Received
			}
		}
	}
	rate := func(identity string, now uint64) *float64 {
		then, known := earlier[identity]
		if !known || now < then || took <= 0 {
			return nil
		}
		r := float64(now-then) / took.Seconds()
		return &r
	}
	for _, p := range s.Publishers {
		one := publisherJSON{
			ID: hex(p.ID), PID: p.PID, Policy: policyName(p.Policy), Slots: p.Slots, SlotBytes: p.SlotBytes, ArenaBytes: p.ArenaBytes,
			Published: p.Published, Waiting: p.Waiting, Blocked: p.Blocked, Wakes: p.Wakes, Evicted: p.Evicted,
			Rate: rate(hex(p.ID), p.Published), Subscriptions: []subscriptionJSON{}, Refused: []refusalJSON{},
		}
		for _, sub := range p.Subscriptions {
			one.Subscriptions = append(one.Subscriptions, subscriptionJSON{
				subscriberJSON: subscriberJSON{hex(sub.ID), sub.PID}, Received: sub.Received, Lost: sub.Lost, Lag: sub.Lag, Behind: sub.Behind,
				Holds: sub.Holds, Asleep: sub.Asleep, Peeks: sub.Peeks, Answering: !sub.Silent, Rate: rate(hex(p.ID)+hex(sub.ID), sub.Received),
			})
		}
		for _, r := range p.Refused {
			one.Refused = append(one.Refused, refusalJSON{subscriberJSON{hex(r.ID), r.PID}, r.Reason})
		}
		j.Publishers = append(j.Publishers, one)
	}
	for _, sub := range s.Waiting {
		j.Waiting = append(j.Waiting, subscriberJSON{hex(sub.ID), sub.PID})
	}
	for _, silent := range s.Silent {
		j.Silent = append(j.Silent, silentJSON(silent))
	}
	return j
}

func hex(id uint64) string { return fmt.Sprintf("%016x", id) }

// policyName returns the policy as --policy has it.
func policyName(p pubsub.Policy) string {
	if p == pubsub.Block || p == pubsub.DropOldest {
		flag := policyFlag(p)
		return flag.String()
	}
	return p.String()
}

// print shows the topic as tables.
func (j *snapshotJSON) print(out io.Writer, rates bool) error {
	fmt.Fprintf(out, "topic %s\n", printable(j.Topic))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...any) {
		for i, c := range cells {
			sep := "\t"
			if i == 0 {
				sep = "  "
			}
			fmt.Fprint(w, sep, c)
		}
		fmt.Fprintln(w)
	}
	row := func(rate *float64, cells ...any) {
		if rates {
			cells = append(cells, perSecond(rate))
		}
		line(cells...)
	}
	head := func(names ...any) {
		if rates {
			names = append(names, "MESSAGES/S")
		}
		line(names...)
	}
	if len(j.Publishers) > 0 {
		head("PUBLISHER", "PROCESS", "POLICY", "SLOTS", "ARENA", "PUBLISHED", "BLOCKED", "WAKES", "EVICTED", "STATE")
	}
	subscriptions := 0
	for _, p := range j.Publishers {
		state := "-"
		if p.Waiting {
			state = "waiting"
		}
		row(p.Rate, p.ID, process(p.PID), p.Policy, fmt.Sprintf("%d of %d B", p.Slots, p.SlotBytes), humanize.IBytes(p.ArenaBytes),
			p.Published, p.Blocked, p.Wakes, p.Evicted, state)
		subscriptions += len(p.Subscriptions) + len(p.Refused)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if subscriptions+len(j.Waiting) > 0 {
		head("SUBSCRIBER", "PROCESS", "OF PUBLISHER", "RECEIVED", "LOST", "LAG", "BEHIND", "HOLDS", "STATE")
	}
	for _, p := range j.Publishers {
		for _, s := range p.Subscriptions {
			row(s.Rate, s.ID, process(s.PID), p.ID, s.Received, s.Lost, s.Lag, s.Behind, s.Holds, s.state())
		}
	}
	for _, p := range j.Publishers {
		for _, r := range p.Refused {
			row(nil, r.ID, process(r.PID), p.ID, "-", "-", "-", "-", "-", "refused")
		}
	}
	for _, s := range j.Waiting {
		row(nil, s.ID, process(s.PID), "-", "-", "-", "-", "-", "-", "no publisher")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := j.printRefusals(out); err != nil {
		return err
	}
	for _, s := range j.Silent {
		if _, err := fmt.Fprintf(out, "  a %s does not answer: process %s; it is stopped, or about to end\n", s.Role, process(s.PID)); err != nil {
			return err
		}
	}
	return nil
}

// printRefusals says why, which is too long for a table.
func (j *snapshotJSON) printRefusals(out io.Writer) error {
	for _, p := range j.Publishers {
		for _, r := range p.Refused {
			if _, err := fmt.Fprintf(out, "  publisher %s refuses subscriber %s: %s\n", p.ID, r.ID, graphic(r.Reason)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *subscriptionJSON) state() string {
	state := "awake"
	if s.Asleep {
		state = "asleep"
	}
	if !s.Answering {
		state = "does not answer"
	}
	if s.Peeks {
		state += ", peeks"
	}
	return state
}

func process(pid int) string {
	if pid == 0 {
		return "?"
	}
	return strconv.Itoa(pid)
}

func perSecond(rate *float64) string {
	if rate == nil {
		return "-"
	}
	return humanize.Comma(int64(*rate))
}
