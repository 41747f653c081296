package life_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
)

func TestJoinAndLeave(t *testing.T) {
	path := newFile(t)
	a, b := join(t, path), join(t, path)
	if a.ID() == b.ID() {
		t.Fatalf("both are %v", a.ID())
	}
	if a.Gone(b.ID()) || b.Gone(a.ID()) || a.Gone(a.ID()) || a.Marked(b.ID()) {
		t.Error("members that are there are gone")
	}
	n := 0
	for id, identity := range a.Members() {
		n++
		if int(identity.PID) != os.Getpid() || (id != a.ID() && id != b.ID()) {
			t.Errorf("member %v is %v", id, identity)
		}
		if dead, known := identity.Dead(); dead || !known {
			t.Errorf("we are dead: %v, %v", dead, known)
		}
		if stopped, known := identity.Stopped(); stopped || !known {
			t.Errorf("we are stopped: %v, %v", stopped, known)
		}
	}
	if n != 2 {
		t.Errorf("%d members", n)
	}
	left := b.ID()
	b.leave()
	if !a.Gone(left) || !a.Marked(left) || !b.Gone(left) {
		t.Error("one that has left is not gone")
	}
	// The same place again is somebody else.
	for range 2000 {
		c, err := joinFile(path)
		if err != nil {
			t.Fatal(err)
		}
		same := c.ID().Index == left.Index
		if same && c.ID().Generation == left.Generation {
			t.Fatal("a generation was used twice")
		}
		if !a.Gone(left) {
			t.Fatal("one that has left is there again")
		}
		c.leave()
		if same {
			return
		}
	}
	t.Error("no member is ever used again")
}

// A table has room for so many, and says so; who leaves makes room.
func TestFull(t *testing.T) {
	path := newFile(t)
	var all []*membership
	for range layout.AreaMembersCount {
		all = append(all, join(t, path))
	}
	if _, err := joinFile(path); !errors.Is(err, life.ErrFull) || !strings.Contains(err.Error(), "256") {
		t.Fatalf("got %v; want %v", err, life.ErrFull)
	}
	all[17].leave()
	if m := join(t, path); m.ID().Index != all[17].ID().Index {
		t.Errorf("took %v, not the place that was free", m.ID())
	}
}

// manyMembers joins the tables of several files so often that one keeper can not
// hold all words.
func manyMembers(args []string) error {
	var all []any
	for _, path := range args {
		for range 250 {
			m, err := joinFile(path)
			if err != nil {
				return err
			}
			all = append(all, m)
		}
	}
	fmt.Println("joined")
	return proctest.Hang(all...)
}

// A process with more life words than a thread's list may have: all are marked.
func TestManyWords(t *testing.T) {
	var paths []string
	for range 9 {
		paths = append(paths, newFile(t))
	}
	p := proctest.Start(t, nil, "many", paths...)
	p.Line()
	p.Kill()
	for _, path := range paths {
		r := mapTable(t, path)
		marked := 0
		for i := range layout.AreaMembersCount {
			if r.Uint32(layout.AreaMembersAt+i*layout.MemberBytes+layout.MemberLifeAt).Load()&layout.FutexOwnerDied != 0 {
				marked++
			}
		}
		if marked != 250 {
			t.Errorf("%d of 250 members of a process that was killed are marked", marked)
		}
	}
}

func mapTable(t testing.TB, path string) *region.Region {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := region.Map(int(f.Fd()), tableBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Retire() })
	return r
}

