//go:build root

package meet_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
)

// A user who is outside the group is told so, and what to do, and who is in it does not
// notice; so is one in the group if the folder does not hand its group on.
func TestRootOutsideTheGroup(t *testing.T) {
	dir := shared(t)
	ours := start(t, nil, dir, "owner=1234")
	ours.must("add p publisher topic")
	for name, group := range map[string]uint32{"outside": 1234, "in it": proctest.Nobody} {
		p := proctest.Start(t, &proctest.Config{User: &syscall.Credential{Uid: 1234, Gid: group}}, "obey", dir, "owner=0")
		if name == "in it" {
			p.Line() // who it is
			continue
		}
		if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "permission denied (become a member of its group") {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := shared(t)
	if err := os.Chmod(other, 0o770); err != nil {
		t.Fatal(err)
	}
	start(t, nil, other, "owner=1234")
	p := proctest.Start(t, &proctest.Config{User: &syscall.Credential{Uid: 1234, Gid: proctest.Nobody}}, "obey", other, "owner=0")
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "have its owner chmod 2770 it") {
		t.Errorf("a folder without the bit: %v", err)
	}
	ours.must("add o observer topic")
	ours.want("o found publisher " + ours.id)
}

// A user is killed at the first, second, … system call with which he is the first in a
// domain of his group's: another one of the group comes, and what was left is gone when he
// has left.
func TestRootKilledAtEverySystemCall(t *testing.T) {
	as := func(uid uint32) *proctest.Config {
		return &proctest.Config{User: &syscall.Credential{Uid: uid, Gid: proctest.Nobody}}
	}
	for n, ended := 0, false; !ended; n++ {
		if n > 3000 {
			t.Fatal("it never ends")
		}
		dir := shared(t)
		p := proctest.Start(t, as(1001), "live", dir, "0", "1002")
		p.Line()
		ended = p.KillAtStop(n, func() { p.Send("go"); p.CloseInput() })
		next := proctest.Start(t, as(1002), "live", dir, "0", "1001")
		next.Line()
		next.Send("go")
		if err := next.Wait(); err != nil {
			t.Fatalf("stop %d: %v", n, err)
		}
		for _, pattern := range []string{".[^.]*", "*/*", "*/.[^.]*"} {
			if left, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(left) > 0 {
				t.Fatalf("stop %d: left behind %q, %v", n, left, err)
			}
		}
		if ended {
			t.Logf("killed at %d stops", n)
		}
	}
}

// In a user namespace all users that it does not know look like one: also like oneself,
// if one is that one. A folder of such a user is anybody's.
func TestRootUnknownUser(t *testing.T) {
	dir := shared(t)
	for _, name := range []string{"", "sockets", "ports"} { // somebody has prepared them for others
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		mode := os.FileMode(0o777)
		if name == "" {
			mode = 0o755
		}
		if err := errors.Join(os.Chown(path, 1234, 1234), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for _, setting := range []string{"owner=1", "owner=65534"} {
		p := proctest.Start(t, &proctest.Config{Namespaces: syscall.CLONE_NEWUSER, AsUser: proctest.Nobody}, "obey", dir, setting)
		p.CloseInput()
		if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "it belongs to user 65534 (have this user namespace know the user") {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

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
	// What root has left goes when it is looked for again.
	left, err := filepath.Glob(filepath.Join(dir, "sockets/*"))
	if names := strings.Join(left, " "); err != nil || strings.Contains(names, theirs.id) || !strings.Contains(names, narrow.id) {
		t.Errorf("left %v, %v; want %s there, and not %s", left, err, narrow.id, theirs.id)
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
