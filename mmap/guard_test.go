package mmap_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
)

// truncated returns a mapping of two pages whose file is now one page long.
func truncated(t testing.TB) *mmap.Mapping {
	t.Helper()
	f := newFile(t, int64(2*pageSize))
	m := mapShared(t, f, 2*pageSize, nil)
	m.Bytes()[pageSize] = 1
	if err := f.Truncate(int64(pageSize)); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTruncatedFileIsAnError(t *testing.T) {
	dst := make([]byte, pageSize)
	var text string
	for name, touch := range map[string]func(m *mmap.Mapping, b []byte){
		"load":       func(m *mmap.Mapping, b []byte) { sink = b[0] },
		"store":      func(m *mmap.Mapping, b []byte) { b[0] = 1 },
		"copy out":   func(m *mmap.Mapping, b []byte) { copy(dst, b) },
		"copy in":    func(m *mmap.Mapping, b []byte) { copy(b, dst) },
		"clear":      func(m *mmap.Mapping, b []byte) { clear(b) },
		"equal":      func(m *mmap.Mapping, b []byte) { bytes.Equal(b, dst) },
		"index":      func(m *mmap.Mapping, b []byte) { bytes.IndexByte(b, 7) },
		"crc32":      func(m *mmap.Mapping, b []byte) { crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) },
		"string":     func(m *mmap.Mapping, b []byte) { text = string(b) },
		"sprintf":    func(m *mmap.Mapping, b []byte) { text = fmt.Sprintf("%x", b[:8]) },
		"atomic add": func(m *mmap.Mapping, b []byte) { p, _ := mmap.At[uint64](m, pageSize); atomic.AddUint64(p, 1) },
		"atomic CAS": func(m *mmap.Mapping, b []byte) {
			p, _ := mmap.At[uint32](m, pageSize)
			atomic.CompareAndSwapUint32(p, 0, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := truncated(t)
			addr := m.Addr() + uintptr(pageSize)
			check := func(err error) {
				t.Helper()
				wantError(t, err, []error{mmap.ErrFault, mmap.ErrNoBacking}, "cut short", fmt.Sprintf("%#x", addr>>12))
				var fe *mmap.FaultError
				if errors.As(err, &fe) && (fe.Addr < addr || fe.Addr >= addr+uintptr(pageSize)) {
					t.Errorf("fault at %#x; touched the page at %#x", fe.Addr, addr)
				}
			}
			check(m.View(func(b []byte) error { touch(m, b[pageSize:]); return nil }))
			check(mmap.Guard(func() error { touch(m, m.Bytes()[pageSize:]); return nil }))
		})
	}
	_ = text
	m := truncated(t)
	_, err := m.ReadAt(make([]byte, 2*pageSize), 0)
	wantError(t, err, []error{mmap.ErrFault, mmap.ErrNoBacking}, m.Name(), "offset ")
	if n, err := m.ReadAt(make([]byte, pageSize), 0); n != pageSize || err != nil {
		t.Errorf("what is left of the file: %d bytes, %v", n, err)
	}
}

// The assembly behind bytes.IndexByte and the like reads beside a short slice
// that ends where its page does. Such a fault is the mapping's too.
func TestFaultBesideAShortSlice(t *testing.T) {
	for off := pageSize - 20; off < pageSize; off++ {
		f := newFile(t, int64(pageSize))
		m := mapShared(t, f, pageSize-off, &mmap.Config{Offset: int64(off)})
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		for name, touch := range map[string]func(b []byte){
			"IndexByte": func(b []byte) { bytes.IndexByte(b, 7) },
			"Equal":     func(b []byte) { bytes.Equal(b, make([]byte, len(b))) },
			"Compare":   func(b []byte) { bytes.Compare(b, make([]byte, len(b))) },
			"Count":     func(b []byte) { bytes.Count(b, []byte{1}) },
		} {
			err := m.View(func(b []byte) error { touch(b); return nil })
			var fe *mmap.FaultError
			if !errors.As(err, &fe) || fe.Offset < 0 || fe.Offset >= m.Len() {
				t.Errorf("%s at offset %d of the page: %v", name, off, err)
			}
		}
	}
}

func TestGuardUnderGarbageCollection(t *testing.T) {
	m := truncated(t)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	caught := 0
	for range 2000 {
		err := m.View(func(b []byte) error { sink = b[pageSize]; return nil })
		if errors.Is(err, mmap.ErrNoBacking) {
			caught++
		}
	}
	close(stop)
	<-done
	if caught != 2000 {
		t.Errorf("caught %d of 2000 faults", caught)
	}
}

func TestGuardPassesOtherPanicsThrough(t *testing.T) {
	recovered := func(fn func()) (r any) {
		defer func() { r = recover() }()
		fn()
		return nil
	}
	m := anonymous(t, pageSize, mmap.Read, nil)
	other := truncated(t)
	var nilPointer *struct{ x int }
	for name, fn := range map[string]func() error{
		"value": func() error { panic("mine") },
		"nil":   func() error { nilPointer.x = 1; return nil },
		"index": func() error { i := -1; sink = m.Bytes()[i+0*len(m.Bytes())]; return nil },
	} {
		if r := recovered(func() { mmap.Guard(fn) }); r == nil {
			t.Errorf("Guard swallowed the panic of %q", name)
		}
		if r := recovered(func() { m.View(func([]byte) error { return fn() }) }); r == nil {
			t.Errorf("View swallowed the panic of %q", name)
		}
	}
	// A view catches faults of its own mapping only; an outer guard gets the rest.
	inner := func() error {
		return m.View(func([]byte) error { sink = other.Bytes()[pageSize]; return nil })
	}
	if r := recovered(func() { inner() }); r == nil {
		t.Error("a view caught a fault of another mapping")
	}
	wantError(t, other.View(func([]byte) error { return inner() }), []error{mmap.ErrNoBacking}, other.Name())
	if old := debug.SetPanicOnFault(false); old {
		t.Error("the goroutine is left with SetPanicOnFault on")
	}
	if err := mmap.Guard(func() error { return os.ErrExist }); err != os.ErrExist {
		t.Errorf("Guard returned %v", err)
	}
}

