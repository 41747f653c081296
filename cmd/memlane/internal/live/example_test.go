package live_test

import (
	"fmt"

	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/memlane/memlane/inspect"
)

// A publisher waits for one of three subscribers: those that are the most behind, but who
// peeks, for whom nobody waits.
func ExampleLags() {
	subscription := func(pid int, behind uint64, peeks bool) inspect.Subscription {
		return inspect.Subscription{Subscriber: inspect.Subscriber{PID: pid}, Behind: behind, Peeks: peeks}
	}
	snapshot := &inspect.Snapshot{Topic: "orders", Publishers: []inspect.Publisher{{Slots: 64, Waiting: true, Subscriptions: []inspect.Subscription{
		subscription(1, 2, false), subscription(2, 63, false), subscription(3, 64, true),
	}}}}
	there := []inspect.Participant{{PID: 2, State: inspect.Stopped, Program: "/usr/bin/billing"}}
	for _, l := range live.Lags([]*inspect.Snapshot{snapshot}, there) {
		fmt.Printf("%d %s %s %.0f%% %s\n", l.PID, l.Program, l.State, 100*l.Part(), l.Note())
	}
	// Output:
	// 2 /usr/bin/billing stopped 98% its publisher waits for it
	// 3  unknown 100% peeks
	// 1  unknown 3%
}
