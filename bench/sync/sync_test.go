package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// program builds the program, which starts itself again for each process that it
// measures.
func program(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sync")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// run returns what a quick run of some parts prints, line by line.
func run(t *testing.T, file string, env []string, args ...string) []map[string]any {
	t.Helper()
	cmd := exec.Command(file, append([]string{"-quick", "-json"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, stderr.String())
	}
	var lines []map[string]any
	for text := range bytes.Lines(out) {
		var line map[string]any
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%q is no JSON object: %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}

// of returns the line of a contender.
func of(t *testing.T, lines []map[string]any, name, peer string) map[string]any {
	t.Helper()
	i := slices.IndexFunc(lines, func(l map[string]any) bool { return l["name"] == name && l["peer"] == peer })
	if i < 0 {
		t.Fatalf("no line of %s %s in %v", name, peer, lines)
	}
	return lines[i]
}

// A run has what it promises: of every contender figures, and ratios to what it is
// compared with. That the two processes of a hand-off have taken turns, and that
// a crowd's lock has excluded, the program has checked itself, or it would have
// failed; see [TestCountsThatDifferAreFound]. How fast anything is, is not said
// here.
func TestRunHasWhatItPromises(t *testing.T) {
	t.Parallel()
	file := program(t)
	lines := run(t, file, nil, "-only", "uncontended/free/shmsync.Mutex|handoff/same/shmsync.(Event|Mutex)|contended/2/shmsync|death/free/shmsync")
	machine, _ := lines[0]["machine"].(map[string]any)
	for _, key := range []string{"cpu", "processors", "kernel", "go"} {
		if machine[key] == nil || machine[key] == "" {
			t.Errorf("the machine's %s is missing in %v", key, lines[0])
		}
	}
	if d, _ := lines[len(lines)-1]["disturbance"].(map[string]any); d["others"] == nil || d["stolen"] == nil {
		t.Errorf("the last line does not say what else the processors did: %v", lines[len(lines)-1])
	}
	has := func(l map[string]any, keys ...string) {
		t.Helper()
		for _, key := range keys {
			if v, ok := l[key].(float64); !ok || v <= 0 {
				t.Errorf("no %s in %v", key, l)
			}
		}
	}
	has(of(t, lines, "uncontended", "shmsync.Mutex"), "n", "p50_ns", "low_ns", "high_ns")
	has(of(t, lines, "handoff", "shmsync.Event"), "n", "p50_ns", "p99_ns", "max_ns")
	has(of(t, lines, "handoff", "shmsync.Mutex"), "n", "p50_ns", "p99_ns", "max_ns")
	has(of(t, lines, "contended", "shmsync.Mutex"), "n", "processes", "ops_per_s", "max_ns")
	has(of(t, lines, "death", "shmsync.Mutex"), "n", "p50_ns", "max_ns")
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc for the ratios")
	}
	for _, l := range []map[string]any{
		of(t, lines, "uncontended", "shmsync.Mutex"), of(t, lines, "handoff", "shmsync.Event"),
		of(t, lines, "contended", "shmsync.Mutex"), of(t, lines, "death", "shmsync.Mutex"),
	} {
		has(l, "ratio")
	}
	for name, peer := range map[string]string{"uncontended": robustMutex, "handoff": bareFutex, "contended": robustMutex, "death": robustMutex} {
		if l := of(t, lines, name, peer); l["ratio"] != 1.0 {
			t.Errorf("the ratio of %s to itself is %v", peer, l["ratio"])
		}
	}
	if verdicts := slices.DeleteFunc(slices.Clone(lines), func(l map[string]any) bool { return l["verdict"] == nil }); len(verdicts) != 3 {
		t.Errorf("want a verdict for each of three, got %v", verdicts)
	}
}

// Where there is no compiler the Go side is measured alone, and the run says so.
func TestRunWithoutACompiler(t *testing.T) {
	t.Parallel()
	file := program(t)
	lines := run(t, file, []string{"PATH=/nowhere"}, "-only", "handoff/free/shmsync.Event$|uncontended/free/shmsync.Mutex")
	if note, _ := lines[1]["note"].(string); !strings.Contains(note, "no gcc") {
		t.Errorf("it does not say that there is no gcc: %v", lines)
	}
	for _, l := range []map[string]any{of(t, lines, "handoff", "shmsync.Event"), of(t, lines, "uncontended", "shmsync.Mutex")} {
		if l["p50_ns"] == nil || l["ratio"] != nil {
			t.Errorf("want figures and no ratio: %v", l)
		}
	}
}

// Processes at rest have threads and use time, however little.
func TestRest(t *testing.T) {
	t.Parallel()
	lines := run(t, program(t), nil, "-only", "rest/free/(1 on|10 000 on a)")
	for peer, waiters := range map[string]float64{"1 on a Mutex": 1, "1 on a Semaphore": 1, "10 000 on a Mutex": manyWaiters} {
		l := of(t, lines, "rest", peer)
		if threads, _ := l["threads"].(float64); l["n"] != waiters || threads < 2 || l["cpu_ppm"] == nil {
			t.Errorf("want %v waiters, threads and their time: %v", waiters, l)
		}
	}
	if l := lines[len(lines)-2]; l["verdict"] == nil || l["limit"] != float64(threadsLimit) {
		t.Errorf("want a verdict on threads: %v", l)
	}
}

func TestWrongUse(t *testing.T) {
	file := program(t)
	for _, args := range [][]string{{"-only", "("}, {"more"}} {
		var exit *exec.ExitError
		if err := exec.Command(file, args...).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: %v; want exit code 2", args, err)
		}
	}
}

// A hand-off whose sides have not taken turns is no measurement.
func TestCountsThatDifferAreFound(t *testing.T) {
	for _, c := range []struct {
		counts [2]uint64
		shared uint64
		bare   bool
		good   bool
	}{
		{[2]uint64{7, 7}, 13, false, true},
		{[2]uint64{7, 7}, 0, true, true},
		{[2]uint64{7, 6}, 13, false, false}, // one has had a turn more
		{[2]uint64{7, 6}, 0, true, false},
		{[2]uint64{7, 7}, 12, false, false}, // both had it at once
		{[2]uint64{7, 7}, 0, false, false},  // they do not share the memory
	} {
		if err := tookTurns(c.counts, c.shared, c.bare); (err == nil) != c.good {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var l latencies
	for range 2 {
		var round []uint32
		for i := range uint32(5000) {
			round = append(round, 5000-i)
		}
		l.add(round)
	}
	var r result
	l.fill(&r)
	if r.N != 10_000 || r.P50 != 2500 || r.P99 != 4950 || r.P999 != 4995 || r.Max != 5000 {
		t.Errorf("%+v", r)
	}
	s := ratios([]float64{10, 30, 20}, []float64{10, 10, 10})
	if (s != spread{2, 1, 3}) {
		t.Errorf("%+v", s)
	}
}
