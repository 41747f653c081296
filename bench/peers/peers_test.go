package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/memlane/memlane/bench/internal/machine"
)

// printed is what a worker prints.
func printed(line string, samples ...uint32) *bytes.Buffer {
	b := bytes.NewBufferString(line)
	binary.Write(b, binary.LittleEndian, samples)
	return b
}

func TestReadCount(t *testing.T) {
	for _, line := range []string{"12 3000 2 1\n", "12 3000 2 1 0 0\n"} {
		c, err := readCount(printed(line, 100, 200, 7))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if c.messages != 12 || c.took != 3000 || !slices.Equal(c.groups, []uint32{100, 200}) || !slices.Equal(c.singles, []uint32{7}) {
			t.Errorf("%q: %+v", line, c)
		}
	}
	for name, b := range map[string]*bytes.Buffer{
		"nothing":         printed(""),
		"no end of line":  printed("12 3000 0 0"),
		"words":           printed("usage: peer\n"),
		"too few numbers": printed("12 3000 2\n"),
		"no messages":     printed("0 3000 0 0\n"),
		"no time":         printed("12 0 0 0\n"),
		"missing samples": printed("12 3000 2 1\n", 100, 200),
		"samples < 0":     printed("12 3000 -1 0\n"),
		"too many":        printed("12 3000 1000000 0\n"),
	} {
		if c, err := readCount(b); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// entryOf is one whose rounds took so many ns for each of their round trips.
func entryOf(name string, rounds ...uint32) *entry {
	e := &entry{contender: contender{name: name, waits: spins}, task: task{measurement: measurement{latency, 40}, group: 64}}
	for _, ns := range rounds {
		c := &count{messages: 1000, took: time.Duration(1000 * ns)}
		for i := range uint32(1000) {
			c.groups = append(c.groups, 64*ns)
			c.singles = append(c.singles, ns+i)
		}
		e.add(c)
	}
	return e
}

func TestFigure(t *testing.T) {
	floor, memlane := entryOf("floor-line", 100, 100, 200), entryOf("memlane", 110, 120, 260)
	f := memlane.figure(floor, memlane)
	// Of all rounds' single round trips, p99 is the 2970th of 3000.
	if f.N != 3000 || f.P50 != 120 || f.P99 != 1229 || f.P999 != 1256 || f.Max != 1259 {
		t.Errorf("%+v", f)
	}
	if want := (spread{1.2, 1.1, 1.3}); f.ToFloor != want || f.Floor != "floor-line" {
		t.Errorf("to the floor %v, want %v", f.ToFloor, want)
	}
	if want := (spread{1, 1, 1}); f.ToMemlane != want {
		t.Errorf("to itself %v", f.ToMemlane)
	}
	if got := int(f.Rate); got != 1_000_000_000/120 {
		t.Errorf("%d round trips/s", got)
	}
	few := entryOf("memlane")
	few.add(&count{messages: 2, took: 2, groups: []uint32{1}, singles: []uint32{1}})
	if f := few.figure(nil, nil); f.P99 != 0 || f.P999 != 0 {
		t.Errorf("percentiles of one value: %+v", f)
	}
}

// Whoever is missing is in the table, and in the JSON, with the reason.
func TestReportOfWhoIsMissing(t *testing.T) {
	floor, missing := entryOf("floor-line", 100), entryOf("zeromq")
	missing.missing = "there is no gcc"
	figures := []figure{floor.figure(floor, nil), missing.figure(floor, nil)}
	var table, lines bytes.Buffer
	(&report{out: &table}).table(measurement{latency, 40}, figures, []float64{100, 200})
	for _, want := range []string{`(?m)^\| zeromq .*\| there is no gcc \|$`, `(?m)^\| floor-line .* 1 \(1–1\) \|`, "THE PROCESSORS MOVED"} {
		if !regexp.MustCompile(want).Match(table.Bytes()) {
			t.Errorf("no %s in\n%s", want, table.String())
		}
	}
	(&report{out: &lines, json: true}).table(measurement{latency, 40}, figures, []float64{100, 200})
	var got [2]map[string]any
	d := json.NewDecoder(&lines)
	if err := errors.Join(d.Decode(&got[0]), d.Decode(&got[1])); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"transport", "what", "size", "waits", "n", "p50_ns", "p99_ns", "max_ns", "msgs_per_s", "to_floor", "line_ns"} {
		if got[0][key] == nil {
			t.Errorf("no %s in %v", key, got[0])
		}
	}
	if got[1]["missing"] != "there is no gcc" || got[1]["p50_ns"] != nil {
		t.Errorf("%v", got[1])
	}
}

// A peer that cannot be built is missing; without memlane there is no run.
func TestBuildFails(t *testing.T) {
	folder := t.TempDir()
	failing := func(own bool) (*bench, error) {
		b := &bench{ctx: t.Context(), folder: folder, report: report{out: &bytes.Buffer{}}}
		return b, b.build([]*product{{Name: "none", own: own, build: func(b *bench) error {
			_, err := b.command([]string{"compiler-that-is-not-there"}, folder)
			return err
		}}})
	}
	b, err := failing(false)
	if err != nil {
		t.Fatal(err)
	}
	if why := b.products["none"].Missing; !strings.Contains(why, "there is no compiler-that-is-not-there") || !strings.Contains(why, "install-deps") {
		t.Errorf("missing because %q", why)
	}
	if _, err := failing(true); err == nil {
		t.Error("a run without memlane")
	}
}

// A peer that fails while it runs is missing, with what it said; its files are removed.
func TestRunFails(t *testing.T) {
	b := &bench{ctx: t.Context(), products: map[string]*product{"none": {Name: "none"}}, report: report{out: &bytes.Buffer{}}}
	folder := filepath.Join(t.TempDir(), "folder")
	c := contender{name: "none", product: "none", command: func(_ *bench, t task) []string {
		if t.side == 0 {
			return []string{"sleep", "1000"} // waits for the other side
		}
		return []string{"sh", "-c", "echo " + t.folder + " > " + folder + "; touch " + t.folder + "-beside; echo broken >&2; exit 3"}
	}}
	e := &entry{contender: c}
	if err := b.turn(e); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(e.missing, "broken") || !strings.Contains(e.missing, "exit status 3") {
		t.Errorf("missing because %q", e.missing)
	}
	name, err := os.ReadFile(folder)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(strings.TrimSpace(string(name)) + "*"); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A run that is interrupted says so, and blames nobody.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	b := &bench{ctx: ctx, products: map[string]*product{"none": {Name: "none"}}}
	e := &entry{contender: contender{product: "none", command: func(*bench, task) []string { return []string{"true"} }}}
	if err := b.turn(e); !errors.Is(err, interrupted) || e.missing != "" {
		t.Errorf("%v, missing %q", err, e.missing)
	}
}

// run returns what a short run prints, line by line.
func run(t *testing.T, only string) (lines []map[string]any) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc for the floor")
	}
	file := filepath.Join(t.TempDir(), "peers")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(file, "-folder", ".", "-quick", "-rounds", "1", "-json", "-only", only)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", only, err, stderr.String())
	}
	for text := range bytes.Lines(out) {
		var line map[string]any
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%q is no JSON object: %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}

