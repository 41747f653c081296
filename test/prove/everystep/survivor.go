package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/shmsync"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
)

// limit is how long a survivor may take for anything.
const limit = step.Limit

// late is when an answer has come of a backstop, and not of a wake.
const late = 500 * time.Millisecond

// A survivor does what it is told, one order after the other, on a thread of its
// own. One is this process, the other is the servant, a process for that.
type survivor struct {
	name    string
	pid     int
	thread  int
	orders  func(order string) error
	answers chan string
	order   string // that is not answered; "" if there is none
	late    int    // answers that took longer than half a second
	end     func() // ends it, unless it is in the middle of something and not a process
	tell    func() // has it say on standard error what it is doing, and end; nil: it cannot
}

// local returns the survivor that this process is.
func local(v *view) *survivor {
	orders := make(chan string, 1)
	s := &survivor{name: "conductor", pid: os.Getpid(), answers: make(chan string, 1),
		orders: func(order string) error { orders <- order; return nil }, end: func() { close(orders) }}
	started := make(chan int)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- syscall.Gettid()
		for order := range orders {
			s.answers <- obey(v, order)
		}
	}()
	s.thread = <-started
	return s
}

// servant starts the process that is the other survivor.
func servant(path string) (*survivor, error) {
	cmd := exec.Command("/proc/self/exe", servantName, path)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the servant: %w", err)
	}
	s := &survivor{name: "servant", pid: cmd.Process.Pid, thread: cmd.Process.Pid, answers: make(chan string, 1), order: "begin",
		orders: func(order string) error { _, err := io.WriteString(in, order+"\n"); return err },
		end:    func() { cmd.Process.Kill(); cmd.Wait() },
		tell:   func() { cmd.Process.Signal(syscall.SIGQUIT); cmd.Wait() }}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.answers <- lines.Text()
		}
		close(s.answers)
	}()
	return s, s.want("ready")
}

const servantName = "servant"

// serve is the servant.
func serve(path string) error {
	v, err := attach(path)
	if err != nil {
		return err
	}
	if err := errors.Join(v.join(), v.warm()); err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(obey(v, in.Text()))
	}
	return in.Err()
}

func init() {
	// Its orders are obeyed on its first thread, where the conductor looks whether
	// it sleeps.
	if len(os.Args) > 1 && os.Args[1] == servantName {
		runtime.LockOSThread()
	}
}

// begin gives an order whose answer is waited for later.
func (s *survivor) begin(order string) error {
	if s.order != "" {
		return fmt.Errorf("%s is told to %q and has not answered %q", s.name, order, s.order)
	}
	if err := s.orders(order); err != nil {
		return fmt.Errorf("tell the %s to %q: %w", s.name, order, err)
	}
	s.order = order
	return nil
}

// park gives an order that cannot be obeyed at once, and returns when it sleeps.
func (s *survivor) park(order string) error {
	if err := s.begin(order); err != nil {
		return err
	}
	for end := time.Now().Add(limit); !step.Sleeps(s.pid, s.thread); runtime.Gosched() {
		if s.answered() {
			return fmt.Errorf("%s: %s answers %q, and should wait", s.name, order, <-s.answers)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %s: it does not fall asleep: %w", s.name, order, places.ErrStuck)
		}
	}
	return nil
}

// answered says whether the answer is there.
func (s *survivor) answered() bool { return len(s.answers) > 0 }

// answer waits for the answer.
func (s *survivor) answer() (string, error) {
	begun := time.Now()
	select {
	case text, ok := <-s.answers:
		order := s.order
		s.order = ""
		if !ok {
			return "", fmt.Errorf("%s has ended instead of answering %q", s.name, order)
		}
		if time.Since(begun) > late {
			s.late++
		}
		return text, nil
	case <-time.After(limit):
		if s.tell != nil {
			s.tell()
		}
		return "", fmt.Errorf("%s: %s: no answer within %v: %w", s.name, s.order, limit, places.ErrStuck)
	}
}

// want waits for the answer, which must be this.
func (s *survivor) want(want string) error {
	order := s.order
	got, err := s.answer()
	if err == nil && got != want {
		err = fmt.Errorf("%s: %s answers %q; want %q", s.name, order, got, want)
		if got == "late" && strings.HasSuffix(order, patient) {
			err = fmt.Errorf("%w: %w", err, places.ErrStuck)
		}
	}
	return err
}

// do gives an order and wants this answer.
func (s *survivor) do(order, want string) error {
	if err := s.begin(order); err != nil {
		return err
	}
	return s.want(want)
}

// Ends of orders: how long to wait, in milliseconds.
const (
	brief   = " 1"
	patient = " 9000" // shorter than limit
	forever = " 0"
)

// words are what the results of operations are called in answers.
var words = []struct {
	word string
	err  error
}{
	{"ok", nil}, {"torn", errTorn}, {"died", shmsync.ErrOwnerDied}, {"unrecoverable", shmsync.ErrUnrecoverable},
	{"busy", shmsync.ErrBusy}, {"late", context.DeadlineExceeded}, {"absent", fs.ErrNotExist},
}

// obey does what an order says, and answers with a word.
func obey(v *view, order string) string {
	fields := strings.Fields(order)
	number := func(i int) int {
		if i >= len(fields) {
			return 0
		}
		n, _ := strconv.Atoi(fields[i]) // 0 where a name stands
		return n
	}
	ctx := background
	if milliseconds := number(len(fields) - 1); len(fields) > 1 && milliseconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(milliseconds)*time.Millisecond)
		defer cancel()
	}
	var err error
	switch fields[0] {
	case "use":
		err = v.use(ctx)
	case "lock":
		err = v.m.Lock(ctx)
	case "unlock":
		err = v.m.Unlock()
	case "recover":
		err = v.recover()
	case "acquire":
		err = v.guard.Acquire(ctx)
	case "tryacquire":
		err = v.guard.TryAcquire()
	case "release":
		err = v.guard.Release()
	case "wait":
		err = v.signal.Wait(ctx)
	case "trywait":
		err = v.signal.TryWait()
	case "await":
		err = v.manual.Wait(ctx)
	case "take":
		err = v.auto.Wait(ctx)
	case "tryawait":
		return answerTo(v.manual.TryWait())
	case "trytake":
		return answerTo(v.auto.TryWait())
	case "name": // NAME PERMITS MILLISECONDS: find it, or add it
		_, err = shmsync.NamedSemaphore(ctx, v.s, fields[1], number(2))
	case "look": // NAME: how many permits it has
		var info shmsync.Info
		if info, err = shmsync.Lookup(v.s, fields[1]); err == nil && info.Semaphore != nil {
			return strconv.Itoa(info.Semaphore.Permits)
		}
	default:
		err = errors.New("no such order")
	}
	for _, w := range words {
		if errors.Is(err, w.err) {
			return w.word
		}
	}
	return "error: " + err.Error()
}

func answerTo(yes bool, err error) string {
	switch {
	case err != nil:
		return "error: " + err.Error()
	case yes:
		return "yes"
	}
	return "no"
}
