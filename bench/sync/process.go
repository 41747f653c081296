package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A contender is one of those that are compared.
type contender struct {
	name string
	kind string // for the process that runs it
	inC  bool
	env  []string // added to the environment
}

// goParked keeps a Go process from spinning before it sleeps: package wait leaves
// one processor to other goroutines.
var goParked = []string{"GOMAXPROCS=1"}

// overdue is when a process that is measured has failed.
const overdue = time.Minute

// A task is what a process is started for: its arguments, which are the same for
// Go and for C.
type task struct {
	part     string
	side     int
	path     string
	length   time.Duration
	on       string // processors
	contends contender
}

// A process is one that is measured. It is killed when the program ends.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	in     io.WriteCloser
	lines  *bufio.Scanner
	stdout io.Reader
	stderr bytes.Buffer
}

// start starts a process. It must be called on the main goroutine.
func (b *bench) start(t task) (*process, error) {
	command := []string{b.self, "worker"}
	if t.contends.inC {
		command = []string{b.peer}
	}
	command = append(command, t.part, t.contends.kind, strconv.Itoa(t.side), t.path, strconv.FormatInt(t.length.Milliseconds(), 10))
	if t.on != "" {
		command = append([]string{"taskset", "-c", t.on}, command...)
	}
	p := &process{}
	ctx := b.ctx
	ctx, p.cancel = context.WithTimeout(ctx, overdue+t.length)
	p.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	p.cmd.Env = append(os.Environ(), t.contends.env...)
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.stdout, p.lines = stdin, stdout, bufio.NewScanner(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %q: %w", command, err)
	}
	return p, nil
}

func (p *process) failed(err error) error {
	return fmt.Errorf("%q: %w: %s", p.cmd.Args, err, strings.TrimSpace(p.stderr.String()))
}

// line returns the next line that the process prints.
func (p *process) line() (string, error) {
	if p.lines.Scan() {
		return p.lines.Text(), nil
	}
	err := p.lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	if wait := p.cmd.Wait(); wait != nil {
		err = wait
	}
	return "", p.failed(err)
}

// number returns the next line as a number.
func (p *process) number() (float64, error) {
	line, err := p.line()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(line, 64)
	if err != nil {
		return 0, p.failed(err)
	}
	return n, nil
}

// end waits until the process has ended, and returns what it printed.
func (p *process) end() ([]byte, error) {
	defer p.cancel()
	p.in.Close()
	out, err := io.ReadAll(p.stdout)
	if err == nil {
		err = p.cmd.Wait()
	}
	if err != nil {
		return nil, p.failed(err)
	}
	return out, nil
}

// kill ends the process, if it has not ended.
func (p *process) kill() {
	p.cancel()
	p.cmd.Wait()
}

// reap waits for a process that somebody else has killed.
func (p *process) reap() { p.kill() }

// prepare makes an arena with the C side's primitives in it, if it is for that.
func (b *bench) prepare(c contender) (*arena, error) {
	a, err := b.arena(arenaBytes)
	if err != nil || !c.inC {
		return a, err
	}
	p, err := b.start(task{part: "init", path: a.Path(), contends: c})
	if err == nil {
		_, err = p.end()
	}
	return a, err
}

// chosen returns those of the contenders that -only selects and that can run here;
// references are kept if any other is.
func (b *bench) chosen(part, placement string, all []contender, references ...string) (list []contender) {
	selected, reference := 0, map[string]bool{}
	for _, name := range references {
		reference[name] = true
	}
	for _, c := range all {
		matches := b.only.MatchString(part + "/" + placement + "/" + c.name)
		if matches {
			selected++
		}
		if (matches || reference[c.name]) && (b.peer != "" || !c.inC) {
			list = append(list, c)
		}
	}
	if selected == 0 {
		return nil
	}
	return list
}
