package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/rounds"
)

const (
	domainName = "churn"

	// answerTime is how long joining waits for an answer; who took half of it may have
	// waited in vain for somebody.
	answerTime = 100 * time.Millisecond
	// lateAfter is longer than a call may take, whoever is stopped.
	lateAfter = 2 * time.Second
	// pacePerParticipant is how long a participant rests between two things that it does,
	// at most, for each participant that there is: they share the processors.
	pacePerParticipant = 200 * time.Microsecond
	// joinsMost is far more than the average participant joins topics in its process's life.
	joinsMost = 100
)

// A worker is a process with several participants.
type worker struct {
	*ledgers
	folder      string
	incarnation uint64
	seed        uint64
	patience    time.Duration
	size        size
	mutant      string
	entry       *process
}

// work is the worker process: args are the folder, its incarnation, the seed, the patience,
// the processes, the participants of each, the topics, and which mutant it is, "" if none.
func work(args []string) error {
	if len(args) != 8 {
		return fmt.Errorf("worker: %d arguments; want 8", len(args))
	}
	var numbers [6]uint64
	for i := range numbers {
		n, err := strconv.ParseUint(args[1+i], 10, 64)
		if err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		numbers[i] = n
	}
	w := &worker{folder: args[0], incarnation: numbers[0], seed: numbers[1], patience: time.Duration(numbers[2]),
		size: size{processes: int(numbers[3]), participants: int(numbers[4]), topics: int(numbers[5])}, mutant: args[7]}
	var err error
	if w.ledgers, err = openLedgers(w.folder); err != nil {
		return fmt.Errorf("worker: open the ledgers: %w", err)
	}
	w.entry = &w.processes.Entries[w.incarnation]
	if err := w.run(); err != nil {
		w.entry.Tell(err)
		return fmt.Errorf("worker %d: %w", w.incarnation, err)
	}
	return nil
}

// run runs all participants until they have left, and then says what is left of them.
func (w *worker) run() error {
	if err := w.warm(); err != nil {
		return err
	}
	w.entry.before.measure()
	var all []*participant
	for i := range w.size.participants {
		p := &participant{w: w, index: i, rnd: rand.New(rand.NewPCG(w.seed, w.incarnation<<32+uint64(i)))}
		if err := p.open(); err != nil {
			return err
		}
		all = append(all, p)
	}
	if err := rounds.Announce(w.incarnation); err != nil {
		return err
	}
	w.entry.before.descriptors.Add(^uint64(0)) // one less: that of the announcement
	var living sync.WaitGroup
	failed := make(chan error, len(all))
	for _, p := range all {
		living.Go(func() { failed <- p.live() })
	}
	for range all {
		if err := <-failed; err != nil {
			return err // and the process ends
		}
	}
	living.Wait()
	if w.mutant == keeps {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		defer f.Close()
	}
	w.settle()
	for w.stage() < over {
		w.finished(leave)
		time.Sleep(time.Millisecond)
	}
	return nil
}

// warm does once what makes a process have for good what it needs only once, in a domain of
// its own.
func (w *worker) warm() error {
	folder, err := os.MkdirTemp(w.folder, "warm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	d, err := memlane.Open(domainName, &memlane.Config{Folder: folder})
	if err != nil {
		return err
	}
	p, err := pubsub.Publish(d, "warm", nil)
	if err != nil {
		return err
	}
	if _, err := pubsub.Subscribe(d, "warm", nil); err != nil {
		return err
	}
	if err := p.TryPublish(make([]byte, 100)); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	var f figures
	f.measure() // the folder of descriptors is read
	return nil
}

// settle waits until the process has what it had before, or long enough; what it has then is
// judged by the conductor.
func (w *worker) settle() {
	before := &w.entry.before
	for end := time.Now().Add(w.patience / 2); ; time.Sleep(10 * time.Millisecond) {
		now := &w.entry.after
		now.measure()
		if now.descriptors.Load() <= before.descriptors.Load() && now.goroutines.Load() <= before.goroutines.Load() &&
			now.mappings.Load() <= before.mappingsMost(now) || time.Now().After(end) {
			return
		}
		w.step(0)
	}
}

// measure enters what this process has.
func (f *figures) measure() {
	runtime.GC() // what is unreachable is given back by it, and by what it has run
	if all, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.descriptors.Store(uint64(len(all) - 1)) // without the one that reads
	}
	if text, err := os.ReadFile("/proc/self/maps"); err == nil {
		f.mappings.Store(uint64(strings.Count(string(text), "\n")))
	}
	if all, err := os.ReadDir("/proc/self/task"); err == nil {
		f.threads.Store(uint64(len(all)))
	}
	f.goroutines.Store(uint64(runtime.NumGoroutine()))
}

// mappingsMost is how many mappings a process may have that had these: some for its own
// heap, which has grown, and, with cgo, those of threads that the Go runtime keeps.
func (f *figures) mappingsMost(now *figures) uint64 {
	const heap, thread = 64, 4
	return f.mappings.Load() + heap + thread*(max(now.threads.Load(), f.threads.Load())-f.threads.Load())
}

func (w *worker) stage() uint64 { return w.processes.Header.stage.Load() }

// clock counts a beginning.
func (w *worker) clock() uint64 { return w.processes.Header.clock.Add(1) }

// step notes that a participant goes on.
func (w *worker) step(i int) { w.entry.participants[i].steps.Add(1) }

// finished notes that all participants have done the work of a stage.
func (w *worker) finished(stage uint64) {
	for i := range w.size.participants {
		w.step(i)
		w.entry.participants[i].done.Store(stage)
	}
}

// timed does something that nobody may hold up, and says how long it took.
func (w *worker) timed(what func() error) (time.Duration, error) {
	stopped := w.entry.stopped.Load()
	begun := time.Now()
	err := what()
	took := time.Since(begun)
	if took > lateAfter && stopped%2 == 0 && w.entry.stopped.Load() == stopped {
		w.entry.late.Add(1)
	}
	return took, err
}
