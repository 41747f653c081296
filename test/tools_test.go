package test

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// pipeline is a domain with a publisher that waits for a subscriber, which is stopped, and
// another one.
type pipeline struct {
	folder            string
	pub, slow, stream *process
	streamed          chan int      // how many lines the stream has had, at its end
	written           chan struct{} // closed when the publisher has read all
}

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	p := &pipeline{folder: t.TempDir(), streamed: make(chan int, 1), written: make(chan struct{})}
	p.slow, p.stream = inFolder(t, p.folder, "sub", "orders"), inFolder(t, p.folder, "sub", "orders", "--until-end")
	go func() {
		n := 0
		for p.stream.out.Scan() {
			n++
		}
		p.streamed <- n
	}()
	p.pub = inFolder(t, p.folder, "pub", "orders", "--no-wait")
	subscribed(t, p.folder, "orders", 2)
	p.slow.Process.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { p.slow.Process.Signal(syscall.SIGCONT) })
	eventually(t, "it is stopped", func() bool {
		out, _, _ := run(t, "ps", "--folder", p.folder)
		return strings.Contains(out, "stopped")
	})
	// Each batch of lines is a slot, and there are 1024: not all of these find room.
	go func() {
		io.WriteString(p.pub.in.(io.Writer), strings.Repeat(strings.Repeat("x", 100)+"\n", 1_000_000))
		close(p.written)
	}()
	eventually(t, "it is waited for", func() bool {
		l := statOf(t, p.folder, "orders")
		return len(l.Publishers) == 1 && l.Publishers[0].Waiting
	})
	return p
}

// Who is slow, since when, who waits for it, and what to do, is told by lag, hz, bw, info.
func TestSlowSubscriberIsTold(t *testing.T) {
	p := newPipeline(t)
	tells := func(pattern string, args ...string) {
		t.Helper()
		pattern = "(?m)" + pattern
		var out, stderr string
		eventually(t, fmt.Sprint(args, " says ", pattern), func() bool {
			var code int
			out, stderr, code = run(t, append(args, "--folder", p.folder)...)
			if code != 0 {
				t.Fatalf("%q: code %d: %s%s", args, code, out, stderr)
			}
			return regexp.MustCompile(pattern).MatchString(out)
		})
	}
	pid, other := p.slow.Process.Pid, p.stream.Process.Pid
	tells(fmt.Sprintf(`^orders +%d +memlane +stopped +\d+ +100%% +0 +0 +\d\d:\d\d:\d\d \(\d+s\) +its publisher waits for it$`, pid), "lag")
	tells(fmt.Sprintf(`^default +%d +- +\w+ +stopped +[1-9]\d+ +/.*memlane +subscriber of orders$`, pid), "ps", "--lag")
	tells(fmt.Sprintf(`^default +%d +- +\w+ +alive +- +/.*memlane +publisher of orders$`, p.pub.Process.Pid), "ps", "--lag")
	tells(fmt.Sprintf(`^orders +%d +memlane +alive +0 +0%% +0 +0 +- +-$`, other), "lag", "--all", "orders")
	tells(`^\d\d:\d\d:\d\d +0\.00 +0\.00 +0\.00 +0\.00 +- +orders$`, "hz", "--count", "1", "--interval", "10ms")
	tells(`^\d\d:\d\d:\d\d +0 B/s +0 B/s +0 B/s +0 B/s +- +orders$`, "bw", "--count", "1", "--interval", "10ms", "orders")
	tells(`^  publisher +[0-9a-f]{16} +\d+ +\w+ +alive +block +1024 of 128 B +[\d.]+ \wiB +/.*memlane$`, "info", "orders")
	tells(fmt.Sprintf(`^  subscriber +[0-9a-f]{16} +%d +\w+ +stopped +- +- +- +/.*memlane$`, pid), "info", "orders")
	tells(`^Processes +2 alive\nProcesses +1 stopped$`, "info")

	// It goes on: all is published and counted.
	p.slow.Process.Signal(syscall.SIGCONT)
	p.slow.Process.Kill() // for it does not read what it prints
	<-p.written
	p.pub.in.Close()
	if n := <-p.streamed; n != 1_000_000 {
		t.Errorf("%d lines", n)
	}
}

