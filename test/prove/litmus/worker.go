package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/word"
	"github.com/memlane/memlane/mmap"
)

const (
	processesMost = 4
	cells         = 256 // rounds in a batch

	// Where things are in the memory.
	lineBytes = 128
	overAt    = processesMost * lineBytes
	masksAt   = overAt + lineBytes
	seenAt    = 4096
	cellsAt   = seenAt + processesMost*cells*16
	cellBytes = 1024
	payloadAt = 512 // in a cell
	size      = cellsAt + cells*cellBytes

	// beyond is how many times as many rounds there may be as were asked for, or as much
	// time, until what has to be seen is.
	beyond = 200
)

// A memory is what the processes of a test share.
type memory struct {
	*mmap.Mapping
	at    [processesMost]*word.Uint64 // how often each has come to meet the others
	over  *word.Uint64                // 1 after the last batch
	seen  [processesMost][]word.Uint64
	cells [cells]cell
}

// open maps the file, which has so many bytes.
func open(f *os.File) (*memory, error) {
	mapping, err := mmap.Map(f, size, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	m := &memory{Mapping: mapping}
	var errs []error
	at := func(offset int) *word.Uint64 {
		w, err := mmap.At[word.Uint64](mapping, offset)
		errs = append(errs, err)
		return w
	}
	for p := range processesMost {
		m.at[p] = at(p * lineBytes)
		m.seen[p], err = mmap.SliceOf[word.Uint64](mapping, seenAt+p*cells*16, cells*2)
		errs = append(errs, err)
	}
	m.over = at(overAt)
	for i := range m.cells {
		from := cellsAt + i*cellBytes
		n, err := mmap.At[word.Uint32](mapping, from+3*lineBytes)
		errs = append(errs, err)
		m.cells[i] = cell{at(from), at(from + lineBytes), at(from + 2*lineBytes), n, m.Bytes()[from+payloadAt:][:payloadBytes]}
	}
	return m, errors.Join(errs...)
}

// outcome returns what came of a round.
func (m *memory) outcome(i int) (o outcome) {
	for p := range o.Seen {
		o.Seen[p] = [2]uint64{word.LoadPlain(&m.seen[p][2*i]), word.LoadPlain(&m.seen[p][2*i+1])}
	}
	c := &m.cells[i]
	o.X, o.Y, o.Z, o.N = c.x.Load(), c.y.Load(), c.z.Load(), uint64(c.n.Load())
	return o
}

// A worker is one of the processes of a test.
type worker struct {
	*memory
	test  *test
	me    int
	rnd   *rand.Rand
	met   uint64 // how often they have met
	looks int    // at the others, before it lets them have its processor
}

// work is the worker process: args are the test, which of its processes this is, the
// rounds, the nanoseconds after which there need not be so many, and the seed. The first of
// them judges, and prints a tally.
func work(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("%d arguments; want test, process, rounds, time and seed", len(args))
	}
	var numbers [4]uint64
	for i := range numbers {
		n, err := strconv.ParseUint(args[1+i], 10, 64)
		if err != nil {
			return err
		}
		numbers[i] = n
	}
	i := slices.IndexFunc(all, func(t test) bool { return t.name == args[0] })
	if i < 0 || numbers[0] >= uint64(len(all[i].programs)) {
		return fmt.Errorf("process %d of test %q: there is none", numbers[0], args[0])
	}
	runtime.LockOSThread()
	f := os.NewFile(3, "the memory")
	m, err := open(f)
	if err != nil {
		return fmt.Errorf("map the memory of %s: %w", args[0], err)
	}
	w := &worker{memory: m, test: &all[i], me: int(numbers[0]), rnd: rand.New(rand.NewPCG(numbers[3], numbers[0])), looks: 2000}
	if len(w.test.programs) > runtime.NumCPU() {
		w.looks = 20
	}
	if err := w.pin(); err != nil {
		return fmt.Errorf("pin process %d of %s to a processor: %w", w.me, args[0], err)
	}
	tally := w.play(numbers[1], time.Duration(numbers[2]))
	if w.me != 0 {
		return nil
	}
	return json.NewEncoder(os.Stdout).Encode(tally)
}

// pin keeps this thread on one of the processors that it may use, another one than its
// neighbours are on: else the kernel has them share one for a while at first. The mask of
// processors is in the memory, where the kernel finds it.
func (w *worker) pin() error {
	at := masksAt + w.me*lineBytes
	mask, address := w.Bytes()[at:at+lineBytes], w.Addr()+uintptr(at)
	n, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, lineBytes, address)
	if errno != 0 {
		return errno
	}
	var may []int
	for i := range 8 * int(n) {
		if mask[i/8]&(1<<(i%8)) != 0 {
			may = append(may, i)
		}
	}
	clear(mask)
	one := may[w.me%len(may)]
	mask[one/8] = 1 << (one % 8)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, n, address); errno != 0 {
		return errno
	}
	return nil
}

// A tally is what came of the rounds.
type tally struct {
	Rounds   uint64
	Odd      uint64 // outcomes
	Outcomes map[string]uint64
}

// play plays rounds in batches: each round in memory of its own, so that nothing has to
// be cleared between them.
func (w *worker) play(rounds uint64, enough time.Duration) (sum tally) {
	begun := time.Now()
	outcomes := map[outcome]uint64{}
	run := w.test.programs[w.me]
	for batch := 0; w.over.Load() == 0; batch++ {
		// Who has cleared the memory has its lines, and is faster than the others.
		if batch%len(w.test.programs) == w.me {
			clear(w.Bytes()[cellsAt:])
		}
		w.meet()
		for i := range w.cells {
			delay := w.rnd.Uint64() >> (54 + w.rnd.IntN(10))
			w.meet()
			for range delay {
			}
			a, b := run(&w.cells[i])
			word.StorePlain(&w.seen[w.me][2*i], a)
			word.StorePlain(&w.seen[w.me][2*i+1], b)
		}
		w.meet()
		if w.me == 0 {
			for i := range w.cells {
				o := w.outcome(i)
				outcomes[o]++
				if w.test.odd(&o) {
					sum.Odd++
				}
			}
			sum.Rounds += cells
			// Where all rounds end in the same way the processes have not met.
			shown := len(outcomes) > 1 && (sum.Odd > 0 || !w.test.wanted)
			took := time.Since(begun)
			if shown && (sum.Rounds >= rounds || took >= enough) || sum.Rounds >= beyond*rounds || took/beyond >= enough {
				w.over.Store(1)
			}
		}
		w.meet()
	}
	sum.Outcomes = texts(outcomes, len(w.test.programs))
	return sum
}

// meet waits until all processes of the test have come here. If all are running, each goes on
// as soon as it has the others' lines.
func (w *worker) meet() {
	w.met++
	w.at[w.me].Store(w.met)
	for p := range w.test.programs {
		for look := 1; w.at[p].Load() < w.met; look++ {
			if look%w.looks == 0 {
				syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
			}
		}
	}
}

// texts are outcomes as a person reads them: what each process has seen, and what was in
// the words at the end.
func texts(outcomes map[outcome]uint64, processes int) map[string]uint64 {
	all := make(map[string]uint64, len(outcomes))
	for o, n := range outcomes {
		var b strings.Builder
		for _, s := range o.Seen[:processes] {
			fmt.Fprintf(&b, "(%d %d) ", s[0], s[1])
		}
		fmt.Fprintf(&b, "x %d y %d z %d n %d", o.X, o.Y, o.Z, o.N)
		all[b.String()] += n
	}
	return all
}
