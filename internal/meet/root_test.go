//go:build root

package meet_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
)

// shared returns the folder of a domain that a second user shares.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chown(dir, 0, proctest.Nobody), os.Chmod(dir, 0o770|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Two users meet in a folder that their group may write, if each accepts the other; and
// not if one does not, whom the other tells so.
func TestRootUsers(t *testing.T) {
	nobody := &proctest.Config{AsNobody: true}
	dir := shared(t)
	ours := start(t, nil, dir, "owner=65534")
	theirs := start(t, nobody, dir, "owner=0")
	narrow := start(t, nobody, dir, "owner=0", "owner=1")
	ours.must("add p publisher topic")
	theirs.must("add s subscriber topic")
	ours.want("p found subscriber " + theirs.id)
	theirs.want("s found publisher " + ours.id)
	narrow.must("add s subscriber topic")
	ours.want("p found subscriber " + narrow.id)
	narrow.want("s found publisher " + ours.id)
	theirs.Kill()
	ours.want("p lost " + theirs.id)
	// Root cleans up after another user, and the other way round.
	ours.Kill()
	narrow.want("s lost " + ours.id)
	narrow.must("add p publisher topic")
	if left, err := filepath.Glob(filepath.Join(dir, "sockets/*")); err != nil || len(left) != 2 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A user who is not accepted is refused, though he can reach the socket: whether he
// connects or is connected to.
func TestRootForeignUser(t *testing.T) {
	nobody := &proctest.Config{AsNobody: true}
	dir := shared(t)
	ours := start(t, nil, dir, "owner=1") // some other
	theirs := start(t, nobody, dir, "owner=0")
	ours.must("add p publisher topic")
	theirs.must("add s subscriber topic")
	for _, p := range []*participant{ours, theirs} {
		if got := p.do("troubles"); !strings.Contains(got, meet.ErrForeign.Error()) {
			t.Errorf("troubles: %s", got)
		}
	}
	ours.must("add o observer topic")
	ours.want("p found observer")
	ours.want("o found publisher")
	ours.nothing()
	theirs.nothing()
	// Nor does one pass for another user's instance.
	other := start(t, nil, dir, "owner=65534")
	if got := proctest.Run(t, nobody, "claim", dir, other.id, ours.id); got != "3" {
		t.Errorf("who claims to be another user's instance gets REJECT %s", got)
	}
	// And without Owners such a folder is none.
	if _, err := meet.Open(dir, nil); !errors.Is(err, meet.ErrUntrusted) {
		t.Errorf("got %v", err)
	}
}
