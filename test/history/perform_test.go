package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// A performer is a process that does random operations and writes them down.
type performer struct {
	book     *logbook
	records  []record
	at       int // the next of them
	rnd      *rand.Rand
	victim   bool    // it will be killed
	survivor bool    // another one will be
	number   uint32  // of the history
	abandon  bool    // it leaves unrecoverable what owners that died have left
	address  uintptr // of records
}

// perform is the helper process: args are the paths of the segment and of the
// logbook, and which of the processes it is. Each line of its input is a history to
// take part in: what of, where in the segment, its number, the seed, and which
// process will be killed.
func perform(args []string) error {
	s, err := segment.Attach(filepath.Base(args[0]), &segment.Config{Folder: filepath.Dir(args[0])})
	if err != nil {
		return err
	}
	book, err := openLogbook(args[1])
	if err != nil {
		return err
	}
	me, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	p := &performer{book: book, records: book.of(me), address: book.Addr() + recordsAt + uintptr(me*recordsMax*recordBytes)}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var what string
		var offset int
		var number uint32
		var seed uint64
		var victim int
		if _, err := fmt.Sscan(in.Text(), &what, &offset, &number, &seed, &victim); err != nil {
			return fmt.Errorf("read %q: %w", in.Text(), err)
		}
		p.at, p.number, p.victim, p.survivor, p.abandon = 0, number, victim == me, victim >= 0 && victim != me, number/2%2 == 0
		p.rnd = rand.New(rand.NewPCG(seed, uint64(me)))
		play, err := programs[what](p, s, offset)
		if err != nil {
			return fmt.Errorf("%s at %d: %w", what, offset, err)
		}
		fmt.Println("ready")
		for book.start.Load()&^victimDead != number {
			time.Sleep(10 * time.Microsecond)
		}
		play()
		fmt.Println("done")
	}
	return in.Err()
}

// programs prepare, for each kind of primitive, what a process does with it in a
// history.
var programs = map[string]func(*performer, *segment.Segment, int) (play func(), err error){
	"mutex": func(p *performer, s *segment.Segment, offset int) (func(), error) {
		m, err := shmsync.MutexAt(s, offset)
		return func() { p.playMutex(m) }, err
	},
	"semaphore": func(p *performer, s *segment.Segment, offset int) (func(), error) {
		sem, err := shmsync.SemaphoreAt(s, offset)
		return func() { p.playSemaphore(sem) }, err
	},
	"manual": func(p *performer, s *segment.Segment, offset int) (func(), error) {
		e, err := shmsync.EventAt(s, offset, shmsync.Manual)
		return func() { p.playEvent(e, true) }, err
	},
	"automatic": func(p *performer, s *segment.Segment, offset int) (func(), error) {
		e, err := shmsync.EventAt(s, offset, shmsync.Automatic)
		return func() { p.playEvent(e, false) }, err
	},
}

// goesOn says whether there is room for more than the end of the program. The last
// operations of those who live wait until the victim is dead, so that somebody finds
// what it has left. It is called when the mutex is not held.
func (p *performer) goesOn() bool {
	for p.survivor && p.at > recordsMax-12 && p.book.start.Load() != p.number+victimDead {
		time.Sleep(10 * time.Microsecond)
	}
	return p.at <= recordsMax-5 // a turn has five at most
}

// do does one operation and writes it down.
func (p *performer) do(o op, arg uint32, f func() (uint32, error)) answer {
	r := &p.records[p.at]
	at := p.address + uintptr(p.at*recordBytes)
	p.at++
	r.op, r.arg = o, arg
	readClock(at)
	r.done.Store(begun)
	out, err := f()
	readClock(at + endAt)
	r.answer, r.out = answerOf(err), out
	if r.answer == ok && o == tryWait && out == isNot {
		r.answer, r.out = no, 0
	}
	r.done.Store(ended)
	p.rest()
	return r.answer
}

// isNot is what TryWait of an event returns here for false.
const isNot = 1<<32 - 1

// rest lets others in between: not at all, or for a moment, or by sleeping. Who will
// be killed takes longer, so that it holds something when it is.
func (p *performer) rest() {
	if p.victim {
		time.Sleep(time.Duration(p.rnd.IntN(300)) * time.Microsecond)
		return
	}
	switch p.rnd.IntN(8) {
	case 0:
		time.Sleep(time.Duration(p.rnd.IntN(100)) * time.Microsecond)
	case 1, 2, 3:
		for end := time.Now().Add(time.Duration(p.rnd.IntN(10_000))); time.Now().Before(end); {
		}
	}
}

