//go:build root

package pubsub_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// group makes a control group in which a file has a value.
func group(t *testing.T, controller string, v1, v2 map[string]string) string {
	t.Helper()
	for _, g := range []struct {
		top    string
		values map[string]string
	}{{"/sys/fs/cgroup/" + controller, v1}, {"/sys/fs/cgroup", v2}} {
		path := filepath.Join(g.top, fmt.Sprintf("memlane-test-%d", os.Getpid()))
		if err := os.Mkdir(path, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { syscall.Rmdir(path) })
		var err error
		for file, value := range g.values {
			err = errors.Join(err, os.WriteFile(filepath.Join(path, file), []byte(value), 0))
		}
		if err == nil {
			return path
		}
	}
	t.Skip("needs control groups with the controller " + controller)
	return ""
}

// inGroup has a helper begin in a control group: Args: the group, then its own.
func inGroup(helper proctest.Helper) proctest.Helper {
	return func(args []string) error {
		if err := os.WriteFile(filepath.Join(args[0], "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return err
		}
		return helper(args[1:])
	}
}

func init() {
	rootHelpers["publish in a group"] = inGroup(publish)
	rootHelpers["subscribe in a group"] = inGroup(subscribe)
	rootHelpers["publish much in a group"] = inGroup(publishMuch)
	rootHelpers["visit"] = visit
	rootHelpers["hidden"] = hidden
}

// group2000 is the group of ofGroup.
const group2000 = 2000

// hidden becomes a user who sees no other's processes in /proc, and converses. Args: the
// user, what it is then, with what.
func hidden(args []string) error {
	uid, err := strconv.Atoi(args[0])
	if err == nil {
		err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	}
	if err == nil {
		err = syscall.Mount("proc", "/proc", "proc", 0, "hidepid=2")
	}
	if err == nil {
		err = errors.Join(syscall.Setgroups(nil), syscall.Setgid(group2000), syscall.Setuid(uid))
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat("/proc/1"); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("root's processes are not hidden: %v", err)
	}
	return proctest.Exec(args[1], args[2:]...)
}

// visit is a process that opens a domain, and closes it. Args: the folder.
func visit(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0], Owners: ofGroup})
	if err != nil {
		return err
	}
	fmt.Println("opened")
	return d.Close()
}

// sharedFolder returns a folder with a domain that is a user's and group2000's.
func sharedFolder(t *testing.T, uid int) (folder, domain string) {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	domain = filepath.Join(folder, "test.domain")
	if err := errors.Join(os.Chmod(folder, 0o755), os.Mkdir(domain, 0o700), os.Chown(domain, uid, group2000), os.Chmod(domain, 0o770|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	return folder, domain
}

// Users exchange messages, and learn of each other's deaths, where neither sees the other
// in /proc, as with hidepid.
func TestRootHiddenProcesses(t *testing.T) {
	c := &proctest.Config{Namespaces: syscall.CLONE_NEWNS, Env: parking}
	for name, env := range map[string][]string{"this kernel": nil, "an old one": {proctest.OldKernel}} {
		t.Run(name, func(t *testing.T) {
			folder, _ := sharedFolder(t, 1001)
			c.Env = append(env, parking...)
			answering := proctest.Start(t, c, "hidden", "1001", "answer", folder, "back", "there", "0", "users")
			calling := proctest.Start(t, c, "hidden", "1002", "call", folder, "there", "back", "300", "users")
			conversed(t, answering, calling)
		})
	}
}

// Users of one group, and root, exchange messages in a domain that is the group's, and
// learn of each other's deaths.
func TestRootGroup(t *testing.T) {
	as := func(uid uint32) *proctest.Config {
		return &proctest.Config{User: &syscall.Credential{Uid: uid, Gid: group2000}, Env: parking}
	}
	for name, users := range map[string][2]*proctest.Config{
		"two users":                  {as(1001), as(1002)},
		"root and a user":            {as(0), as(1001)},
		"a user and root":            {as(1001), as(0)},
		"a user and nobody":          {as(1002), as(proctest.Nobody)},
		"another group is the first": {{User: &syscall.Credential{Uid: 1001, Gid: 1001, Groups: []uint32{group2000}}, Env: parking}, as(1002)},
	} {
		for _, whose := range []int{0, 1001} {
			t.Run(fmt.Sprintf("%s, the folder is %d's", name, whose), func(t *testing.T) {
				folder, domain := sharedFolder(t, whose)
				answering := proctest.Start(t, users[1], "answer", folder, "back", "there", "0", "users")
				calling := proctest.Start(t, users[0], "call", folder, "there", "back", "300", "users")
				conversed(t, answering, calling)
				// What the two have left, each of them would remove.
				calling.Kill()
				if got := proctest.Run(t, users[0], "visit", folder); got != "opened" {
					t.Error(got)
				}
				for _, pattern := range []string{"sockets/*", "ports/*"} {
					if left, err := filepath.Glob(filepath.Join(domain, pattern)); err != nil || len(left) > 0 {
						t.Errorf("left behind %q, %v", left, err)
					}
				}
			})
		}
	}
}

// With a twentieth of a processor, for all four processes, everything comes.
func TestRootProcessorQuota(t *testing.T) {
	dir := group(t, "cpu", map[string]string{"cpu.cfs_period_us": "20000", "cpu.cfs_quota_us": "1000"}, map[string]string{"cpu.max": "1000 20000"})
	folder := t.TempDir()
	const n = 1000
	p := proctest.Start(t, nil, "publish in a group", dir, folder, strconv.Itoa(n), strconv.Itoa(int(pubsub.Block)))
	p.Line()
	var subscribers []*proctest.Process
	for _, way := range []string{"receive", "borrow", "receive"} {
		s := proctest.Start(t, nil, "subscribe in a group", dir, folder, way, "may not")
		if got := s.Line(); got != "ready" {
			t.Fatal(got)
		}
		subscribers = append(subscribers, s)
	}
	p.Send("go")
	for _, s := range subscribers {
		if got, want := s.Line(), fmt.Sprintf("all %d lost 0", n); got != want {
			t.Errorf("a subscriber: %q; want %q", got, want)
		}
	}
}

// publishMuch publishes messages of a MiB that nobody reads, far more than its control
// group may have.
func publishMuch(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{ArenaLimit: 1 << 30})
	if err != nil {
		return err
	}
	for i := range uint64(500) {
		if err := p.Publish(background, message(i, 1<<20)); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	_, err = p.Loan(background, 200<<20)
	fmt.Println(errors.Is(err, pubsub.ErrArenaFull), err)
	return nil
}

// A publisher whose control group may have 64 MiB does not grow beyond that, and drops the
// oldest: it is not killed. What can never be had is an error that says so.
func TestRootMemoryOfAControlGroup(t *testing.T) {
	dir := group(t, "memory", map[string]string{"memory.limit_in_bytes": "67108864"}, map[string]string{"memory.max": "67108864"})
	if got := proctest.Run(t, nil, "publish much in a group", dir, t.TempDir()); len(got) < 5 || got[:5] != "true " {
		t.Errorf("got %q; want %v", got, pubsub.ErrArenaFull)
	}
}
