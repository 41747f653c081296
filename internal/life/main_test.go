package life_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/region"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{
		"member": member,
		"many":   manyMembers,
		"sleep":  sleepForEver,
		"forked": useInFork,
		"hold":   holdAll,
		"judge":  judge,
	})
}

const tableBytes = layout.AreaHeapAt

// newFile makes a file with room for a table, on a tmpfs where there is one.
func newFile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// Helpers run as other users too.
	os.Chmod(dir, 0o777)
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, make([]byte, tableBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// membership is a table with its region.
type membership struct {
	*life.Table
	region *region.Region
}

func (m *membership) leave() {
	m.region.Retire()
	m.Leave()
}

func joinFile(path string) (*membership, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	r, err := region.Map(int(f.Fd()), tableBytes)
	if err != nil {
		return nil, err
	}
	t, err := life.Join(r, 0, f)
	if err != nil {
		r.Retire()
		return nil, err
	}
	return &membership{t, r}, nil
}

func join(t testing.TB, path string) *membership {
	t.Helper()
	m, err := joinFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.leave)
	return m
}

// member joins args[0], says who it is, and obeys: each line of input is a way to
// end, or not to.
func member(args []string) error {
	m, err := joinFile(args[0])
	if err != nil {
		return err
	}
	fmt.Println(m.ID().Index, m.ID().Generation)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "exit":
			os.Exit(0)
		case "return":
			return nil
		case "leave":
			m.leave()
			fmt.Println("left")
		case "panic":
			panic("as asked")
		case "exec":
			return proctest.Exec("sleep")
		case "fork":
			pid, err := proctest.Fork()
			if err != nil {
				return err
			}
			fmt.Println("child", pid)
		case "child": // one that executes a program, as children of Go programs do
			cmd, err := proctest.Command("sleep")
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			fmt.Println("child", cmd.Process.Pid)
		case "memory":
			size, err := strconv.Atoi(rest)
			if err != nil {
				return err
			}
			b := make([]byte, size)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			fmt.Println("filled")
			defer runtime.KeepAlive(b)
		case "core":
			if err := os.Chdir(rest); err != nil {
				return err
			}
			unlimited := syscall.Rlimit{Cur: 1 << 40, Max: 1 << 40}
			if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &unlimited); err != nil {
				return err
			}
			fmt.Println("ready")
		}
	}
	return nil
}

func sleepForEver([]string) error {
	fmt.Println("another program")
	return proctest.Hang()
}

// startMember starts a member and returns who it is.
func startMember(t testing.TB, c *proctest.Config, path string) (*proctest.Process, life.ID) {
	t.Helper()
	p := proctest.Start(t, c, "member", path)
	var id life.ID
	line := p.Line()
	if _, err := fmt.Sscan(line, &id.Index, &id.Generation); err != nil {
		t.Fatalf("member says %q", line)
	}
	return p, id
}

// eventually waits for a condition, which is looked at again and again.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