func answerOf(err error) answer {
	for a, target := range map[answer]error{
		busy: shmsync.ErrBusy, late: context.DeadlineExceeded, ownerDied: shmsync.ErrOwnerDied, unrecoverable: shmsync.ErrUnrecoverable,
		notOwner: shmsync.ErrNotOwner, notHeld: shmsync.ErrNotHeld, invalid: fs.ErrInvalid,
	} {
		if errors.Is(err, target) {
			return a
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return wrong
	}
	return ok
}

// within calls f with a context that ends soon.
func (p *performer) within(f func(context.Context) error) func() (uint32, error) {
	return func() (uint32, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(p.rnd.IntN(2000))*time.Microsecond)
		defer cancel()
		return 0, f(ctx)
	}
}

func plain(f func() error) func() (uint32, error) {
	return func() (uint32, error) { return 0, f() }
}

// playMutex locks and unlocks, also where that must fail.
func (p *performer) playMutex(m *shmsync.Mutex) {
	unlockIt := func() answer { return p.do(unlock, 0, plain(m.Unlock)) }
	for p.goesOn() {
		var got answer
		recovered := false
		switch n := p.rnd.IntN(20); {
		case n < 8:
			got = p.do(lock, 0, plain(func() error { return m.Lock(context.Background()) }))
		case n < 12:
			got = p.do(lock, 0, p.within(m.Lock))
		case n < 17:
			got = p.do(tryLock, 0, plain(m.TryLock))
		case n < 18:
			unlockIt()
		case n < 19:
			p.do(consistent, 0, plain(m.Consistent))
		default:
			got = p.do(recoverIt, 0, plain(m.Recover))
			recovered = got == ok
		}
		if got == unrecoverable && p.rnd.IntN(2) == 0 {
			recovered = p.do(recoverIt, 0, plain(m.Recover)) == ok
		}
		if recovered {
			got = ownerDied
		}
		if got == ownerDied && (recovered || !p.abandon) {
			p.do(consistent, 0, plain(m.Consistent))
		}
		if got == ok || got == ownerDied {
			if p.rnd.IntN(8) == 0 {
				p.do(tryLock, 0, plain(m.TryLock))
			}
			unlockIt()
		}
	}
}

// playSemaphore uses it as a guard and as a signal at once.
func (p *performer) playSemaphore(s *shmsync.Semaphore) {
	held := 0
	for p.goesOn() {
		switch n := p.rnd.IntN(20); {
		case n < 4:
			if p.do(acquire, 0, p.within(s.Acquire)) == ok {
				held++
			}
		case n < 7:
			if p.do(tryAcquire, 0, plain(s.TryAcquire)) == ok {
				held++
			}
		case n < 12 && held > 0, n < 8:
			if p.do(release, 0, plain(s.Release)) == ok {
				held--
			}
		case n < 15:
			k := 1 + p.rnd.IntN(2)
			p.do(post, uint32(k), plain(func() error { return s.Post(k) }))
		case n < 18:
			p.do(waitFor, 0, p.within(s.Wait))
		default:
			p.do(tryWait, 0, plain(s.TryWait))
		}
	}
}

// playEvent sets, resets and waits; it follows only a manual one.
func (p *performer) playEvent(e *shmsync.Event, follow bool) {
	var seen uint32
	for p.goesOn() {
		switch n := p.rnd.IntN(20); {
		case n < 6:
			p.do(set, 0, plain(e.Set))
		case n < 9:
			p.do(reset, 0, plain(e.Reset))
		case n < 12:
			p.do(waitFor, 0, p.within(e.Wait))
		case n < 15:
			p.do(tryWait, 0, func() (uint32, error) {
				is, err := e.TryWait()
				if !is {
					return isNot, err
				}
				return 0, err
			})
		case n < 17 || !follow:
			p.do(count, 0, func() (n uint32, err error) { n, err = e.Count(); seen = n; return n, err })
		default:
			p.do(waitAfter, seen, func() (n uint32, err error) {
				p.within(func(ctx context.Context) error { n, err = e.WaitAfter(ctx, seen); return err })()
				if err == nil {
					seen = n
				}
				return n, err
			})
		}
	}
}
