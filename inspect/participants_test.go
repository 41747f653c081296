package inspect_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/proctest"
)

func participants(t *testing.T, folder string) []inspect.Participant {
	t.Helper()
	list, err := inspect.Participants("test", &memlane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// of returns the participant that a process is.
func of(t *testing.T, folder string, pid int) inspect.Participant {
	t.Helper()
	list := participants(t, folder)
	i := slices.IndexFunc(list, func(p inspect.Participant) bool { return p.PID == pid })
	if i < 0 {
		t.Fatalf("process %d is not among %+v", pid, list)
	}
	return list[i]
}

// Processes of three PID namespaces are told with their numbers here and there.
func TestParticipantsOfNamespaces(t *testing.T) {
	const namespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID
	proctest.RequireNamespaces(t, namespaces)
	folder := t.TempDir()
	inside := &proctest.Config{Namespaces: namespaces, AsUser: os.Getuid()}
	here := proctest.Start(t, nil, "take part", folder, "publisher", "numbers")
	one := proctest.Start(t, inside, "take part", folder, "subscriber", "numbers")
	two := proctest.Start(t, inside, "take part", folder, "subscriber", "words")
	for _, p := range []*proctest.Process{here, one, two} {
		p.Line()
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	for p, want := range map[*proctest.Process]inspect.Port{
		here: {Topic: "numbers", Role: "publisher"}, one: {Topic: "numbers", Role: "subscriber"}, two: {Topic: "words", Role: "subscriber"},
	} {
		got := of(t, folder, p.PID())
		inner := 1
		if p == here {
			inner = p.PID()
		}
		if got.State != inspect.Alive || got.InnerPID != inner || got.UID != os.Getuid() || got.Program != program || !slices.Equal(got.Ports, []inspect.Port{want}) {
			t.Errorf("%+v; want process %d there, alive, %q, %+v", got, inner, program, want)
		}
		seen[got.PIDNamespace] = true
	}
	if len(seen) != 3 || seen[0] {
		t.Errorf("the namespaces are %v; want three", seen)
	}
	// From one of them the others have no number.
	lines := strings.Fields(strings.ReplaceAll(proctest.Run(t, inside, "list", folder), "\n", " "))
	want := ""
	for _, p := range participants(t, folder) {
		want += fmt.Sprintln(p.ID, "alive 0 0", os.Getuid())
	}
	if got := strings.Join(lines, " "); got != strings.Join(strings.Fields(want), " ") {
		t.Errorf("from inside another namespace it is\n%s; want\n%s", got, want)
	}
}

// Who is stopped is told as stopped, who was killed as dead, until somebody has cleaned
// up; nobody notices that he was looked at.
func TestStatesOfParticipants(t *testing.T) {
	folder := t.TempDir()
	if list := participants(t, folder); len(list) != 0 {
		t.Errorf("nobody is there: %+v", list)
	}
	p := proctest.Start(t, nil, "take part", folder, "subscriber", "numbers")
	p.Line()
	state := func(want inspect.State) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; {
			list := participants(t, folder)
			if len(list) == 1 && list[0].State == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%+v; want one that is %s", list, want)
			}
		}
	}
	state(inspect.Alive)
	for range 100 {
		state(inspect.Alive)
	}
	if got := proctest.Run(t, nil, "list", folder); strings.Count(got, "\n") != 0 {
		t.Errorf("who looks takes part: %s", got)
	}
	p.Signal(syscall.SIGSTOP)
	state(inspect.Stopped)
	p.Signal(syscall.SIGCONT)
	state(inspect.Alive)
	p.Kill()
	state(inspect.Dead)
	if dead := participants(t, folder)[0]; dead.PID != 0 || dead.Program != "" || len(dead.Ports) != 1 {
		t.Errorf("of the dead it says %+v", dead)
	}
	d := open(t, folder, "test")
	if list := participants(t, folder); len(list) != 1 || list[0].PID != os.Getpid() {
		t.Errorf("after somebody has come: %+v", list)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if list := participants(t, folder); len(list) != 0 {
		t.Errorf("after he has left: %+v", list)
	}
}