// faultWithoutGuard touches a truncated mapping in the way that args[0] names.
func faultWithoutGuard(args []string) error {
	f, err := os.CreateTemp("", "memlane-fault")
	if err != nil {
		return err
	}
	os.Remove(f.Name())
	if err := f.Truncate(int64(pageSize)); err != nil {
		return err
	}
	m, err := mmap.Map(f, pageSize, mmap.Read, mmap.Shared, nil)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	switch args[0] {
	case "none":
		sink = m.Bytes()[0]
	case "goroutine":
		mmap.Guard(func() error {
			done := make(chan byte)
			go func() {
				b := m.Bytes()[0]
				done <- b
			}()
			sink = <-done
			return nil
		})
	case "runtime":
		mmap.Guard(func() error {
			ch := make(chan byte, 1)
			b := m.Bytes()
			ch <- b[0] // the runtime copies from the mapping, holding the channel's lock
			return nil
		})
	case "guard":
		err := mmap.Guard(func() error { sink = m.Bytes()[0]; return nil })
		fmt.Println("alive:", errors.Is(err, mmap.ErrNoBacking))
	}
	return nil
}

// The limits that Guard's doc names are real: without a guard, in another
// goroutine, or inside the runtime's own locks, the fault ends the process.
func TestGuardsLimits(t *testing.T) {
	if out := proctest.Run(t, nil, "fault", "guard"); out != "alive: true" {
		t.Errorf("with a guard: %q", out)
	}
	for how, message := range map[string]string{
		"none":      "unexpected fault address",
		"goroutine": "unexpected fault address",
		"runtime":   "unexpected signal during runtime execution",
	} {
		if how == "runtime" && raceDetector {
			continue // the detector makes the compiler copy the value first
		}
		err := proctest.Start(t, nil, "fault", how).Wait()
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v; want the runtime to end the process with %q", how, err, message)
		}
	}
}

func TestTypedViews(t *testing.T) {
	type inner struct {
		A [3]uint16
		F float64
	}
	type good struct {
		N  atomic.Uint64
		In [2]inner
		C  complex128
		_  [0]func()
	}
	f := newFile(t, int64(pageSize))
	m := mapShared(t, f, pageSize-3, &mmap.Config{Offset: 3})
	g, err := mmap.At[good](m, 5)
	if err != nil {
		t.Fatal(err)
	}
	g.N.Store(0x0807060504030201)
	got := make([]byte, 8)
	if _, err := f.ReadAt(got, 8); err != nil || !bytes.Equal(got, []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("the file shows % x, %v", got, err)
	}
	_, err = mmap.At[good](m, 6)
	wantError(t, err, []error{mmap.ErrAlignment}, "multiple of 8")
	s, err := mmap.SliceOf[uint32](m, 1, (pageSize-4)/4)
	if err != nil {
		t.Fatal(err)
	}
	s[len(s)-1] = 1
	_, err = mmap.SliceOf[uint32](m, 1, (pageSize-4)/4+1)
	wantError(t, err, []error{mmap.ErrRange}, "uint32", "inside the mapping")
	for _, off := range []int{-1, pageSize, pageSize - 10} {
		_, err = mmap.At[good](m, off)
		wantError(t, err, []error{mmap.ErrRange})
	}
	_, err = mmap.SliceOf[uint64](m, 5, -1)
	wantError(t, err, []error{mmap.ErrRange})
	_, err = mmap.SliceOf[uint64](m, 5, 1<<61)
	wantError(t, err, []error{mmap.ErrRange})
	if s, err := mmap.SliceOf[uint64](m, 5, 0); err != nil || len(s) != 0 {
		t.Errorf("a view of nothing: %v, %v", s, err)
	}
}

func refused[T any](t *testing.T, words ...string) {
	t.Helper()
	m := anonymous(t, 4096, mmap.Read|mmap.Write, nil)
	for range 2 { // the second answer is the remembered one
		_, err := mmap.At[T](m, 0)
		wantError(t, err, []error{mmap.ErrType}, words...)
	}
}

func TestTypedViewsRefuseWhatCannotBeShared(t *testing.T) {
	refused[bool](t, "bool")
	refused[*int](t, "pointer")
	refused[string](t, "pointer")
	refused[[]byte](t, "pointer")
	refused[map[int]int](t, "pointer")
	refused[any](t, "pointer")
	refused[func()](t, "pointer")
	refused[chan int](t, "pointer")
	refused[struct{}](t, "no bytes")
	refused[struct {
		A int
		B [2]struct{ On bool }
	}](t, ".B[].On", "bool")
	refused[struct{ P atomic.Pointer[int] }](t, ".P", "pointer")
	refused[sync.Mutex](t, "one process")
	refused[struct{ Ready sync.WaitGroup }](t, ".Ready", "one process")
}

func BenchmarkView(b *testing.B) {
	m := anonymous(b, pageSize, mmap.Read|mmap.Write, nil)
	b.ReportAllocs()
	for b.Loop() {
		m.View(func(p []byte) error { sink = p[0]; return nil })
	}
}

func BenchmarkGuard(b *testing.B) {
	m := anonymous(b, pageSize, mmap.Read|mmap.Write, nil)
	p := m.Bytes()
	for b.Loop() {
		mmap.Guard(func() error { sink = p[0]; return nil })
	}
}
