package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	roleArgument = "-role"

	// patience is how long an honest process may do nothing.
	patience = 10 * time.Second

	memoryMost      = 256 << 10 // KiB
	descriptorsMost = 1000
	threadsMost     = 200
)

// others are the processes that mean harm, by their roles.
var others = []string{
	scribblingSubscriber, scribblingSubscriber, scribblingPublisher, scribblingPublisher,
	liar, liar, talker, crowd,
}

// A round is a domain's life: honest processes and others use it for a while.
type round struct {
	seed     uint64
	duration time.Duration
	mutant   string
	figures  figures

	folder string
	mu     sync.Mutex
	all    []*process
}

// A process is one of the round's.
type process struct {
	*exec.Cmd
	role    string
	honest  bool
	said    strings.Builder // on standard error
	in      io.WriteCloser
	ended   chan struct{}
	moved   atomic.Int64 // when it has last said that it goes on, in ns
	number  atomic.Int64 // what it said: messages
	attacks atomic.Int64
}

// run runs the round. The error is broken, or what else went wrong.
func (r *round) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.duration)
	defer cancel()
	if r.folder, err = os.MkdirTemp("/dev/shm", "memlane-hostile-"); err != nil {
		if r.folder, err = os.MkdirTemp("", "memlane-hostile-"); err != nil {
			return err
		}
	}
	defer os.RemoveAll(r.folder)
	defer r.kill()
	rnd := rand.New(rand.NewPCG(r.seed, 0))
	begun := time.Now()
	publisher, err := r.start(honestPublisher, rnd.Uint64())
	if err != nil {
		return err
	}
	subscriber, err := r.start(honestSubscriber, rnd.Uint64())
	if err != nil {
		return err
	}
	go pass(subscriber, publisher)
	for _, role := range others {
		go r.keep(ctx, role, rnd.Uint64())
	}
	err = r.watch(ctx, publisher, subscriber)
	r.figures = figures{seconds: int(time.Since(begun).Seconds()), messages: int(subscriber.number.Load()),
		attacks: int(subscriber.attacks.Load() + publisher.attacks.Load())}
	if err == nil && r.figures.messages == 0 {
		err = broken{errors.New("no message has come")}
	}
	return err
}

// pass tells the publisher how far the subscriber is.
func pass(subscriber, publisher *process) {
	for last := int64(-1); ; time.Sleep(time.Millisecond) {
		select {
		case <-subscriber.ended:
			return
		default:
		}
		if n := subscriber.number.Load(); n != last {
			last = n
			if _, err := fmt.Fprintln(publisher.in, n); err != nil {
				return
			}
		}
	}
}

// start starts a process.
func (r *round) start(role string, seed uint64) (*process, error) {
	p := &process{Cmd: exec.Command("/proc/self/exe", roleArgument, role, r.folder, strconv.FormatUint(seed, 10), r.mutant),
		role: role, ended: make(chan struct{}), honest: role == honestPublisher || role == honestSubscriber}
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if p.honest {
		p.Stderr = &p.said
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	p.moved.Store(time.Now().UnixNano())
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var number, attacks int64
			fmt.Sscan(lines.Text(), &number, &attacks)
			if number != p.number.Swap(number) {
				p.moved.Store(time.Now().UnixNano())
			}
			p.attacks.Store(attacks)
		}
		p.Wait()
		close(p.ended)
	}()
	r.mu.Lock()
	r.all = append(r.all, p)
	r.mu.Unlock()
	return p, nil
}

// keep keeps a process that means harm going: it may end, of what it has done itself.
func (r *round) keep(ctx context.Context, role string, seed uint64) {
	for ; ctx.Err() == nil; seed++ {
		p, err := r.start(role, seed)
		if err != nil {
			return
		}
		select {
		case <-p.ended:
			time.Sleep(20 * time.Millisecond)
		case <-ctx.Done():
		}
	}
}

// kill ends all processes.
func (r *round) kill() {
	for killed := 0; ; {
		r.mu.Lock()
		todo := r.all[killed:]
		r.mu.Unlock()
		if len(todo) == 0 {
			return
		}
		for _, p := range todo {
			p.Process.Kill()
			<-p.ended
		}
		killed += len(todo)
	}
}

// watch looks at the honest processes until the time is over.
func (r *round) watch(ctx context.Context, honest ...*process) error {
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
		for _, p := range honest {
			select {
			case <-p.ended:
				return broken{fmt.Errorf("the %s has ended (%v): %s", p.role, p.ProcessState, p.said.String())}
			default:
			}
			if stands := time.Since(time.Unix(0, p.moved.Load())); stands > patience {
				p.Process.Signal(syscall.SIGQUIT)
				<-p.ended
				return broken{fmt.Errorf("the %s does nothing for %v: %s", p.role, stands, p.said.String())}
			}
			if err := p.bounded(); err != nil {
				return broken{fmt.Errorf("the %s %w", p.role, err)}
			}
		}
	}
}

// bounded says what a process has too much of.
func (p *process) bounded() error {
	proc := fmt.Sprintf("/proc/%d", p.Process.Pid)
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return nil // it has just ended
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		var n int
		switch name, rest, _ := strings.Cut(line, ":"); name {
		case "VmRSS":
			if fmt.Sscan(rest, &n); n > memoryMost {
				return fmt.Errorf("has %d KiB of memory", n)
			}
		case "Threads":
			if fmt.Sscan(rest, &n); n > threadsMost {
				return fmt.Errorf("has %d threads", n)
			}
		}
	}
	if len(fds) > descriptorsMost {
		return fmt.Errorf("has %d descriptors", len(fds))
	}
	return nil
}
