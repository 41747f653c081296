package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/calls"
)

// running is a victim as the conductor sees it. The goroutine is locked to its thread.
type running struct {
	*calls.Victim
	where   place
	killed  bool // at its place
	number  uint64
	hears   *os.File  // what is written there tells it that the conductor has heard of it
	known   bool      // it was told
	offers  int       // messages that the conductor has published since it has heard of that
	last    time.Time // when the conductor has published one before
	at      bool      // it has come to its place
	ended   bool      // it has come to its end, and was not killed
	reports *reports
}

// reports are what a victim has said.
type reports struct {
	lines chan string   // as they come
	ended chan struct{} // closed when no more will come
	all   []string
}

// start starts a victim; it stands nowhere yet, or runs already.
func (s *scene) start(o *operation, where place, kill bool) (*running, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	hears, hear, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	defer hears.Close()
	v := &running{where: where, killed: kill, number: s.somebody(), hears: hear, reports: &reports{lines: make(chan string, 1<<14), ended: make(chan struct{})}}
	how := "stop"
	if kill {
		how = "kill"
	}
	v.Victim, err = calls.Start(where.kind == systems, []*os.File{out, hears}, victimName, o.name, s.folder, fmt.Sprint(v.number), where.String(), how)
	if err != nil {
		return nil, errors.Join(err, in.Close(), hear.Close())
	}
	go func() {
		defer close(v.reports.ended)
		defer in.Close()
		for lines := bufio.NewScanner(in); lines.Scan(); {
			v.reports.lines <- lines.Text()
		}
	}()
	return v, nil
}

// finish waits until the victim, which is gone, has said all.
func (r *reports) finish() {
	<-r.ended
	r.take()
}

// take takes what has come.
func (r *reports) take() {
	for {
		select {
		case l := <-r.lines:
			r.all = append(r.all, l)
		default:
			return
		}
	}
}

// published is one more than the number of the last message that it says to have
// published.
func (r *reports) published() (n uint64) {
	if list := r.after("published"); len(list) > 0 {
		fmt.Sscan(list[len(list)-1], &n)
	}
	return n
}

// has says whether it has said that.
func (r *reports) has(line string) bool { return slices.Contains(r.all, line) }

// after returns what stands behind a word, in all lines that begin with it.
func (r *reports) after(word string) (list []string) {
	for _, l := range r.all {
		if rest, ok := strings.CutPrefix(l, word+" "); ok {
			list = append(list, rest)
		}
	}
	return list
}

// turn is what the conductor does while a victim runs: it receives, and publishes for one
// that has subscribed: until it is heard, and then what that one wants.
func (s *scene) turn(v *running) error {
	v.reports.take()
	if err := s.drain(); err != nil {
		return judgment(err)
	}
	if !v.known && s.next[v.number] > 0 {
		v.known = true
		v.hears.Write([]byte{1}) // it may be dead
	}
	size := 40
	switch {
	case v.reports.has("heard") && v.offers < len(messages):
		size = min(messages[v.offers], 1000)
	case v.reports.has("heard"), !v.reports.has("subscribed"), time.Since(v.last) < helloTime:
		return nil
	}
	switch err := s.publish(size); {
	case errors.Is(err, pubsub.ErrFull): // under Block, because of one who is stopped
	case err != nil:
		return judgment(err)
	case v.reports.has("heard"):
		v.offers++
	}
	v.last = time.Now()
	return nil
}

// run lets the victim go to its place. When it returns the victim stands there, is dead,
// or has come to its end.
func (s *scene) run(v *running) error {
	var ended bool
	var err error
	if v.where.kind == systems {
		ended, err = v.RunTo(v.where.n, func() error { return s.turn(v) })
	} else {
		err = s.await(v, func() (bool, error) {
			var stopped bool
			stopped, ended, err = v.Stopped()
			return stopped || ended, err
		})
	}
	if err != nil {
		return judgment(err)
	}
	v.reports.take()
	if ended {
		v.reports.finish()
	}
	v.at = !ended
	if v.where.kind == stores {
		v.at = len(v.reports.after("at")) > 0 // if it was killed there it has ended
	}
	v.ended = ended && !(v.at && v.killed) // it can end before it has stopped
	return nil
}

// await turns until it is so.
func (s *scene) await(v *running, is func() (bool, error)) error {
	for begun := time.Now(); ; time.Sleep(20 * time.Microsecond) {
		if err := s.turn(v); err != nil {
			return err
		}
		switch met, err := is(); {
		case err != nil:
			return err
		case met:
			return nil
		case time.Since(begun) > calls.Limit:
			return fmt.Errorf("%w: the victim has said %q and goes on no more", errStuck, v.reports.all)
		}
	}
}

// comeToEnd lets a victim that was stopped go on to its end.
func (s *scene) comeToEnd(v *running) error {
	if v.ended {
		return nil
	}
	if v.where.kind == systems {
		if err := v.Release(); err != nil {
			return err
		}
	} else if err := v.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	err := s.await(v, func() (bool, error) {
		_, ended, err := v.Stopped()
		return ended, err
	})
	if err != nil {
		return judgment(fmt.Errorf("after it was let go on: %w", err))
	}
	v.ended = true
	v.reports.finish()
	return nil
}

// kill kills a victim, wherever it is.
func (v *running) kill() error {
	v.hears.Close()
	err := v.Kill()
	v.reports.finish()
	return err
}

// described says where a victim stood.
func (v *running) described() string {
	text := fmt.Sprintf("victim %d at %v", v.number, v.where)
	if v.where.kind == systems {
		return text + ", " + v.Last()
	}
	return text + ", " + strings.Join(v.reports.after("at"), "")
}

// stuck says whether a judge has found that somebody does not go on.
func stuck(err error) bool { return errors.Is(err, errStuck) || errors.Is(err, calls.ErrStuck) }
