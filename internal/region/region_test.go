package region_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/mmap"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{"count": count, "elsewhere": faultElsewhere})
}

var pageSize = os.Getpagesize()

func open(t testing.TB, size int) (*os.File, *region.Region) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	r, err := region.Map(int(f.Fd()), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Retire() })
	return f, r
}

// counts is how often count adds.
const counts = 100_000

// count adds to the first word of the file args[0] when another has begun to, and then
// sets the second.
func count(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	r, err := region.Map(int(f.Fd()), pageSize)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for r.Uint32(0).Load() == 0 {
		runtime.Gosched()
	}
	for range counts {
		r.Uint32(0).Add(1)
	}
	r.Uint32(4).Store(1)
	return r.Err()
}

func TestTwoProcessesCount(t *testing.T) { countWith(t, nil) }

func TestTwoArchitecturesCount(t *testing.T) { countWith(t, proctest.OtherArchitecture(t)) }

func countWith(t *testing.T, c *proctest.Config) {
	t.Helper()
	f, r := open(t, pageSize)
	p := proctest.Start(t, c, "count", f.Name())
	p.Line()
	meanwhile := r.Uint32(0).Add(1)
	for ; r.Uint32(4).Load() == 0 && meanwhile < 1<<30; meanwhile++ {
		r.Uint32(0).Add(1)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := r.Uint32(0).Load(); n != meanwhile+counts {
		t.Errorf("counted to %d, of which %d here; want %d there", n, meanwhile, counts)
	}
}

// A file that is cut short under a region costs no crash and no error before it
// is noticed: the stores go nowhere.
func TestTruncatedFile(t *testing.T) {
	f, r := open(t, 3*pageSize)
	last := r.Uint64(2*pageSize + 8)
	last.Store(7)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(pageSize)); err != nil {
		t.Fatal(err)
	}
	if last.CompareAndSwap(0, 8); last.Load() != 8 {
		t.Errorf("the word is %d", last.Load())
	}
	if err := r.Err(); !errors.Is(err, region.ErrGone) {
		t.Errorf("got %v; want %v", err, region.ErrGone)
	}
	// Another page, through an ordinary copy.
	if n := copy(r.Bytes(pageSize, pageSize), strings.Repeat("x", pageSize)); n != pageSize {
		t.Error(n)
	}
	if st, err := f.Stat(); err != nil || st.Size() != int64(pageSize) {
		t.Errorf("the file has %d bytes, %v", st.Size(), err)
	}
}

// Many threads fault at once, with the garbage collector at work.
func TestTruncatedUnderMany(t *testing.T) {
	for range 20 {
		f, r := open(t, 8*pageSize)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for r.Err() == nil {
					for page := range 8 {
						r.Uint32(page*pageSize + 4*i).Add(1)
					}
					if i == 0 {
						runtime.GC()
					}
				}
			})
		}
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}

func TestRetire(t *testing.T) {
	f, r := open(t, pageSize)
	w := r.Uint32(0)
	w.Store(1)
	if err := r.Retire(); err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); !errors.Is(err, region.ErrRetired) {
		t.Errorf("got %v; want %v", err, region.ErrRetired)
	}
	w.Store(2)
	b := make([]byte, 4)
	if _, err := f.ReadAt(b, 0); err != nil || b[0] != 1 {
		t.Errorf("a store to a retired region reached the file: %d, %v", b[0], err)
	}
	if err := r.Retire(); err != nil {
		t.Error(err)
	}
}

func TestRetireAmongStores(t *testing.T) {
	for range 50 {
		f, r := open(t, pageSize)
		var stored uint32
		done := make(chan bool)
		go func() {
			for i := uint32(1); ; i++ {
				if r.Uint32(64).Store(i); r.Err() != nil {
					break
				}
				stored = i
			}
			close(done)
		}()
		for r.Uint32(64).Load() == 0 {
			runtime.Gosched()
		}
		r.Retire()
		<-done
		g, err := region.Map(int(f.Fd()), pageSize)
		if err != nil {
			t.Fatal(err)
		}
		// What was stored before Err said nothing is in the file; one store more
		// may be there.
		if n := g.Uint32(64).Load(); n != stored && n != stored+1 {
			t.Errorf("the file has %d, the last store that counts was %d", n, stored)
		}
		g.Retire()
	}
}

func TestHas(t *testing.T) {
	r := region.Heap(64)
	for _, tc := range []struct {
		offset, size, align int
		want                bool
	}{
		{0, 64, 8, true}, {56, 8, 8, true}, {60, 8, 4, false}, {-8, 8, 8, false}, {64, 0, 8, true}, {72, 0, 8, false},
		{4, 8, 8, false}, {0, 65, 8, false}, {8, -1, 8, false}, {1 << 62, 1 << 62, 8, false},
	} {
		if got := r.Has(tc.offset, tc.size, tc.align); got != tc.want {
			t.Errorf("Has(%d, %d, %d) = %v", tc.offset, tc.size, tc.align, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a word outside is no panic")
		}
	}()
	r.Uint64(60)
}

func TestMapRefuses(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := region.Map(int(f.Fd()), pageSize); err == nil || !strings.Contains(err.Error(), "map") {
		t.Errorf("mapped %s: %v", f.Name(), err)
	}
}

// faultElsewhere has a region, and faults in memory that is none.
func faultElsewhere(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err := region.Map(int(f.Fd()), pageSize); err != nil {
		return err
	}
	m, err := mmap.Map(f, pageSize, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	err = m.View(func(b []byte) error { b[0] = 1; return nil })
	fmt.Println(errors.Is(err, mmap.ErrFault))
	m.Bytes()[0] = 1
	fmt.Println("still here")
	return nil
}

// Faults that are not a region's are what they were before there was one: an
// error inside View, and the end of the program outside.
func TestFaultsElsewhereAreUnchanged(t *testing.T) {
	f, _ := open(t, pageSize)
	p := proctest.Start(t, nil, "elsewhere", f.Name())
	if line := p.Line(); line != "true" {
		t.Errorf("in View: %s", line)
	}
	err := p.Wait()
	if err == nil || !strings.Contains(err.Error(), "unexpected fault address") {
		t.Errorf("outside of View: %v", err)
	}
}

// Ranges of guards are used again.
func TestManyRegions(t *testing.T) {
	for range 300 {
		f, r := open(t, pageSize)
		f.Truncate(0)
		if r.Uint32(0).Store(1); !errors.Is(r.Err(), region.ErrGone) {
			t.Fatal(r.Err())
		}
		r.Retire()
		if !errors.Is(r.Err(), region.ErrRetired) {
			t.Fatal(r.Err())
		}
		f.Close()
	}
}
