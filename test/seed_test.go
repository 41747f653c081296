package test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// command runs a program to its end and returns what it printed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// compile builds a C program of testdata/peers.
func compile(t *testing.T, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	command(t, "gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", out, filepath.Join("testdata/peers", name+".c"))
	return out
}

func TestSeedWithCAndPython(t *testing.T) {
	python := func(script string) []string { return []string{"python3", filepath.Join("testdata/peers", script)} }
	servers := map[string][]string{
		"memlane":            {memlane, "server"},
		"memlane with locks": {memlane, "server", "--sync"},
		"C":                  {compile(t, "server")},
		"Python":             python("server.py"),
		"Go":                 {goRun(t, "server")},
	}
	clients := map[string][]string{
		"memlane": {memlane, "client"},
		"C":       {compile(t, "client")},
		"Python":  python("client.py"),
		"Go":      {goRun(t, "client")},
	}
	for from, server := range servers {
		for to, client := range clients {
			t.Run(from+" to "+to, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "memory")
				text := "from " + from + " to " + to
				server, client := slices.Clone(server), slices.Clone(client)
				switch from {
				case "memlane", "memlane with locks":
					server = append(server, "--message", text, "--file", file)
				case "Go":
					server, text = append(server, file), "hello share memory ipc! i'm server."
				default:
					server = append(server, file, text)
				}
				if to == "memlane" {
					client = append(client, "--file")
				}
				client = append(client, file)
				command(t, server[0], server[1:]...)
				if got, want := command(t, client[0], client[1:]...), "ipc client get: "+text+"\n"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

// goRun builds one of the examples that the README shows.
func goRun(t *testing.T, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", out, "./examples/seed/"+name)
	build.Dir = ".."
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// process is a memlane command that runs beside the test.
type process struct {
	*exec.Cmd
	in     io.Closer // what it reads, until the test ends
	out    *bufio.Scanner
	stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(memlane, args...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd}
	p.Cmd.Stderr = &p.stderr
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(stdout)
	if p.in, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.in.Close(); p.Wait() })
	return p
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	overdue := time.AfterFunc(30*time.Second, func() { p.Process.Kill() })
	defer overdue.Stop()
	if !p.out.Scan() {
		t.Fatalf("%q printed no line: %v, %s", p.Args, p.out.Err(), p.stderr.String())
	}
	return p.out.Text()
}

// exit waits for the process and returns its exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	overdue := time.AfterFunc(30*time.Second, func() { p.Process.Kill() })
	defer overdue.Stop()
	for p.out.Scan() {
	}
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func TestClientWaitsForAServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	client := start(t, "client", "--wait", "--file", file)
	if err := os.WriteFile(file, nil, 0o644); err != nil { // not yet sized,
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 1024), 0o644); err != nil { // not yet written
		t.Fatal(err)
	}
	command(t, memlane, "server", "--file", file, "--message", "at last")
	if got := client.line(t); got != "ipc client get: at last" {
		t.Errorf("got %q", got)
	}
	if code := client.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	waiting := start(t, "client", "--wait", "--file", file+"-never")
	waiting.Process.Signal(os.Interrupt)
	if code := waiting.exit(t); code != 130 && code != -1 { // -1: before it had a handler
		t.Errorf("interrupted while waiting: exit code %d", code)
	}
}

func TestClientFollows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	command(t, memlane, "server", "--file", file, "--message", "one")
	client := start(t, "client", "--follow", "--file", file)
	next := func(want string) {
		t.Helper()
		if got := client.line(t); got != "ipc client get: "+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	next("one")
	command(t, memlane, "server", "--file", file, "--message", "two")
	next("two")
	// The file goes away, and another one takes its name.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	command(t, memlane, "server", "--file", file, "--message", "three")
	next("three")
	// It is cut to nothing under the mapping, and written again.
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	command(t, memlane, "server", "--file", file, "--message", "four")
	next("four")
	// Ending it while its file is away is not a failure either.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	client.Process.Signal(os.Interrupt)
	if code := client.exit(t); code != 0 {
		t.Errorf("exit code %d after Ctrl-C: %s", code, client.stderr.String())
	}
}

func TestClientFollowsUntilItsFileIsAFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	command(t, memlane, "server", "--file", file, "--message", "one")
	client := start(t, "client", "--follow", "--file", file)
	client.line(t)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if code := client.exit(t); code != 1 || !strings.Contains(client.stderr.String(), "not a regular file") {
		t.Errorf("exit code %d: %s", code, client.stderr.String())
	}
}

func TestServerHolds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory")
	server := exec.Command(memlane, "server", "--hold", "--file", file)
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Process.Kill()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.Contains(line, "is mapped at 0x") {
		t.Fatalf("%q, %v", line, err)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", server.Process.Pid))
	if err != nil || !bytes.Contains(maps, []byte(file)) {
		t.Errorf("the server does not have %s mapped, %v", file, err)
	}
	server.Process.Signal(syscall.SIGTERM)
	if err := server.Wait(); err != nil {
		t.Errorf("held until SIGTERM: %v", err)
	}
}

func TestFullFileSystemIsAnError(t *testing.T) {
	// A tmpfs of 64 KiB in a mount namespace of our own.
	script := `mount -t tmpfs -o size=64k none "$1" && "$2" server --file "$1/f" --size 1MiB; echo code $?; "$2" server --file "$1/f" --message ok && "$2" client --file "$1/f"`
	args := []string{"-Urm", "sh", "-c", script, "sh", t.TempDir(), memlane}
	if out, err := exec.Command("unshare", "-Urm", "true").CombinedOutput(); err != nil {
		t.Skipf("needs a mount namespace: %v, %s", err, out)
	}
	out := command(t, "unshare", args...)
	for _, want := range []string{"1048576 bytes needed, 65536 free", "code 1", "ipc client get: ok"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}
