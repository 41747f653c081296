package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

func TestWhereAPrimitiveCanBe(t *testing.T) {
	s := newSegment(t)
	area := shmsync.Area(size)
	if area != size-shmsync.AreaBytes || shmsync.Area(size+4095) != area || shmsync.Area(1024) >= 0 {
		t.Errorf("areas at %d, %d and %d", area, shmsync.Area(size+4095), shmsync.Area(1024))
	}
	for _, offset := range []int{-8, 4, area - 56, area, size, size - 8, 1 << 62} {
		_, err := shmsync.MutexAt(s, offset)
		wantError(t, err, []error{segment.ErrSize}, fmt.Sprintf("mutex at offset %d", offset), "before the area")
	}
	noError(t, errors.Join(tryMutex(s, area-shmsync.MutexBytes), tryMutex(s, 8)))
	_, err := shmsync.SemaphoreAt(s, area-shmsync.SemaphoreBytes+8)
	wantError(t, err, []error{segment.ErrSize})
	_, err = shmsync.EventAt(s, 64, 17)
	wantError(t, err, []error{fs.ErrInvalid}, "EventKind(17)")
	_, err = shmsync.MutexAt(nil, 0)
	wantError(t, err, []error{shmsync.ErrArea})
}

func tryMutex(s *segment.Segment, offset int) error {
	_, err := shmsync.MutexAt(s, offset)
	return err
}

func TestKindsAreKeptApart(t *testing.T) {
	s := newSegment(t)
	mutexAt(t, s, 0)
	_, err := shmsync.SemaphoreAt(s, 0)
	wantError(t, err, []error{shmsync.ErrKind}, "these bytes are a mutex")
	eventAt(t, s, 64, shmsync.Manual)
	_, err = shmsync.EventAt(s, 64, shmsync.Automatic)
	wantError(t, err, []error{shmsync.ErrKind}, "manual event")
	copy(s.Bytes()[128:], strings.Repeat("x", 64))
	_, err = shmsync.MutexAt(s, 128)
	wantError(t, err, []error{shmsync.ErrCorrupt})
}