// What is counted is what is published.
func TestRates(t *testing.T) {
	folder := t.TempDir()
	s := inFolder(t, folder, "sub", "n")
	p := inFolder(t, folder, "pub", "n")
	p.write(t, "first\n")
	s.line(t)
	hz := inFolder(t, folder, "hz", "n", "-o", "json", "--interval", "20ms")
	line := func() (r struct{ Messages, Bytes uint64 }) {
		t.Helper()
		if err := json.Unmarshal([]byte(hz.line(t)), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	line() // it has looked once
	p.write(t, strings.Repeat("12345678\n", 1000))
	var messages, bytes uint64
	for messages < 1000 {
		r := line()
		messages, bytes = messages+r.Messages, bytes+r.Bytes
	}
	if messages != 1000 || bytes != 8000 {
		t.Errorf("%d messages, %d bytes", messages, bytes)
	}
	hz.Process.Signal(syscall.SIGINT)
	hz.wantExit(t, 0, "")
}

// All that commands print with -o json is what spec/output says.
func TestOutputs(t *testing.T) {
	p := newPipeline(t)
	segments := t.TempDir()
	for _, args := range [][]string{
		{"segment", "create", "one", "--size", "1MiB", "--folder", segments},
		{"sync", "post", filepath.Join(segments, "one") + ":permits"},
	} {
		if out, stderr, code := run(t, args...); code != 0 {
			t.Fatalf("%q: %d: %s%s", args, code, out, stderr)
		}
	}
	recorded, recording := recorder(t, t.TempDir(), "a topic", "--count", "1")
	inFolder(t, recorded.Args[len(recorded.Args)-1], "pub", "a topic").write(t, "a text\n")
	recorded.wantExit(t, 0, "")
	files, err := filepath.Glob("../spec/output/*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"bw":           {args: []string{"bw", "--count", "2", "--interval", "10ms"}},
		"hz":           {args: []string{"hz", "--count", "2", "--interval", "10ms"}},
		"top":          {args: []string{"top", "--count", "2", "--interval", "10ms"}},
		"cat":          {args: []string{"cat", recording}},
		"clean":        {args: []string{"clean"}},
		"doctor":       {args: []string{"doctor"}, code: 1}, // a publisher waits for who is stopped
		"info":         {args: []string{"info"}},
		"info-topic":   {args: []string{"info", "orders"}},
		"lag":          {args: []string{"lag"}},
		"ls":           {args: []string{"ls"}},
		"ps":           {args: []string{"ps", "--lag"}},
		"stat":         {args: []string{"stat"}},
		"segment-ls":   {args: []string{"segment", "ls"}},
		"segment-info": {args: []string{"segment", "info", "one"}},
		"sync-ls":      {args: []string{"sync", "ls", filepath.Join(segments, "one")}},
	} {
		seen++
		args := append(c.args, "-o", "json")
		switch c.args[0] {
		case "segment":
			args = append(args, "--folder", segments)
		case "sync", "cat":
		default:
			args = append(args, "--folder", p.folder)
		}
		schema, err := jsonschema.NewCompiler().Compile("../spec/output/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		out, stderr, code := run(t, args...)
		if code != c.code {
			t.Errorf("%q: code %d: %s", args, code, stderr)
		}
		values := 0
		for in := json.NewDecoder(strings.NewReader(out)); ; values++ {
			var v any
			if err := in.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%q: %v in %s", args, err, out)
			}
			if err := schema.Validate(v); err != nil {
				t.Errorf("%q: %v\n%s", args, err, out)
			}
			if list, is := v.([]any); is && len(list) == 0 && name != "clean" {
				t.Errorf("%q: nothing", args)
			}
		}
		if want := map[string]int{"bw": 2, "hz": 2, "top": 2}[name]; values != max(want, 1) {
			t.Errorf("%q: %d values", args, values)
		}
	}
	if seen != len(files) {
		t.Errorf("%d outputs, %d schemas", seen, len(files))
	}
}

// The live view in a terminal.
func TestTop(t *testing.T) {
	p := newPipeline(t)
	socket := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	// The shell stays, so that what is on the screen after it is seen.
	tmux("new-session", "-d", "-x", "140", "-y", "24", fmt.Sprintf("printf 'before\\n'; %s top --folder %s --interval 250ms; echo code $?; cat", memlane, p.folder))
	t.Cleanup(func() { exec.Command("tmux", "-S", socket, "kill-server").Run() })
	shows := func(pattern string) {
		t.Helper()
		screen := ""
		re := regexp.MustCompile("(?m)" + pattern)
		for i := 0; i < 3000 && !re.MatchString(screen); i++ {
			screen = tmux("capture-pane", "-p")
		}
		if !re.MatchString(screen) {
			t.Fatalf("no %s on\n%s", pattern, screen)
		}
	}
	pid := p.slow.Process.Pid
	shows(`^memlane top  domain default  \d\d:\d\d:\d\d  every 250ms  1 topic  4 processes  1 stopped$`)
	shows(fmt.Sprintf(`^orders +1 +2 +0 +0 B +0 +100%% +waited for, stopped: memlane %d, \d\d:\d\d:\d\d \(\d+s\)$`, pid))
	shows(fmt.Sprintf(`^memlane %d +stopped +0 +[\d,]+ +100%% +0 +0 +\d\d:\d\d:\d\d \(\d+s\) +its publisher waits for it$`, pid))
	tmux("send-keys", "Tab")
	shows(fmt.Sprintf(`^ *%d  stopped +0 +1 +/.*memlane$`, pid))
	tmux("send-keys", "?")
	shows(`^p +pause, and go on$`)
	tmux("send-keys", "q")
	shows(`^before\ncode 0$`)
}

// Top needs a terminal, and says what to use elsewhere.
func TestTopElsewhere(t *testing.T) {
	want(t, 1, "needs a terminal (elsewhere, use top -o json, or stat --watch 1s)", "top", "--folder", t.TempDir())
}
