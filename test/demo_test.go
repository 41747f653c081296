package test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoCommand returns a demo with a private folder of its own, and the folder.
func demoCommand(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "private")
	cmd := exec.Command(memlane, append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), "MEMLANE_DIR="+dir)
	return cmd, dir
}

// wantNothingLeft checks that neither files nor processes of the demo remain.
func wantNothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in the private folder: %v, %v", entries, err)
	}
	waitForPeersToEnd(t)
}

// waitForPeersToEnd waits until no process runs as a peer of our demo.
func waitForPeersToEnd(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		running := []string{}
		cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range cmdlines {
			if line, err := os.ReadFile(path); err == nil && string(line) == memlane+"\x00demo-peer\x00" {
				running = append(running, path)
			}
		}
		if len(running) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("peers still run: %v", running)
		}
	}
}

// readUntil reads until the text has come.
func readUntil(t *testing.T, r io.Reader, text string) {
	t.Helper()
	b := make([]byte, 4096)
	for seen := ""; !strings.Contains(seen, text); {
		n, err := r.Read(b)
		if err != nil {
			t.Fatalf("no %q in %q: %v", text, seen, err)
		}
		seen += string(b[:n])
	}
}

func TestDemo(t *testing.T) {
	input := filepath.Join(t.TempDir(), "input")
	content := []byte(strings.Repeat("memlane moves real input. ", 1_500_000)) // 37 MiB: several chunks and a part of one
	if err := os.WriteFile(input, content, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, dir := demoCommand(t, input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(out)
	if want := fmt.Sprintf("%x", sha256.Sum256(content))[:16]; strings.Count(text, want) != 2 {
		t.Errorf("the SHA-256 %s is not there twice", want)
	}
	heads := regexp.MustCompile(`has ([0-9a-f ]+)… at (0x[0-9a-f]+)`).FindAllStringSubmatch(text, -1)
	if len(heads) != 4 {
		t.Fatalf("%d processes say where they have it; want 4\n%s", len(heads), text)
	}
	for _, head := range heads[1:] {
		if head[1] != heads[0][1] || head[2] == heads[0][2] {
			t.Errorf("server: %v, client: %v; want the same bytes at another address", heads[0][1:], head[1:])
		}
	}
	if !strings.HasPrefix(heads[0][1], fmt.Sprintf("% x", content[:8])) {
		t.Errorf("%s is not how the input begins", heads[0][1])
	}
	torn := regexp.MustCompile(`Torn reads on raw memory: ([0-9,]+) of ([0-9,]+)\.`).FindStringSubmatch(text)
	if torn == nil || torn[1] == "0" {
		t.Errorf("torn reads: %v", torn)
	}
	guarded := regexp.MustCompile(`Torn reads of guarded memory: ([0-9,]+) of ([0-9,]+)\.`).FindStringSubmatch(text)
	if guarded == nil || guarded[1] != "0" || guarded[2] == "0" {
		t.Errorf("torn reads of guarded memory: %v", guarded)
	}
	// What part 4 promises is checked by the demo itself.
	slow := regexp.MustCompile(`slow, client 2 +([0-9,]+) +([0-9,]+) +([0-9,]+)\n`).FindStringSubmatch(text)
	if slow == nil || number(slow[3]) == 0 || number(slow[2])+number(slow[3]) != number(slow[1]) {
		t.Errorf("the slow subscriber: %q", slow)
	}
	kept := regexp.MustCompile(`Published: ([0-9,]+) messages, [1-9][0-9,]+/s\. client 1 has received ([0-9,]+), in order, and lost 0\.`).FindStringSubmatch(text)
	if kept == nil || kept[1] != kept[2] {
		t.Errorf("the subscriber that stayed: %q", kept)
	}
	if strings.Count(text, ": 0 torn (0.0 %)") < 3 {
		t.Error("it does not say for each client that nothing was torn")
	}
	for _, row := range []string{
		`What the guard costs: [1-9][0-9,]* reads/s with it, [1-9][0-9,]* without`,
		`time until every client has hashed it +[0-9.]+ ms +[0-9.]+ ms`,
		`processor time, server +[0-9.]+ ms +[0-9.]+ ms`,
		// Not always 0: the Go runtime wakes its own poller with a write.
		`system calls, server +[0-9] +[1-9][0-9,]{2,}`,
		`system calls, clients +[0-9] +[1-9][0-9,]{2,}`,
		`copies of each byte, server +1 +3`,
		`copies of each byte, each client +0 +1`,
		`mapped file \[#+\] `,
		`fast, client 1 +[0-9,]+ +[0-9,]+ +[0-9,]+\n`,
		`client 3 has stopped to read after 100,000 messages; [0-9]+ slots are before it`,
		`Killed with -9\. The publisher went on [0-9.]+ ms after that\.`,
	} {
		if !regexp.MustCompile(row).MatchString(text) {
			t.Errorf("no %q", row)
		}
	}
	if strings.Contains(text, "\r") || strings.Contains(text, "\x1b") {
		t.Error("control characters without a terminal")
	}
	if t.Failed() {
		t.Log(text)
	}
	wantNothingLeft(t, dir)
}

// number reads a number with commas.
func number(text string) int {
	n, err := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
	if err != nil {
		return -1
	}
	return n
}

func TestDemoWithoutFile(t *testing.T) {
	cmd, dir := demoCommand(t)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "64 MiB to 3 clients") {
		t.Errorf("%v\n%s", err, out)
	}
	// A bound of the command's contract, not a measurement.
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	wantNothingLeft(t, dir)
}

func TestDemoEndsCleanly(t *testing.T) {
	for name, tc := range map[string]struct {
		signal syscall.Signal
		code   int
	}{"Ctrl-C": {syscall.SIGINT, 130}, "SIGTERM": {syscall.SIGTERM, 143}} {
		t.Run(name, func(t *testing.T) {
			cmd, dir := demoCommand(t)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			// A process group of its own, as a terminal gives it: Ctrl-C
			// reaches the peers too.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			readUntil(t, stdout, "2. Raw memory")
			syscall.Kill(-cmd.Process.Pid, tc.signal)
			if _, err := io.Copy(io.Discard, stdout); err != nil {
				t.Error(err)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			wantNothingLeft(t, dir)
		})
	}
	t.Run("SIGKILL", func(t *testing.T) {
		cmd, dir := demoCommand(t)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		readUntil(t, stdout, "2. Raw memory")
		cmd.Process.Kill()
		cmd.Wait()
		waitForPeersToEnd(t)
		// An empty folder may remain; the next demo removes it, and nothing
		// that is not a demo's.
		keep := filepath.Join(dir, "demo-project", "precious")
		if err := os.MkdirAll(keep, 0o700); err != nil {
			t.Fatal(err)
		}
		next := exec.Command(memlane, "demo", "/proc/self/cmdline")
		next.Env = cmd.Env
		if out, err := next.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if _, err := os.Stat(keep); err != nil {
			t.Errorf("the demo removed somebody else's folder: %v", err)
		}
		os.RemoveAll(filepath.Join(dir, "demo-project"))
		wantNothingLeft(t, dir)
	})
	t.Run("closed pipe", func(t *testing.T) {
		cmd, dir := demoCommand(t)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stdout.Read(make([]byte, 10))
		stdout.Close()
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 141 {
			t.Errorf("exit code %d, want 141", code)
		}
		wantNothingLeft(t, dir)
	})
}

func TestDemoInput(t *testing.T) {
	run := func(stdin string, args ...string) (string, int) {
		t.Helper()
		cmd, dir := demoCommand(t, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, _ := cmd.CombinedOutput()
		wantNothingLeft(t, dir)
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run("a single short line\n", "-"); code != 0 || !strings.Contains(out, "20 B to 3 clients") {
		t.Errorf("from a pipe: code %d\n%s", code, out)
	}
	if out, code := run("", "-"); code != 1 || !strings.Contains(out, "empty") {
		t.Errorf("an empty pipe: code %d\n%s", code, out)
	}
	// A FIFO that nobody writes: one Ctrl-C is enough.
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, dir := demoCommand(t, fifo)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "One server process")
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("interrupted at a FIFO: code %d", code)
	}
	wantNothingLeft(t, dir)
	if out, code := run("", "/sys/kernel/mm/transparent_hugepage/enabled"); code != 0 {
		t.Errorf("a file of /sys: code %d\n%s", code, out)
	}
	if out, code := run("", "no-such-file"); code != 3 {
		t.Errorf("no file: code %d\n%s", code, out)
	}
	if out, code := run("", t.TempDir()); code != 1 || !strings.Contains(out, "folder") {
		t.Errorf("a folder: code %d\n%s", code, out)
	}
}

// Whatever happens to the input or to a process of it, the demo ends, says why,
// and cleans up.
func TestDemoSurvivesItsParts(t *testing.T) {
	for name, tc := range map[string]struct {
		at   string // the text after which it happens
		do   func(t *testing.T, input string, demo int)
		code int
		says string
	}{
		"input cut short": {"2. Raw memory", func(t *testing.T, input string, _ int) {
			if err := os.Truncate(input, 100); err != nil {
				t.Error(err)
			}
		}, 5, "cut short"},
		"client killed": {"2. Raw memory", func(t *testing.T, _ string, demo int) {
			syscall.Kill(peerOf(t, demo), syscall.SIGKILL)
		}, 1, "the process has ended"},
		"client stopped": {"2. Raw memory", func(t *testing.T, _ string, demo int) {
			syscall.Kill(peerOf(t, demo), syscall.SIGSTOP)
		}, 1, "has not ended after"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			input := filepath.Join(t.TempDir(), "input")
			if err := os.WriteFile(input, make([]byte, 20<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd, dir := demoCommand(t, input)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			readUntil(t, stdout, tc.at)
			tc.do(t, input, cmd.Process.Pid)
			io.Copy(io.Discard, stdout)
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tc.code || !strings.Contains(stderr.String(), tc.says) {
				t.Errorf("exit code %d, want %d; it says %q, want %q", code, tc.code, stderr.String(), tc.says)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("left in the private folder: %v, %v", entries, err)
			}
		})
	}
}

// peerOf returns the last child of the demo, which is a client.
func peerOf(t *testing.T, demo int) int {
	t.Helper()
	var pids []string
	for _, task := range tasks(demo) {
		if more, err := os.ReadFile(filepath.Join(task, "children")); err == nil {
			pids = append(pids, strings.Fields(string(more))...)
		}
	}
	last := 0
	for _, text := range pids {
		if pid, err := strconv.Atoi(text); err == nil {
			last = max(last, pid)
		}
	}
	if last == 0 {
		t.Fatal("the demo has no children")
	}
	return last
}

func tasks(pid int) []string {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	return list
}