func TestSegmentsWithoutAnArea(t *testing.T) {
	dir := folder(t)
	make := func(name string, size int, fill func(b []byte) error) *segment.Segment {
		s, err := segment.Create(name, size, &segment.Config{Folder: dir, Fill: fill})
		noError(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	_, err := shmsync.MutexAt(make("small", 4096, nil), 0)
	wantError(t, err, []error{shmsync.ErrArea}, "it has 4096 bytes", "65536 bytes larger")
	_, err = shmsync.MutexAt(make("used", size, func(b []byte) error { b[size-1] = 1; return nil }), 0)
	wantError(t, err, []error{shmsync.ErrArea}, "something else is in the bytes from offset", "keep the last 64 KiB")
	_, err = shmsync.MutexAt(make("other", size, func(b []byte) error { copy(b[size-shmsync.AreaBytes:], "mlsync\x02\x00"); return nil }), 0)
	wantError(t, err, []error{shmsync.ErrArea}, "version 2", "knows 1")
	anonymous, err := segment.CreateAnonymous("a", size, nil)
	noError(t, err)
	defer anonymous.Close()
	_, err = shmsync.MutexAt(anonymous, 0)
	wantError(t, err, []error{shmsync.ErrArea}, "anonymous")
	make("read", size, nil)
	reader, err := segment.Attach("read", &segment.Config{Folder: dir, ReadOnly: true})
	noError(t, err)
	defer reader.Close()
	_, err = shmsync.MutexAt(reader, 0)
	wantError(t, err, []error{os.ErrPermission}, "attach it for writing")
	// The memory behind an odd size is the file's all the same.
	odd := make("odd", shmsync.AreaBytes+64, nil)
	_, err = shmsync.MutexAt(odd, 0)
	wantError(t, err, []error{segment.ErrSize})
	noError(t, make("exact", shmsync.AreaBytes, nil).View(func([]byte) error { return nil }))
}

// 256 processes can use a segment, and the next one is told.
func TestTooManyProcesses(t *testing.T) {
	s := newSegment(t)
	for range shmsync.MaxProcesses {
		mutexAt(t, reattach(t, s), 0)
	}
	_, err := shmsync.MutexAt(s, 0)
	wantError(t, err, []error{shmsync.ErrFull}, "256 processes", "close it in some")
}

func TestNames(t *testing.T) {
	s := newSegment(t)
	m, err := shmsync.NamedMutex(background, s, "lock")
	noError(t, err)
	sem, err := shmsync.NamedSemaphore(background, s, "slots", 3)
	noError(t, err)
	e, err := shmsync.NamedEvent(background, s, "Änderung", shmsync.Automatic)
	noError(t, err)
	noError(t, errors.Join(m.Lock(background), sem.Acquire(background), e.Set()))

	other := reattach(t, s)
	same, err := shmsync.NamedMutex(background, other, "lock")
	noError(t, err)
	wantError(t, same.TryLock(), []error{shmsync.ErrBusy}, `lock mutex "lock" of `+s.Path())
	sem2, err := shmsync.NamedSemaphore(background, other, "slots", 99) // it is there: 99 means nothing
	noError(t, err)
	wantPermits(t, sem2, 2, 1)
	_, err = shmsync.NamedSemaphore(background, other, "lock", 1)
	wantError(t, err, []error{shmsync.ErrKind}, "a mutex of that name is there")
	_, err = shmsync.NamedEvent(background, other, "Änderung", shmsync.Manual)
	wantError(t, err, []error{shmsync.ErrKind}, "an automatic event of that name is there")

	var names []string
	for info, err := range shmsync.Names(other) {
		noError(t, err)
		switch {
		case info.Mutex != nil && info.Mutex.Locked && info.Semaphore == nil && info.Event == nil:
			names = append(names, info.Name+" locked")
		case info.Semaphore != nil && info.Semaphore.Permits == 2 && len(info.Semaphore.Holders) == 1:
			names = append(names, info.Name+" 2+1")
		case info.Event != nil && info.Event.Set && info.EventKind == shmsync.Automatic:
			names = append(names, info.Name+" set")
		}
	}
	if got := fmt.Sprint(names); got != "[lock locked slots 2+1 Änderung set]" {
		t.Errorf("names %s", got)
	}
	info, err := shmsync.Lookup(other, "lock")
	if err != nil || info.Mutex == nil || info.Mutex.Holder.PID != os.Getpid() {
		t.Errorf("%+v, %v", info, err)
	}
	_, err = shmsync.Lookup(other, "nothing")
	wantError(t, err, []error{fs.ErrNotExist}, `"nothing"`)

	for _, bad := range []string{"", strings.Repeat("x", 48), "a\x00b", "a\nb", "\xff"} {
		_, err := shmsync.NamedMutex(background, s, bad)
		wantError(t, err, []error{shmsync.ErrName, fs.ErrInvalid})
	}
	noError(t, func() error { _, err := shmsync.NamedMutex(background, s, strings.Repeat("x", 47)); return err }())
	_, err = shmsync.NamedSemaphore(background, s, "n", -1)
	wantError(t, err, []error{fs.ErrInvalid}, "-1 permits are fewer than none")
	_, err = shmsync.NamedSemaphore(background, s, "n", shmsync.MaxPermits+1)
	wantError(t, err, []error{shmsync.ErrTooMany})
	// Permits are of one that is made, and of no other.
	for _, permits := range []int{3, 7} {
		n, err := shmsync.NamedSemaphore(background, s, "n", permits)
		noError(t, err)
		wantPermits(t, n, 3)
	}
}

// Who only looks changes nothing, and joins nobody.
func TestUsed(t *testing.T) {
	s := newSegment(t)
	for _, want := range []bool{false, true} {
		if used, err := shmsync.Used(s); err != nil || used != want {
			t.Errorf("used %v, %v; want %v", used, err, want)
		}
		mutexAt(t, reattach(t, s), 0)
	}
	small, err := segment.Create("small", 4096, &segment.Config{Folder: folder(t)})
	noError(t, err)
	defer small.Close()
	if used, err := shmsync.Used(small); err != nil || used {
		t.Errorf("used %v, %v", used, err)
	}
	other := newSegment(t)
	other.Bytes()[size-1] = 1
	_, err = shmsync.Used(other)
	wantError(t, err, []error{shmsync.ErrArea})
	noError(t, os.Truncate(s.Path(), 0))
	_, err = shmsync.Used(s)
	wantError(t, err, []error{mmap.ErrFault})
}

func TestFullDirectory(t *testing.T) {
	s := newSegment(t)
	for i := range shmsync.MaxNames {
		_, err := shmsync.NamedMutex(background, s, fmt.Sprint("m", i))
		noError(t, err)
	}
	_, err := shmsync.NamedMutex(background, s, "one more")
	wantError(t, err, []error{shmsync.ErrFull}, "62 names", "names are never removed: use another segment")
	_, err = shmsync.NamedMutex(background, s, "m61")
	noError(t, err)
	s = newSegment(t)
	n := 0
	for ; err == nil; n++ {
		_, err = shmsync.NamedSemaphore(background, s, fmt.Sprint("s", n), 1)
	}
	wantError(t, err, []error{shmsync.ErrFull}, "bytes left")
	if n-1 != layout.AreaHeapCount/layout.SemaphoreBytes {
		t.Errorf("room for %d semaphores", n-1)
	}
}

// addNames makes the same names as all others do, each a semaphore with its number
// of permits, and says when it has all.
func addNames(args []string) error {
	s, err := attach(args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	fmt.Scanln() // all begin at once
	for i := range 20 {
		if _, err := shmsync.NamedSemaphore(background, s, fmt.Sprint("s", i), i+1); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return proctest.Hang(s)
}

// Processes that make the same names at the same time, and are killed while they
// do, leave each name once, and whole.
func TestNamesAmongDeaths(t *testing.T) {
	deadline := time.Now().Add(3 * time.Second)
	rounds := 0
	for ; time.Now().Before(deadline); rounds++ {
		s := newSegment(t)
		var all []*proctest.Process
		for range 3 {
			p := proctest.Start(t, nil, "names", s.Path())
			p.Line()
			all = append(all, p)
		}
		for _, p := range all {
			p.Send("begin")
		}
		for _, p := range all[1:] {
			for range rand.IntN(2000) {
				runtime.Gosched()
			}
			p.Kill()
		}
		if line := all[0].Line(); line != "done" {
			t.Fatal(line)
		}
		seen := map[string]bool{}
		for info, err := range shmsync.Names(s) {
			noError(t, err)
			var i int
			if _, err := fmt.Sscanf(info.Name, "s%d", &i); err != nil || seen[info.Name] || info.Semaphore == nil || info.Semaphore.Permits != i+1 {
				t.Errorf("name %q, before: %v: %+v", info.Name, seen[info.Name], info.Semaphore)
			}
			seen[info.Name] = true
		}
		if len(seen) != 20 {
			t.Errorf("%d names", len(seen))
		}
		all[0].Kill()
	}
	t.Logf("%d rounds", rounds)
}

// scribble stores anything anywhere into the segment, for ever.
func scribble(args []string) error {
	s, err := attach(args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	b := s.Bytes()
	// What is used: the primitives at the start, and the area.
	for {
		at := random.IntN(20 << 10)
		if random.IntN(2) == 0 {
			at = shmsync.Area(len(b)) + random.IntN(16<<10)
		}
		switch random.IntN(4) {
		case 0:
			b[at] = byte(random.Uint32())
		case 1:
			b[at] = 0
		case 2: // plausible: other words of it
			from := random.IntN(16<<10) &^ 7
			copy(b[at&^7:at&^7+8], b[from:])
		case 3:
			copy(b[at&^7:at&^7+8], []byte{byte(random.IntN(3)), 0, 0, 0, byte(random.IntN(3)), 0, 0, 0})
		}
	}
}

// One that stores arbitrary bytes all the time can keep others from going on; it
// can not crash them, and not hold them longer than their contexts.
func TestScribbler(t *testing.T) {
	s := newSegment(t)
	m, sem, e, auto := mutexAt(t, s, 0), semaphoreAt(t, s, 4096, 3), eventAt(t, s, 8192, shmsync.Manual), eventAt(t, s, 12288, shmsync.Automatic)
	proctest.Start(t, nil, "scribble", s.Path()).Line()
	results := map[string]int{}
	var mu sync.Mutex
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		results[wordFor(err)]++
	}
	var wg sync.WaitGroup
	deadline := time.Now().Add(4 * time.Second)
	for i := range 4 {
		wg.Go(func() {
			for time.Now().Before(deadline) {
				ctx, cancel := context.WithTimeout(background, time.Millisecond)
				begun := time.Now()
				note(m.Lock(ctx))
				note(m.Unlock())
				m.Consistent()
				m.Recover()
				note(sem.Acquire(ctx))
				note(sem.Release())
				note(sem.Post(1))
				note(sem.Wait(ctx))
				note(e.Set())
				note(e.Reset())
				note(e.Wait(ctx))
				_, err := e.WaitAfter(ctx, 1)
				note(err)
				note(auto.Set())
				note(auto.Wait(ctx))
				m.Status()
				sem.Status()
				e.Status()
				_, err = shmsync.NamedMutex(ctx, s, fmt.Sprint("n", i))
				note(err)
				for range shmsync.Names(s) {
				}
				cancel()
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("a round took %v", took)
				}
			}
		})
	}
	wg.Wait()
	t.Log(results)
	if results["ok"] == 0 || len(results) < 4 {
		t.Errorf("the scribbler has not been noticed: %v", results)
	}
}

// A file that is cut short is an error for all who use it, whether they wait or
// not, and no crash.
func TestTruncated(t *testing.T) {
	for _, left := range []int64{0, 4096, size - shmsync.AreaBytes} {
		s := newSegment(t)
		p, q := serve(t, nil, s), serve(t, nil, s)
		p.do("lock", "ok")
		p.do("acquire 10", "late")
		q.Send("lock")
		m := mutexAt(t, s, 0)
		eventually(t, "a waiter", func() bool { st, err := m.Status(); return err == nil && st.Waiters })
		noError(t, os.Truncate(s.Path(), left))
		if left == 0 {
			wantError(t, m.Lock(background), []error{mmap.ErrFault}, "cut short")
			wantError(t, m.Unlock(), []error{mmap.ErrFault})
			p.do("unlock", "gone")
			p.do("signal", "gone")
			p.do("post", "gone")
			q.want("gone") // the backstop finds it
		}
		_, err := shmsync.NamedMutex(background, s, "n")
		wantError(t, err, []error{mmap.ErrFault})
		err = nil
		for _, err = range shmsync.Names(s) {
		}
		wantError(t, err, []error{mmap.ErrFault})
		_, err = shmsync.MutexAt(s, 64)
		wantError(t, err, []error{mmap.ErrFault})
		noError(t, s.Close())
	}
}

// The name can be taken away: who has the segment goes on, and others can not come.
func TestRemovedSegment(t *testing.T) {
	s := newSegment(t)
	p := serve(t, nil, s)
	p.do("lock", "ok")
	noError(t, os.Remove(s.Path()))
	m := mutexAt(t, s, 0)
	wantError(t, m.TryLock(), []error{shmsync.ErrBusy})
	p.Kill()
	wantError(t, m.Lock(background), []error{shmsync.ErrOwnerDied})
}

// A folder that several users share, and files that not all may write.
func TestPermissions(t *testing.T) {
	dir := folder(t)
	s, err := segment.Create("s", size, &segment.Config{Folder: dir})
	noError(t, err)
	defer s.Close()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	p := proctest.Start(t, &proctest.Config{AsNobody: true}, "obey", s.Path())
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("another user used a segment of mode 0600: %v", err)
	}
}
