package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// An order is what a worker process is to hold.
type order struct {
	Folder       string
	Participants int
	Publishes    []string
	Subscribes   []string
	Alone        bool // each publishes a topic that nobody else has
}

// An answer is what a worker says of itself.
type answer struct {
	Err         string
	Took        time.Duration // what was ordered
	Descriptors int
	Mappings    int
	Resident    int // bytes, with what is shared
	Goroutines  int
}

// worker is a worker process as the conductor sees it.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a worker, which opens nothing yet.
func start() (*worker, error) {
	cmd := exec.Command("/proc/self/exe", "worker")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &worker{cmd, in, bufio.NewReader(out)}, nil
}

// tell has a worker do something, and does not wait for it.
func (w *worker) tell(o order) error { return json.NewEncoder(w.in).Encode(o) }

// hear waits for the answer.
func (w *worker) hear() (a answer, err error) {
	line, err := w.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err == nil && a.Err != "" {
		err = errors.New(a.Err)
	}
	return a, err
}

// do has a worker do something.
func (w *worker) do(o order) (answer, error) {
	if err := w.tell(o); err != nil {
		return answer{}, err
	}
	return w.hear()
}

func (w *worker) kill() {
	w.cmd.Process.Kill()
	w.cmd.Wait()
}

// killAll kills all at once.
func killAll(all []*worker) {
	for _, w := range all {
		w.cmd.Process.Kill()
	}
	for _, w := range all {
		w.cmd.Wait()
	}
}

// perProcess is how many participants a process has at most.
const perProcess = 50

// crowd starts processes that together have so many participants; o says what each has.
func crowd(n int, o order) (all []*worker, err error) {
	for n > 0 {
		w, err := start()
		if err != nil {
			killAll(all)
			return nil, err
		}
		all = append(all, w)
		o.Participants = min(n, perProcess)
		n -= o.Participants
		if _, err := w.do(o); err != nil {
			killAll(all)
			return nil, err
		}
	}
	return all, nil
}

// work is a worker: it does what it is ordered to, and says what it has then, until it is
// killed.
func work([]string) error {
	var held []any
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			runtime.KeepAlive(held)
			return nil
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			return err
		}
		begun := time.Now()
		more, err := o.hold()
		a := answer{Took: time.Since(begun)}
		held = append(held, more...)
		if err != nil {
			a.Err = err.Error()
		}
		a.measure()
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			return err
		}
	}
}

// hold has all participants of the order open at once.
func (o order) hold() (held []any, err error) {
	var mu sync.Mutex
	var opening sync.WaitGroup
	for i := range o.Participants {
		opening.Go(func() {
			all, failed := o.one(i)
			mu.Lock()
			defer mu.Unlock()
			held = append(held, all...)
			err = errors.Join(err, failed)
		})
	}
	opening.Wait()
	return held, err
}

// one is one participant of it.
func (o order) one(i int) (held []any, err error) {
	d, err := memlane.Open("joins", &memlane.Config{Folder: o.Folder})
	if err != nil {
		return nil, err
	}
	held = append(held, d)
	publishes := o.Publishes
	if o.Alone {
		publishes = append(publishes, fmt.Sprintf("alone %d %d", os.Getpid(), i))
	}
	for _, topic := range publishes {
		p, err := pubsub.Publish(d, topic, nil)
		if err != nil {
			return held, err
		}
		held = append(held, p)
	}
	for _, topic := range o.Subscribes {
		s, err := pubsub.Subscribe(d, topic, nil)
		if err != nil {
			return held, err
		}
		held = append(held, s)
	}
	return held, nil
}

// measure enters what the process has.
func (a *answer) measure() {
	runtime.GC()
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		a.Descriptors = len(fds) - 1 // the one that reads
	}
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		a.Mappings = strings.Count(string(maps), "\n")
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			var kib int
			if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
				a.Resident = kib << 10
			}
		}
	}
	a.Goroutines = runtime.NumGoroutine()
}

// less is what has come to an answer since another.
func (a answer) less(b answer) answer {
	a.Descriptors -= b.Descriptors
	a.Mappings -= b.Mappings
	a.Resident -= b.Resident
	a.Goroutines -= b.Goroutines
	return a
}

// within waits until so many subscribers of a publisher are there.
func within(p *pubsub.Publisher, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.WaitSubscribers(ctx, n)
}
