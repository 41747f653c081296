package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/memlane/memlane/shmsync"
)

// A job is what a process that is measured was told.
type job struct {
	kind   string
	side   int // of a pair: 0 measures, 1 answers
	path   string
	length time.Duration
}

// jobs are the parts, by name.
var jobs = map[string]func(job) error{
	"uncontended": job.uncontended,
	"handoff":     job.handoff,
	"contended":   job.contended,
	"hold":        job.hold,
	"kill":        job.killOwners,
	"wait":        job.wait,
	"timer":       job.timer,
}

// work is the Go side: it takes the same arguments as the C side.
func work(args []string) error {
	if len(args) != 5 {
		return errors.New("PART KIND SIDE FILE MILLISECONDS are needed")
	}
	part, ok := jobs[args[0]]
	if !ok {
		return fmt.Errorf("there is no part %q", args[0])
	}
	side, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	milliseconds, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	return part(job{args[1], side, args[3], time.Duration(milliseconds) * time.Millisecond})
}

var background = context.Background()

// mutex returns the i-th mutex of the arena.
func (a *arena) mutex(i int) (*shmsync.Mutex, error) {
	return shmsync.MutexAt(a.Segment, primitivesAt+i*apart)
}

// semaphoreBytes is how far semaphores are apart.
const semaphoreBytes = (shmsync.SemaphoreBytes + apart - 1) / apart * apart

// semaphore returns the i-th semaphore of the arena.
func (a *arena) semaphore(i int) (*shmsync.Semaphore, error) {
	return shmsync.SemaphoreAt(a.Segment, primitivesAt+i*semaphoreBytes)
}

// event returns the i-th event of the arena.
func (a *arena) event(i int) (*shmsync.Event, error) {
	return shmsync.EventAt(a.Segment, primitivesAt+i*apart, shmsync.Automatic)
}
