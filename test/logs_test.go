package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	lane "github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/logtopic"
)

// logRecords is a process that logs. Args: the folder, its name, how many records a line of
// its input is answered with; "large N" has it log N that are too large, which it drops.
func logRecords(args []string) error {
	d, err := lane.Open("default", &lane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	h, err := logtopic.NewHandler(d, "logs", &logtopic.Config{Program: args[1], Slots: 64, ArenaLimit: 64 << 10, Level: slog.LevelDebug})
	if err != nil {
		return err
	}
	defer h.Close()
	log := slog.New(h)
	fmt.Println("ready")
	for number := 0; ; {
		var what string
		var n int
		if _, err := fmt.Scan(&what, &n); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		message := "a record"
		if what == "large" {
			message = strings.Repeat("x", 64<<10)
		}
		for range n {
			log.LogAttrs(context.Background(), slog.Level(4*(number%4-1)), message, slog.Int("number", number), slog.Group("of", "three", number%3))
			number++
		}
		fmt.Println("logged", h.Dropped())
	}
}

func startLogger(t *testing.T, folder, name string) *proctest.Process {
	t.Helper()
	p := proctest.Start(t, nil, "log", folder, name)
	if line := p.Line(); line != "ready" {
		t.Fatal(line)
	}
	return p
}

func logSome(t *testing.T, p *proctest.Process, what string, n int) {
	t.Helper()
	p.Send(fmt.Sprint(what, " ", n))
	if line := p.Line(); !strings.HasPrefix(line, "logged ") {
		t.Fatal(line)
	}
}

// Logs shows what several processes have logged, and log, in the order of time, and tells
// them apart; one that is killed is shown to the end.
func TestLogs(t *testing.T) {
	folder := t.TempDir()
	a, b := startLogger(t, folder, "a"), startLogger(t, folder, "b")
	for range 5 { // by turns
		logSome(t, a, "small", 1)
		logSome(t, b, "small", 1)
	}
	l := inFolder(t, folder, "logs")
	next := func(p *proctest.Process, name string, number int) {
		t.Helper()
		level := []string{"DEBUG", "INFO", "WARN", "ERROR"}[number%4]
		want := fmt.Sprintf(`^time=20\S+ level=%s program=%s pid=%d msg="a record" number=%d of.three=%d$`, level, name, p.PID(), number, number%3)
		if got := l.line(t); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s; want %s", got, want)
		}
	}
	for i := range 5 {
		next(a, "a", i)
		next(b, "b", i)
	}
	logSome(t, a, "small", 1)
	a.Kill()
	next(a, "a", 5)
	logSome(t, b, "small", 1)
	next(b, "b", 5)
	l.Process.Signal(syscall.SIGINT)
	l.wantExit(t, 0, "")
	if said := l.stderr.String(); said != "" {
		t.Errorf("it says %s", said)
	}
}

