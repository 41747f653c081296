package life_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/proctest"
)

// verdict says what is known of a process: by all that it says of itself; by when it
// started, as before Linux 6.9; and if its number were of one that started a second
// before.
func verdict(id life.Identity) string {
	byStart := id
	byStart.Inode = 0
	before := byStart
	if before.Start != 0 {
		before.Start -= 100
	}
	var words []string
	for _, id := range []life.Identity{id, byStart, before} {
		switch dead, known := id.Dead(); {
		case !known:
			words = append(words, "unknown")
		case dead:
			words = append(words, "dead")
		default:
			words = append(words, "alive")
		}
	}
	return strings.Join(words, " ")
}

// judge joins args[0], if args[1] is unshared after it has made a time namespace that it
// stays out of. It says who it is, and for each line of input, which is an index, what
// it knows of that member.
func judge(args []string) error {
	if args[1] == "unshared" {
		if err := proctest.UnshareClocks(proctest.Clocks{Boot: 24 * time.Hour}); err != nil {
			return err
		}
	}
	m, err := joinFile(args[0])
	if err != nil {
		return err
	}
	fmt.Println(m.ID().Index, m.ID().Generation)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var index int
		if _, err := fmt.Sscan(in.Text(), &index); err != nil {
			return err
		}
		identity, _ := m.Identity(index)
		fmt.Println(verdict(identity))
	}
	return nil
}

// A process is who it is, and lives or not, whatever its clocks show and those of who
// asks: /proc has the time since boot when a process started as the asker's clock has it.
func TestOtherClocks(t *testing.T) {
	const namespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWTIME
	proctest.RequireNamespaces(t, namespaces)
	if life.Self().Inode == 0 || life.Self().Start == 0 {
		t.Skipf("needs Linux 6.9 and /proc: %+v", life.Self())
	}
	// By clocks that are set to 0 now the test has started at a negative time.
	reset := proctest.ClocksAtZero(t)
	eventually(t, "a fifth of a second", func() bool {
		reset = proctest.ClocksAtZero(t)
		return -reset.Boot > time.Duration(life.Self().Start+20)*10*time.Millisecond
	})
	path := newFile(t)
	here := join(t, path)
	type judge struct {
		name string
		*proctest.Process
		id life.ID
	}
	var all []judge
	start := func(name string, c *proctest.Config, how string) {
		j := judge{name: name, Process: proctest.Start(t, c, "judge", path, how)}
		if _, err := fmt.Sscan(j.Line(), &j.id.Index, &j.id.Generation); err != nil {
			t.Fatal(err)
		}
		all = append(all, j)
	}
	start("the machine's clocks", nil, "")
	for name, clocks := range map[string]proctest.Clocks{
		"a day ahead":     {Monotonic: 24 * time.Hour, Boot: 24 * time.Hour},
		"half a tick":     {Boot: 5 * time.Millisecond},
		"100 years ahead": {Boot: 100 * 365 * 24 * time.Hour},
		"as just booted":  reset,
		"half a tick ago": {Boot: reset.Boot + 5*time.Millisecond},
	} {
		start(name, &proctest.Config{Namespaces: namespaces, Clocks: clocks}, "")
	}
	// Its /proc has the offsets of its children's clocks, which are not its own: it does
	// not say when it started, and does not compare.
	start("unshared", &proctest.Config{Namespaces: syscall.CLONE_NEWUSER}, "unshared")

	for _, by := range all {
		for _, of := range all {
			want := "alive alive dead"
			if by.name == "unshared" || of.name == "unshared" {
				want = "alive unknown unknown"
			}
			by.Send(fmt.Sprint(of.id.Index))
			if got := by.Line(); got != want {
				t.Errorf("clocks %q of clocks %q: %s; want %s", by.name, of.name, got, want)
			}
		}
	}
	// And of the test, which has started before all others.
	for _, by := range all[:len(all)-1] {
		by.Send(fmt.Sprint(here.ID().Index))
		if got, want := by.Line(), "alive alive dead"; got != want {
			t.Errorf("clocks %q of the test: %s; want %s", by.name, got, want)
		}
	}
	// Each is killed, and is gone for all who are left.
	for len(all) > 1 {
		of := all[0]
		all = all[1:]
		of.Kill()
		eventually(t, "gone", func() bool { return here.Gone(of.id) })
		for _, by := range all {
			by.Send(fmt.Sprint(of.id.Index))
			if got := by.Line(); !strings.HasPrefix(got, "dead ") || strings.Contains(got, "alive") {
				t.Errorf("clocks %q of clocks %q, which was killed: %s", by.name, of.name, got)
			}
		}
	}
}
