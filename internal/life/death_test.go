package life_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/memlane/memlane/internal/proctest"
)

var (
	deaths = flag.Int("deaths", 5, "deaths of each kind in the matrix")
	memory = flag.Int("memory", 256<<20, "bytes of the large process in the matrix")
)

// end is a way in which a process ends, or does not.
type end struct {
	name   string
	config *proctest.Config
	order  string // what the member is told first, whose answer is waited for
	how    func(p *proctest.Process)
	runs   int
	// What becomes of it, in the end.
	marked, gone, dead bool
	deadUnknown        bool // the observer cannot know that it is dead
	stopped            bool
}

func order(line string) func(*proctest.Process) {
	return func(p *proctest.Process) { p.Send(line) }
}

func kill(p *proctest.Process) { p.Signal(syscall.SIGKILL) }

// The matrix of deaths: whatever becomes of a process, those who share memory with
// it learn the truth, and this prints when. Nobody waits for the child of it here
// before all is over: until then it is a zombie.
func TestDeathMatrix(t *testing.T) {
	large := strconv.Itoa(*memory)
	userPID := &proctest.Config{Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID}
	clocks := func(c proctest.Clocks) *proctest.Config {
		return &proctest.Config{Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWTIME, Clocks: c}
	}
	all := []end{
		{name: "SIGKILL", how: kill, marked: true, gone: true, dead: true},
		{name: "SIGTERM", how: func(p *proctest.Process) { p.Signal(syscall.SIGTERM) }, marked: true, gone: true, dead: true},
		{name: "exit", how: order("exit"), marked: true, gone: true, dead: true},
		{name: "return from main", how: order("return"), marked: true, gone: true, dead: true},
		{name: "panic", how: order("panic"), marked: true, gone: true, dead: true},
		{name: "leave, and live on", how: order("leave"), marked: true, gone: true},
		{name: "exec of another program", how: order("exec"), marked: true, gone: true},
		{name: "SIGKILL, a forked child lives", order: "fork", how: kill, marked: true, gone: true, dead: true},
		{name: "SIGKILL, a child with a program lives", order: "child", how: kill, marked: true, gone: true, dead: true},
		{name: "SIGKILL with " + large + " bytes", order: "memory " + large, how: kill, runs: 1, marked: true, gone: true, dead: true},
		{name: "SIGKILL in other PID and user namespaces", config: userPID, how: kill, marked: true, gone: true, deadUnknown: true},
		{name: "SIGKILL, its clocks a day ahead", config: clocks(proctest.Clocks{Monotonic: 24 * time.Hour, Boot: 24 * time.Hour}), how: kill, marked: true, gone: true, dead: true},
		{name: "SIGKILL, its clocks as just booted", config: clocks(proctest.ClocksAtZero(t)), how: kill, marked: true, gone: true, dead: true},
		{name: "core dump", config: &proctest.Config{Env: []string{"GOTRACEBACK=crash"}}, order: "core DIR",
			how: func(p *proctest.Process) { p.Signal(syscall.SIGABRT) }, runs: 1, marked: true, gone: true, dead: true},
		{name: "SIGSTOP", how: func(p *proctest.Process) { p.Signal(syscall.SIGSTOP) }, stopped: true},
	}
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nwhat becomes of it\tn\tmarked p50\tmax\tgone p50\tmax\tdead p50\tmax\t\n")
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			if e.config != nil && e.config.Namespaces != 0 {
				proctest.RequireNamespaces(t, e.config.Namespaces)
			}
			if e.runs == 0 {
				e.runs = *deaths
			}
			var took [3][]time.Duration
			for range e.runs {
				for i, d := range die(t, &e) {
					took[i] = append(took[i], d)
				}
			}
			fmt.Fprintf(w, "%s\t%d\t", e.name, e.runs)
			for i, happens := range []bool{e.marked, e.gone, e.dead} {
				slices.Sort(took[i])
				switch {
				case happens:
					fmt.Fprintf(w, "%v\t%v\t", took[i][len(took[i])/2].Round(time.Microsecond), took[i][len(took[i])-1].Round(time.Microsecond))
				case i == 2 && e.deadUnknown:
					fmt.Fprint(w, "not known\t\t")
				default:
					fmt.Fprint(w, "no\t\t")
				}
			}
			fmt.Fprintln(w)
		})
	}
	w.Flush()
	t.Log(table.String())
}

// die has a member end, and returns after what time it was marked, gone and dead.
func die(t *testing.T, e *end) (took [3]time.Duration) {
	path := newFile(t)
	m := join(t, path)
	p, id := startMember(t, e.config, path)
	if e.order != "" {
		p.Send(strings.Replace(e.order, "DIR", filepath.Dir(path), 1))
		answer := p.Line()
		if pid, ok := strings.CutPrefix(answer, "child "); ok {
			child, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Kill(child, syscall.SIGKILL) })
		}
	}
	identity, generation := m.Identity(id.Index)
	if generation != id.Generation || m.Gone(id) || m.Marked(id) {
		t.Fatalf("%v is not there before it ends", id)
	}
	if dead, known := identity.Dead(); dead || known == e.deadUnknown {
		t.Fatalf("%v before it ends: dead %v, known %v", identity, dead, known)
	}

	rung := m.Deaths.Rung()
	m.Watch(id)
	begun := time.Now()
	e.how(p)
	steps := []struct {
		what    string
		happens bool
		now     func() bool
	}{
		{"marked", e.marked, func() bool { return m.Marked(id) }},
		{"gone", e.gone, func() bool { return m.Gone(id) }},
		{"dead", e.dead, func() bool { dead, known := identity.Dead(); return dead && known }},
	}
	if e.stopped {
		eventually(t, "stopped", func() bool { stopped, known := identity.Stopped(); return stopped && known })
	}
	for i, s := range steps {
		if s.happens {
			eventually(t, s.what, s.now)
			took[i] = time.Since(begun)
		}
	}
	if e.gone {
		eventually(t, "the bell", func() bool { return m.Deaths.Rung() != rung })
	}
	// What does not happen has not happened when the rest has.
	for _, s := range steps {
		if !s.happens && s.now() {
			t.Errorf("%s, and it should not be", s.what)
		}
	}
	if e.stopped {
		p.Signal(syscall.SIGCONT)
		p.Send("leave")
		if line := p.Line(); line != "left" {
			t.Errorf("resumed, it says %q", line)
		}
		eventually(t, "gone", func() bool { return m.Gone(id) })
	}
	if strings.HasPrefix(e.order, "core") {
		cores, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "core*"))
		t.Logf("core files: %d (core_pattern %s)", len(cores), corePattern())
	}
	return took
}

func corePattern() string {
	b, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