// What is there is chosen from, and printed as text or as it was published.
func TestLogsChooses(t *testing.T) {
	folder := t.TempDir()
	a := startLogger(t, folder, "a")
	logSome(t, a, "small", 20)
	b := startLogger(t, folder, "b")
	logSome(t, b, "small", 12)
	for _, c := range []struct {
		args string
		want int
	}{
		{"", 32},
		{"logs", 32},
		{"--level warn", 16},
		{"--level info+1", 16},
		{"--level error --match program=b", 3},
		{"--match of.three=1 --match program=a", 7},
		{"--match of.three=4", 0},
		{"--history 3", 6},
		{"--count 5", 5},
		{"--since 1h", 32},
		{"--since 0s", 0},
		{"--since 2026-01-02T03:04:05+01:00", 32},
		{"--since 2999-01-02T03:04:05Z", 0},
	} {
		for _, output := range []string{"text", "json"} {
			args := append([]string{"logs", "--follow=false", "--folder", folder, "-o", output}, strings.Fields(c.args)...)
			out, stderr, code := run(t, args...)
			if n := strings.Count(out, "\n"); n != c.want || code != 0 || stderr != "" {
				t.Errorf("%q: code %d, %d lines, want %d; %s", args, code, n, c.want, stderr)
			}
			if output != "json" {
				continue
			}
			for line := range strings.Lines(out) {
				var r struct {
					Program string
					PID     int
				}
				if err := json.Unmarshal([]byte(line), &r); err != nil || r.PID != map[string]int{"a": a.PID(), "b": b.PID()}[r.Program] {
					t.Errorf("%v: %s", err, line)
				}
			}
		}
	}
	// Python needs nothing to read what is published.
	script := `import json, sys; print(sum(json.loads(line)["of"]["three"] for line in sys.stdin))`
	python := exec.Command("sh", "-c", memlane+` sub logs --history all --timeout 0 --folder "$0" | python3 -c '`+script+`'`, folder)
	if out, err := python.Output(); err != nil || string(out) != "31\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// A logs that is stopped is told what it has lost, of each process, and what that has
// dropped: nothing is missing that it does not say.
func TestLogsTellsLosses(t *testing.T) {
	folder := t.TempDir()
	a, b := startLogger(t, folder, "a"), startLogger(t, folder, "b")
	logSome(t, a, "small", 1)
	logSome(t, b, "small", 1)
	l := inFolder(t, folder, "logs", "-o", "json")
	l.line(t)
	l.line(t)
	l.Process.Signal(syscall.SIGSTOP)
	eventually(t, "it is stopped", func() bool {
		out, _, _ := run(t, "ps", "--folder", folder)
		return strings.Contains(out, "stopped")
	})
	logSome(t, a, "small", 1000)
	logSome(t, a, "large", 7)
	logSome(t, b, "small", 2000)
	logSome(t, a, "large", 2)
	logSome(t, a, "small", 1)
	logSome(t, b, "large", 5)
	l.Process.Signal(syscall.SIGCONT)
	logSome(t, b, "small", 1)
	type counts struct{ printed, last int }
	got := map[string]*counts{"a": {}, "b": {}}
	for got["a"].last != 1010 || got["b"].last != 2006 {
		var r struct {
			Program string
			Number  int
		}
		line := l.line(t)
		if err := json.Unmarshal([]byte(line), &r); err != nil || got[r.Program] == nil {
			t.Fatalf("%v: %s", err, line)
		}
		got[r.Program].printed++
		got[r.Program].last = r.Number
	}
	l.Process.Signal(syscall.SIGTERM)
	l.wantExit(t, 0, "")
	said := l.stderr.String()
	for _, p := range []struct {
		name              string
		pid, logged, drop int
	}{{"a", a.PID(), 1001, 9}, {"b", b.PID(), 2001, 5}} {
		whose := fmt.Sprintf(`%s\[%d\]`, p.name, p.pid)
		lost, dropped := sum(said, `lost (\d+) records of `+whose+`: too slow`), sum(said, whose+` dropped (\d+) records, which it could not publish`)
		if printed := got[p.name].printed; printed+lost != p.logged || lost < p.logged-2*64 || dropped != p.drop {
			t.Errorf("%s: %d printed, %d lost, of %d; %d dropped, of %d\n%s", p.name, printed, lost, p.logged, dropped, p.drop, said)
		}
	}
}

// sum adds up the numbers of what matches.
func sum(text, pattern string) (total int) {
	for _, m := range regexp.MustCompile("(?m)^memlane: "+pattern+"$").FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		total += n
	}
	return total
}

// Who comes when all is over, or too early.
func TestLogsOfNobody(t *testing.T) {
	folder := t.TempDir()
	want(t, 3, `topic "logs" of domain "default": nobody publishes it (see memlane ls)`, "logs", "--follow=false", "--folder", folder)
	want(t, 6, "", "logs", "--count", "1", "--timeout", "0", "--folder", folder)
	want(t, 0, `waiting for a publisher of "other"`, "logs", "other", "--timeout", "0", "--folder", folder)
	l := inFolder(t, folder, "logs", "--count", "2", "--level", "info")
	a := startLogger(t, folder, "a")
	logSome(t, a, "small", 3)
	for _, number := range []string{" number=1 ", " number=2 "} {
		if line := l.line(t); !strings.Contains(line, number) {
			t.Errorf("no%sin %s", number, line)
		}
	}
	l.wantExit(t, 0, "")
}

// What is no record is told, and not printed; JSON of other programs is.
func TestLogsOfOthers(t *testing.T) {
	folder := t.TempDir()
	l := inFolder(t, folder, "logs", "--count", "1")
	pub := inFolder(t, folder, "pub", "logs")
	pub.write(t, "no record\n{\"level\":\"info\",\"msg\":\"from\\u001b a shell\",\"pid\":7}\n")
	if got, want := l.line(t), `level=info msg="from\x1b a shell" pid=7`; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	l.wantExit(t, 0, "is no record: it is not JSON")
}

// Those who use it wrongly are told.
func TestLogsUsage(t *testing.T) {
	for _, args := range [][]string{{"a", "b"}, {"--level", "loud"}, {"--since", "yesterday"}, {"--match", "key"}, {"--count", "0"}, {"-o", "xml"}, {"--history", "x"}} {
		want(t, 2, "Usage: memlane logs [TOPIC] [flags]", append([]string{"logs"}, args...)...)
	}
}

// The two programs of examples/logs.
func TestLogsExamples(t *testing.T) {
	built := t.TempDir()
	build := exec.Command("go", "build", "-o", built+string(os.PathSeparator), "./examples/logs/...")
	build.Dir = ".."
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	env := append(os.Environ(), "MEMLANE_DIR="+t.TempDir())
	shop, agent := exec.Command(built+"/shop"), exec.Command(built+"/agent")
	shop.Env, agent.Env = env, env
	startCommand(t, shop)
	want := `^{"time":"[^"]+","level":"INFO","program":"shop","pid":` + strconv.Itoa(shop.Process.Pid) + `,"msg":"order served","what":"espresso","at":{"table":1}}$`
	if got := startCommand(t, agent).line(t); !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("%s; want %s", got, want)
	}
}
