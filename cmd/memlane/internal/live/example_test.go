package live_test

import (
	"fmt"

	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/memlane/memlane/inspect"
)

// Who was not there before has counted all since, if all had answered then.
func ExampleCounts_Since() {
	snapshot := func(publishers ...inspect.Publisher) *inspect.Snapshot {
		return &inspect.Snapshot{Publishers: publishers}
	}
	before := live.CountsOf(snapshot(inspect.Publisher{ID: 1, Published: 10}))
	now := live.CountsOf(snapshot(inspect.Publisher{ID: 1, Published: 15}, inspect.Publisher{ID: 2, Published: 100}))
	published, _ := now.Since(before)
	fmt.Println(published.Messages)
	unsure := snapshot(inspect.Publisher{ID: 1, Published: 10})
	unsure.Silent = []inspect.Silent{{Role: "publisher"}}
	published, _ = now.Since(live.CountsOf(unsure))
	fmt.Println(published.Messages)
	// Output:
	// 105
	// 5
}

// A publisher waits for one of five subscribers: those that are the most behind, but who
// peeks, for whom nobody waits.
func ExampleLags() {
	subscription := func(pid int, behind uint64, peeks bool) inspect.Subscription {
		return inspect.Subscription{Subscriber: inspect.Subscriber{PID: pid}, Behind: behind, Peeks: peeks}
	}
	snapshot := &inspect.Snapshot{Topic: "orders", Publishers: []inspect.Publisher{{Slots: 64, Waiting: true, Subscriptions: []inspect.Subscription{
		subscription(1, 2, false), subscription(2, 63, false), subscription(3, 64, true),
		{Subscriber: inspect.Subscriber{PID: 4}, Holds: inspect.HoldsMost}, {Subscriber: inspect.Subscriber{PID: 5}, Dropped: 9, Lost: 1},
	}}}}
	there := []inspect.Participant{{PID: 2, State: inspect.Stopped, Program: "/usr/bin/billing"}}
	for _, l := range live.Lags([]*inspect.Snapshot{snapshot}, there) {
		fmt.Printf("%d %q %s %.0f%% %q\n", l.PID, l.Program, l.State, 100*l.Part(), l.Note())
	}
	// Output:
	// 2 "/usr/bin/billing" stopped 98% "its publisher waits for it"
	// 3 "" unknown 100% "peeks"
	// 1 "" unknown 3% ""
	// 5 "" unknown 0% "loses messages"
	// 4 "" unknown 0% "has borrowed 64 messages, all that it may"
}
