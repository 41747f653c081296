package meet

import (
	"errors"
	"path/filepath"
	"testing"
)

// A message does not overtake the announcement of its port, also if there happens to
// be room again before that is sent.
func TestMessagesDoNotOvertake(t *testing.T) {
	n, err := Open(filepath.Join(t.TempDir(), "domain"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.mu.Lock()
	err = n.linkSelf()
	c := n.local[0]
	n.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	f := frame{kind: frameMessage, from: 1, to: 1}
	send := func(queue []packet) error {
		c.mu.Lock()
		if c.raw == nil {
			c.mu.Unlock()
			return ErrGone // not attached yet
		}
		c.queue = queue
		c.mu.Unlock()
		return c.send(&f, nil, 0)
	}
	for err = send(nil); errors.Is(err, ErrGone); err = send(nil) {
	}
	if err != nil {
		t.Errorf("with nothing queued: %v", err)
	}
	if err := send([]packet{{bytes: f.encode()}}); !errors.Is(err, ErrBusy) {
		t.Errorf("with something queued: %v", err)
	}
}