// What is in the table is everybody's: whatever it is, answers come, and those
// about processes that hold their lock are right.
func TestHostileTable(t *testing.T) {
	path := newFile(t)
	p, id := startMember(t, nil, path)
	defer p.Kill()
	m := join(t, path)
	words := mapTable(t, path)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	anywhere := func() int {
		return layout.AreaMembersAt + random.IntN(layout.AreaMembersCount*layout.MemberBytes/4)*4
	}
	begun := time.Now()
	for range 20_000 {
		at := anywhere()
		if random.IntN(32) == 0 {
			at = layout.AreaJoinsAt
		}
		v := random.Uint32()
		switch random.IntN(4) {
		case 0:
			v = uint32(os.Getpid())
		case 1:
			v %= 300
		case 2:
			v = words.Uint32(anywhere()).Load()
		}
		words.Uint32(at).Store(v)
		some := life.ID{Index: random.IntN(300) - 20, Generation: words.Uint32(anywhere()).Load()}
		m.Gone(some)
		m.Marked(some)
		identity, _ := m.Identity(random.IntN(layout.AreaMembersCount))
		_ = identity.String()
		if random.IntN(100) == 0 {
			identity.Stopped()
			m.Watch(some)
		}
	}
	for range m.Members() {
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	// Where the bytes that are looked at are as they were, so are the answers.
	words.Uint32(layout.AreaMembersAt + id.Index*layout.MemberBytes + layout.MemberGenerationAt).Store(id.Generation)
	words.Uint32(layout.AreaMembersAt + id.Index*layout.MemberBytes + layout.MemberPIDAt).Store(uint32(p.PID()))
	words.Uint32(layout.AreaMembersAt + id.Index*layout.MemberBytes + layout.MemberPIDNamespaceAt).Store(0)
	words.Uint32(layout.AreaMembersAt + id.Index*layout.MemberBytes + layout.MemberLifeAt).Store(layout.FutexWaiters | layout.FutexOwnerDied)
	if !m.Marked(id) || m.Gone(id) {
		t.Error("a living process is gone because of what the table says")
	}
}

// A PID alone is nobody: another process may have it now.
func TestIdentityIsNotThePID(t *testing.T) {
	self := life.Self()
	if self.Inode == 0 || self.Start == 0 {
		t.Skipf("needs Linux 6.9 and /proc: %+v", self)
	}
	for name, tc := range map[string]struct {
		change      func(id *life.Identity)
		dead, known bool
	}{
		"itself":             {func(*life.Identity) {}, false, true},
		"another inode":      {func(id *life.Identity) { id.Inode++ }, true, true},
		"start time, same":   {func(id *life.Identity) { id.Inode = 0 }, false, true},
		"another start time": {func(id *life.Identity) { id.Inode = 0; id.Start -= 100 }, true, true},
		"no such PID":        {func(id *life.Identity) { id.PID = 1<<22 + 1 }, true, true},
		"another namespace":  {func(id *life.Identity) { id.Namespace++ }, false, false},
		"nothing":            {func(id *life.Identity) { *id = life.Identity{} }, false, false},
		"only a PID":         {func(id *life.Identity) { id.Inode, id.Start = 0, 0 }, false, false},
	} {
		id := self
		tc.change(&id)
		if dead, known := id.Dead(); dead != tc.dead || known != tc.known {
			t.Errorf("%s: dead %v, known %v; want %v, %v", name, dead, known, tc.dead, tc.known)
		}
	}
}

// A watch rings once for each death, for all who watch.
func TestWatch(t *testing.T) {
	path := newFile(t)
	m := join(t, path)
	var members []*proctest.Process
	before := m.Deaths.Rung()
	for range 5 {
		p, id := startMember(t, nil, path)
		members = append(members, p)
		m.Watch(id)
		m.Watch(id)
	}
	for i, p := range members {
		p.Kill()
		eventually(t, "the bell", func() bool { return m.Deaths.Rung() != before+uint32(i) })
		if n := m.Deaths.Rung() - before; n != uint32(i+1) {
			t.Errorf("rung %d times after %d deaths", n, i+1)
		}
	}
	// One that is gone already.
	_, id := startMember(t, nil, path)
	gone := life.ID{Index: id.Index, Generation: id.Generation - 1}
	m.Watch(gone)
	eventually(t, "the bell", func() bool { return m.Deaths.Rung() != before+5 })
}

// A file that is cut short ends memberships with errors, not with a crash.
func TestTruncatedTable(t *testing.T) {
	path := newFile(t)
	m := join(t, path)
	_, id := startMember(t, nil, path)
	before := m.Deaths.Rung()
	m.Watch(id)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	// Nobody can say whether the other lives: it counts as gone, and whoever
	// acts upon that finds that the memory is.
	eventually(t, "the bell", func() bool { m.Gone(id); return m.Deaths.Rung() != before })
	if err := m.region.Err(); !errors.Is(err, region.ErrGone) {
		t.Errorf("got %v", err)
	}
	if _, err := joinFile(path); err == nil {
		t.Error("joined a file without bytes")
	}
	m.leave()
}

// useInFork joins, forks, and tells what the child finds.
func useInFork(args []string) error {
	m, err := joinFile(args[0])
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer m.leave()
	pid, err := proctest.ForkAndTell(int(w.Fd()), func() byte {
		if life.Forked() {
			return 'f'
		}
		return '-'
	})
	if err != nil {
		return err
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	b := make([]byte, 1)
	if _, err := r.Read(b); err != nil {
		return err
	}
	fmt.Println(string(b), life.Forked())
	return nil
}

func TestForkIsRecognised(t *testing.T) {
	if got := proctest.Run(t, nil, "forked", newFile(t)); got != "f false" {
		t.Errorf("got %q; want that the child is one and the parent none", got)
	}
}

// holdAll takes all locks of a table with the file opened for reading, as another
// user can who may read it.
func holdAll(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	lock := syscall.Flock_t{Type: syscall.F_RDLCK, Start: layout.LockBase, Len: layout.AreaMembersCount}
	const ofdSetlk = 37
	if err := syscall.FcntlFlock(f.Fd(), ofdSetlk, &lock); err != nil {
		return err
	}
	fmt.Println("locked")
	return proctest.Hang(f)
}

// Who may only read the file can keep others from joining, but not make the dead
// look alive.
func TestReaderLocksDoNotKeepTheDeadAlive(t *testing.T) {
	path := newFile(t)
	m := join(t, path)
	p, id := startMember(t, nil, path)
	words := mapTable(t, path)
	words.Uint32(layout.AreaMembersAt + id.Index*layout.MemberBytes + layout.MemberPIDNamespaceAt).Store(0) // so that the lock alone decides
	p.Kill()
	eventually(t, "gone", func() bool { return m.Gone(id) })
	// The places of those who live are locked for writing, which no reader's lock
	// goes with.
	m.leave()
	h := proctest.Start(t, nil, "hold", path)
	h.Line()
	if _, err := joinFile(path); !errors.Is(err, life.ErrFull) {
		t.Errorf("joined: %v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if locked, err := life.Locked(f, id.Index); err != nil || locked {
		t.Errorf("a lock for reading makes the dead look alive: %v, %v", locked, err)
	}
}

// Who watches one member hears of the death of another that has joined since, without
// a recheck's help.
func TestWatchWhoJoinsLater(t *testing.T) {
	path := newFile(t)
	stays, id := startMember(t, nil, path)
	m := join(t, path)
	m.NoTicks()
	m.Watch(id)
	late := wait.Late.Load()
	for range 20 {
		rung := m.Deaths.Rung()
		p, joined := startMember(t, nil, path)
		p.Kill()
		eventually(t, "the bell", func() bool { return m.Deaths.Rung() != rung })
		if m.Gone(id) || !m.Gone(joined) {
			t.Fatalf("gone: who stays %v, who was killed %v", m.Gone(id), m.Gone(joined))
		}
	}
	if n := wait.Late.Load() - late; n != 0 {
		t.Errorf("%d wakes were the backstop's", n)
	}
	stays.Kill()
}

// A member that leaves, and whose place another takes at once with the same life word,
// is gone for who watches it, whatever its watcher has seen.
func TestPlaceTakenAgain(t *testing.T) {
	r := region.Heap(tableBytes)
	joinHeap := func() *life.Table {
		m, err := life.Join(r, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m, leaves, stays := joinHeap(), joinHeap(), joinHeap()
	m.NoTicks()
	m.Overlook(leaves.ID())
	m.Watch(stays.ID())
	rung := m.Deaths.Rung()
	leaves.Leave()
	again := joinHeap()
	if again.ID().Index != leaves.ID().Index {
		t.Fatalf("%v has the place; want the place of %v", again.ID(), leaves.ID())
	}
	eventually(t, "the bell", func() bool { return m.Deaths.Rung() != rung })
	for _, member := range []*life.Table{again, stays, m} {
		member.Leave()
	}
}

// The heap's members do what those of files do.
func TestHeap(t *testing.T) {
	r := region.Heap(tableBytes)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				a, err := life.Join(r, 0, nil)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := life.Join(r, 0, nil)
				if err != nil {
					t.Error(err)
					return
				}
				rung := a.Deaths.Rung()
				a.Watch(b.ID())
				if a.Gone(b.ID()) || a.Gone(a.ID()) {
					t.Error("gone while there")
				}
				b.Leave()
				if !a.Gone(b.ID()) {
					t.Error("there when gone")
				}
				eventually(t, "the bell", func() bool { return a.Deaths.Rung() != rung })
				a.Leave()
			}
		})
	}
	wg.Wait()
}
