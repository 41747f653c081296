package history

import (
	"fmt"
	"os"
	"reflect"
	"sync/atomic"
	"syscall"

	"github.com/memlane/memlane/mmap"
)

// An op is an operation of a primitive.
type op uint32

const (
	lock op = iota + 1
	tryLock
	unlock
	consistent
	recoverIt
	acquire
	tryAcquire
	release
	post
	waitFor
	tryWait
	set
	reset
	count
	waitAfter
	die // of a process: it was killed, and its end was waited for
)

var opNames = [...]string{"", "Lock", "TryLock", "Unlock", "Consistent", "Recover", "Acquire", "TryAcquire", "Release", "Post", "Wait", "TryWait", "Set", "Reset", "Count", "WaitAfter", "die"}

func (o op) String() string { return opNames[o] }

// An answer is how an operation ended.
type answer uint32

const (
	unknown answer = iota // it did not: its process was killed
	ok
	no   // TryWait of an event: it is not set
	busy // ErrBusy
	late // the context has ended
	ownerDied
	unrecoverable
	notOwner
	notHeld
	invalid // fs.ErrInvalid: nothing to recover
	wrong   // none of these

	// Of topics, beside ok, no (ErrEmpty), busy (ErrFull), late and wrong.
	lagged    // a LaggedError
	torn      // the message is not what was published
	discarded // a loan
)

var answerNames = [...]string{"?", "ok", "no", "busy", "late", "owner died", "unrecoverable", "not owner", "not held", "invalid", "WRONG", "lagged", "TORN", "discarded"}

func (a answer) String() string { return answerNames[a] }

// A record is one operation of one process, as it writes it down itself, in memory
// that outlives it.
type record struct {
	begin, end [2]int64 // seconds and nanoseconds of the clock
	op         op
	arg        uint32
	answer     answer
	out        uint32        // the number that it returned
	done       atomic.Uint32 // begun, then ended; 0: not there
}

const (
	begun = 1
	ended = 2

	processes  = 4  // in a history
	recordsMax = 40 // of a process
)

// A logbook has the records of one history.
type logbook struct {
	*mmap.Mapping
	start   *atomic.Uint32 // the number of the history that is on, and victimDead
	clock   uintptr        // address of two numbers for the conductor
	now     *[2]int64      // these
	records []record       // recordsMax for each process
}

// victimDead is added to the number of a history when its victim is.
const victimDead = 1 << 31

const (
	recordsAt = 64 // in the file
	endAt     = 16 // in a record
)

var recordBytes = int(reflect.TypeFor[record]().Size())

// openLogbook maps the file of the records, and makes it if need be.
func openLogbook(path string) (*logbook, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const size = 1 << 16
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	m, err := mmap.Map(f, size, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	b := &logbook{Mapping: m, clock: m.Addr() + 16}
	if b.start, err = mmap.At[atomic.Uint32](m, 0); err != nil {
		return nil, err
	}
	if b.now, err = mmap.At[[2]int64](m, 16); err != nil {
		return nil, err
	}
	b.records, err = mmap.SliceOf[record](m, recordsAt, processes*recordsMax)
	return b, err
}

// of returns the records of a process.
func (b *logbook) of(process int) []record {
	return b.records[process*recordsMax : (process+1)*recordsMax]
}

// moment returns what the clock says, which is the same for all processes of the
// machine.
func (b *logbook) moment() int64 {
	readClock(b.clock)
	return nanoseconds(*b.now)
}

func nanoseconds(t [2]int64) int64 { return t[0]*1e9 + t[1] }

// readClock has the kernel store CLOCK_MONOTONIC at an address of mapped memory.
// Package time has that clock too, but counts from the start of each process.
func readClock(addr uintptr) {
	const clockMonotonic = 1
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, addr, 0); errno != 0 {
		panic(fmt.Sprintf("clock_gettime: %v", errno))
	}
}
