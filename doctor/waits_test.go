package doctor

import (
	"strings"
	"testing"

	"github.com/memlane/memlane/inspect"
)

// Each thing that can be wrong with a subscriber is told by itself.
func TestWaits(t *testing.T) {
	of := func(waiting bool, s inspect.Subscription) inspect.Publisher {
		return inspect.Publisher{PID: 1, Slots: 16, Waiting: waiting, Subscriptions: []inspect.Subscription{s}}
	}
	who := inspect.Subscriber{PID: 2}
	for want, p := range map[string]inspect.Publisher{
		"waits for process 2":                     of(true, inspect.Subscription{Subscriber: who, Behind: 16}),
		"loses messages of process 1 just now":    of(false, inspect.Subscription{Subscriber: who, Behind: 16, Dropped: 1}),
		"has borrowed 64 messages of process 1":   of(false, inspect.Subscription{Subscriber: who, Holds: inspect.HoldsMost}),
		"has lost 3 messages of process 1":        of(false, inspect.Subscription{Subscriber: who, Lost: 3}),
		"is refused by process 1: another?[2J of": {PID: 1, Refused: []inspect.Refusal{{Subscriber: who, Reason: "another\x1b[2J of"}}},
	} {
		found := waits("shop", "orders", p)
		if len(found) != 1 || !strings.Contains(found[0].Says, want) || found[0].Fix == "" {
			t.Errorf("%+v; want %q", found, want)
		}
	}
	for _, s := range []inspect.Subscription{{}, {Behind: 16, Peeks: true, Lost: 3, Dropped: 1}, {Holds: inspect.HoldsMost - 1, Behind: 15}} {
		if found := waits("shop", "orders", of(true, s)); len(found) > 0 {
			t.Errorf("of %+v: %+v", s, found)
		}
	}
}
