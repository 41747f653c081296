package mmap

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// Guard calls fn and turns a memory fault on this goroutine while it runs into
// a [*FaultError] with the address: SIGBUS, when the file under a mapping was
// truncated or its file system is full, and SIGSEGV, when the protection
// forbids the access. fn ends where it stands; its deferred calls run. Other
// panics, nil dereferences among them, pass through. [Mapping.View] is Guard
// for one mapping, which it also holds open.
//
// The limits:
//
//   - Guard is for the calling goroutine. A goroutine that fn starts needs a
//     Guard of its own; without one its fault ends the program.
//   - A fault while the Go runtime holds one of its own locks cannot be
//     caught and ends the program. It happens when the runtime itself reads
//     mapped memory, as in ch <- *p with p pointing into the mapping, or
//     println of such a string. Copy to a local variable first.
//   - How much of an interrupted copy was done is not known.
//   - [Mapping.ReadAt] and [Mapping.WriteAt] guard their own mapping. If the
//     slice that they are given lies in another one, put them into a Guard.
//   - A fault that nobody catches, inside a View of another mapping, becomes a
//     panic that an outer recover of the program can swallow.
//   - In C code called through cgo nothing is caught.
//
// A call costs about 10 ns; a fault, some microseconds. The technique is
// [debug.SetPanicOnFault], whose previous setting is restored.
func Guard(fn func() error) error { return guard("guard", nil, nil, fn) }

// guard runs fn. With a mapping, and its bytes as they were on entry, it catches
// only faults in their pages. In the pages, not in the bytes: assembly of the
// standard library reads a few bytes beside a short slice, inside its page.
func guard(op string, m *Mapping, data []byte, fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		// The runtime's error for a fault says where it was; its error for a
		// nil dereference does not.
		fault, ok := r.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok {
			panic(r)
		}
		e := &FaultError{Op: op, Addr: fault.Addr(), Offset: -1}
		if m != nil {
			begin := addressOf(data) - uintptr(m.slack)
			end := begin + uintptr(roundUp(m.slack+len(data), m.pageSize))
			if e.Addr < begin || e.Addr >= end {
				panic(r) // not in this mapping: for an outer guard, or a bug to be seen
			}
			e.Object = m.name
			e.Offset = max(0, int(e.Addr-begin)-m.slack)
		}
		e.Err = reason(e.Addr)
		err = e
	}()
	return fn()
}

// reason finds out why an access to addr faulted, by asking the kernel to bring
// the page in. The answers are those of MADV_POPULATE_READ in madvise(2):
// EFAULT where an access would raise SIGBUS, ENOMEM where nothing is mapped,
// EINVAL where the protection does not allow it.
func reason(addr uintptr) error {
	page := os.Getpagesize()
	err := sys.PopulatePage(addr, page, sys.MadvPopulateRead)
	if err == nil {
		// It can be read. A store may still lack room on the file system.
		err = sys.PopulatePage(addr, page, sys.MadvPopulateWrite)
		if err == nil {
			return errors.New("the page was missing, and is there again now")
		}
	}
	switch {
	case errors.Is(err, syscall.EFAULT):
		return ErrNoBacking
	case errors.Is(err, syscall.ENOMEM):
		return ErrUnmapped
	case errors.Is(err, syscall.EINVAL):
		return ErrProtected
	case errors.Is(err, sys.EHWPoison):
		return errors.New("the memory has a hardware error")
	}
	return err
}
