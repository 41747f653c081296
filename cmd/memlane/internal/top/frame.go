// Package top is the live view of a domain: what its topics and processes do just now.
package top

import (
	"cmp"
	"slices"
	"time"

	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/memlane/memlane/inspect"
)

// Frame is what a domain looked like at a moment, and what was done since the one before.
type Frame struct {
	At        time.Time `json:"at"`
	Domain    string    `json:"domain"`
	Topics    []Topic   `json:"topics"`    // by name
	Processes []Process `json:"processes"` // by number
}

// Topic is one of the domain's. What is counted a second is 0 in the first frame.
type Topic struct {
	Name        string       `json:"topic"`
	Publishers  int          `json:"publishers"`
	Subscribers int          `json:"subscribers"`
	Messages    float64      `json:"messages_per_second"`
	Bytes       float64      `json:"bytes_per_second"`
	Lost        float64      `json:"lost_per_second"` // by all subscribers, the mean of ten intervals
	Published   uint64       `json:"published"`       // messages, by the publishers that are there
	Waiting     bool         `json:"waiting"`         // a publisher waits for a subscriber
	Silent      int          `json:"not_answering"`   // publishers and subscribers
	Subscribed  []Subscriber `json:"subscriptions"`   // the slowest first
}

// Subscriber is one of a publisher's.
type Subscriber struct {
	ID        uint64  `json:"-"`
	PID       int     `json:"pid"`                 // 0: not known here
	Program   string  `json:"program"`             // "": unknown
	State     string  `json:"state"`               // of its process
	Received  float64 `json:"received_per_second"` // the mean of ten intervals
	Lag       uint64  `json:"lag"`                 // messages before it
	Behind    float64 `json:"behind_part"`         // of the ring: 1 is all
	Lost      uint64  `json:"lost"`
	Holds     int     `json:"holds"`
	Slow      float64 `json:"slow_seconds"` // 0: it is not
	WaitedFor bool    `json:"waited_for"`
	Note      string  `json:"note"`
}

// Process is one that has opened the domain.
type Process struct {
	PID        int    `json:"pid"` // 0: not known here
	State      string `json:"state"`
	Program    string `json:"program"`
	Publishes  int    `json:"publishes"`  // topics
	Subscribes int    `json:"subscribes"` // topics
}

// Camera takes frames.
type Camera struct {
	Looker *live.Looker             // of all topics
	before map[string][]live.Counts // the last ones, the oldest first
}

// looksOfMean are those whose mean is shown of what subscribers count, which they do only now
// and then while there is more.
const looksOfMean = 10

// Take looks at the domain.
func (c *Camera) Take() (*Frame, error) {
	snapshots, err := c.Looker.Look()
	if err != nil {
		return nil, err
	}
	there, err := inspect.Participants(c.Looker.Domain, c.Looker.Config)
	if err != nil {
		return nil, err
	}
	f := &Frame{At: time.Now(), Domain: c.Looker.Domain, Topics: []Topic{}, Processes: []Process{}}
	now := map[string][]live.Counts{}
	for _, s := range snapshots {
		counts := live.CountsOf(s)
		all := append(c.before[s.Topic], counts)
		all = all[max(0, len(all)-looksOfMean-1):]
		now[s.Topic] = all
		f.Topics = append(f.Topics, topic(s, there, all))
	}
	c.before = now
	for _, p := range there {
		one := Process{PID: p.PID, State: string(p.State), Program: p.Program}
		for _, port := range p.Ports {
			switch port.Role {
			case "publisher":
				one.Publishes++
			case "subscriber":
				one.Subscribes++
			}
		}
		f.Processes = append(f.Processes, one)
	}
	slices.SortStableFunc(f.Processes, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	return f, nil
}

// topic is what a snapshot shows, and what has changed since the ones before, the oldest first
// and its own last.
func topic(s *inspect.Snapshot, there []inspect.Participant, all []live.Counts) Topic {
	t := Topic{Name: s.Topic, Publishers: len(s.Publishers), Subscribed: []Subscriber{}}
	subscribers := map[uint64]bool{}
	for _, w := range s.Waiting {
		subscribers[w.ID] = true
	}
	for _, p := range s.Publishers {
		t.Published += p.Published
		t.Waiting = t.Waiting || p.Waiting
	}
	t.Silent = len(s.Silent)
	for _, silent := range s.Silent {
		if silent.Role == "publisher" { // a subscriber its publisher knows
			t.Publishers++
		}
	}
	now, before, oldest := all[len(all)-1], all[max(0, len(all)-2)], all[0]
	rate := func(n uint64, since live.Counts) float64 {
		seconds := now.At.Sub(since.At).Seconds()
		if seconds <= 0 {
			return 0
		}
		return float64(n) / seconds
	}
	published, _ := now.Since(before)
	_, received := now.Since(oldest)
	t.Messages, t.Bytes, t.Lost = rate(published.Messages, before), rate(published.Bytes, before), rate(received.Lost, oldest)
	for _, l := range live.Lags([]*inspect.Snapshot{s}, there) {
		subscribers[l.ID] = true
		t.Subscribed = append(t.Subscribed, Subscriber{ID: l.ID, PID: l.PID, Program: l.Program, State: l.State,
			Received: rate(now.ReceivedSince(oldest, l.Publisher, l.ID), oldest), Lag: l.Lag, Behind: l.Part(), Lost: l.Lost, Holds: l.Holds,
			Slow: l.Slow.Seconds(), WaitedFor: l.WaitedFor, Note: l.Note()})
	}
	t.Subscribers = len(subscribers)
	return t
}
