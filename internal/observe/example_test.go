package observe_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/observe"
	"github.com/memlane/memlane/internal/proctest"
)

func Example() {
	body := observe.AppendEntry(nil, observe.Entry{Publisher: 7, At: 1152})
	body = observe.AppendEntry(body, observe.Entry{Publisher: 8, At: 2304, Peeks: true})
	fmt.Println(observe.DecodeEntries(body))
	fmt.Println(observe.DecodeEntries(body[1:]))
	// Output:
	// [{7 1152 false} {8 2304 true}] <nil>
	// [] protocol error: entries in 31 bytes
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	topic := observe.Topic{Subscriptions: 3}
	if got, err := observe.DecodeTopic(topic.Encode()); err != nil || got != topic {
		t.Errorf("%v, %v", got, err)
	}
	var body []byte
	var want []observe.Member
	for i := range observe.MembersMost {
		n := uint64(i)
		m := observe.Member{Subscriber: n, PID: uint32(i), Holds: uint16(i), Asleep: i%2 == 0, Peeks: i%3 == 0, Position: n << 40, Received: n + 1, Lost: n + 2, Slow: time.Duration(i) * time.Second}
		body, want = observe.AppendMember(body, m), append(want, m)
	}
	if got, err := observe.DecodeMembers(body); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if len(body) > 3072 {
		t.Errorf("%d bytes do not fit into a message", len(body))
	}
	for _, bad := range [][]byte{body[:1], body[:len(body)-1], append(bytes.Clone(body), body[:48]...)} {
		if got, err := observe.DecodeMembers(bad); err == nil {
			t.Errorf("%d bytes are %d members", len(bad), len(got))
		}
	}
	if _, err := observe.DecodeTopic(make([]byte, 7)); err == nil {
		t.Error("a topic of 7 bytes")
	}
	refusal := observe.Refusal{Subscriber: 1 << 40, PID: 7, Reason: "another schema"}
	if got, err := observe.DecodeRefusal(refusal.Encode()); err != nil || got != refusal {
		t.Errorf("%v, %v", got, err)
	}
	trouble := observe.Trouble{Instance: 1 << 40, PID: 7, UID: 1000, Ago: 3 * time.Second, Reason: "nonsense"}
	if got, err := observe.DecodeTrouble(trouble.Encode()); err != nil || got != trouble {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := observe.DecodeTrouble(make([]byte, 23)); err == nil {
		t.Error("a trouble of 23 bytes")
	}
	if _, err := observe.DecodeRefusal(make([]byte, 15)); err == nil {
		t.Error("a refusal of 15 bytes")
	}
}

// Whatever comes, what is decoded is what was sent.
func FuzzDecode(f *testing.F) {
	seeds := [][]byte{observe.AppendMember(nil, observe.Member{Subscriber: 1}), observe.AppendEntry(nil, observe.Entry{Publisher: 1}), make([]byte, 48)}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		if members, err := observe.DecodeMembers(b); err == nil && len(members)*48 != len(b) {
			return fmt.Errorf("%d members in %d bytes", len(members), len(b))
		}
		if entries, err := observe.DecodeEntries(b); err == nil && len(entries)*16 != len(b) {
			return fmt.Errorf("%d entries in %d bytes", len(entries), len(b))
		}
		observe.DecodeTopic(b)
		if refusal, err := observe.DecodeRefusal(b); err == nil && len(refusal.Encode()) != len(b) {
			return fmt.Errorf("a refusal of %d bytes is %d", len(b), len(refusal.Encode()))
		}
		if trouble, err := observe.DecodeTrouble(b); err == nil && (len(trouble.Encode()) != len(b) || trouble.Ago < 0) {
			return fmt.Errorf("a trouble of %d bytes is %d", len(b), len(trouble.Encode()))
		}
		return nil
	})
}