// Everyone who is asked for has plausible figures, or is missing with a reason. How fast
// anything is, is not said here. It is few who are asked for, and of round trips those of
// large messages: beside other tests each of them takes some turns of the scheduler.
// iceoryx2 and Aeron are for who has built them, by make bench-peers.
func TestRun(t *testing.T) {
	if m := machine.This(); len(m.Allowed) < 2 {
		t.Skip("needs two processors")
	}
	asked := map[measurement][]string{{latency, 64 << 10}: {"memlane", "zeromq", "boost"}}
	for file, name := range map[string]string{iceoryxWorker: "iceoryx2", "aeron/Peer.class": "aeron"} {
		if _, err := os.Stat(filepath.Join(".build", file)); err == nil {
			m := measurement{throughput, 1 << 10}
			asked[m] = append(asked[m], name)
		}
	}
	var only []string
	for m, names := range asked {
		only = append(only, fmt.Sprintf("%s/%d/(%s)$", m.what, m.size, strings.Join(names, "|")))
	}
	lines := run(t, strings.Join(only, "|"))
	for m, names := range asked {
		for _, name := range append(names, m.floor()) {
			of := func(l map[string]any) bool {
				return l["transport"] == name && l["what"] == m.what && l["size"] == float64(m.size)
			}
			i := slices.IndexFunc(lines, of)
			if i < 0 {
				t.Errorf("%s: nothing of %s in %v", m.title(), name, lines)
				continue
			}
			plausible(t, m, lines[i])
		}
	}
}

func plausible(t *testing.T, m measurement, l map[string]any) {
	t.Helper()
	if why, missing := l["missing"].(string); missing {
		t.Logf("%s: %s is missing: %s", m.title(), l["transport"], why)
		if why == "" || l["n"] != nil {
			t.Errorf("missing with figures, or without a reason: %v", l)
		}
		return
	}
	value := func(key string) float64 { v, _ := l[key].(float64); return v }
	ratio, _ := l["to_floor"].(map[string]any)
	if median, _ := ratio["median"].(float64); median <= 0 || value("n") < 1 || value("msgs_per_s") < 1 {
		t.Errorf("%s: %v", m.title(), l)
	}
	if m.what == latency && (value("p50_ns") < 1 || value("p50_ns") > value("max_ns") || value("p99_ns") > value("max_ns")) {
		t.Errorf("%s: %v", m.title(), l)
	}
}
