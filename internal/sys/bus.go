//go:build linux && (amd64 || arm64)

package sys

import (
	"sync"
	"sync/atomic"
)

// A BusGuard keeps a range of mapped memory usable after its file was cut short.
//
// A store to a page that has gone raises SIGBUS. Where the code around the store
// is somebody else's, package debug's SetPanicOnFault makes a panic of it; in
// code that takes a lock in five nanoseconds that would cost more than the lock.
// So the signal's handler itself maps a page of zeros over the hole, notes it,
// and lets the store happen there; who owns the range looks at the note
// afterwards. Wayland's wl_shm_buffer_begin_access does the same in C.
//
// The handler stands before the Go runtime's, which gets every signal that is
// about other memory, so that faults elsewhere are what they always were.
type BusGuard struct {
	// The handler reads these; the offsets are known to bus_*.s.
	begin, end uintptr        // the range; begin is at the end of memory while the guard is not in use
	hit        *atomic.Uint32 // becomes 1
	next       *BusGuard      // guards are never taken out of the list: the handler may be at one
}

const nowhere = ^uintptr(0)

var (
	busMu     sync.Mutex // guards what follows, against all but the handler
	busGuards *BusGuard  // all that were ever made
	busBefore uintptr    // the handler that was there before
	//lint:ignore U1000 the handler reads it
	busPage uintptr // bytes of a page
)

// NewBusGuard guards b, which is mapped memory of whole pages. *hit is 0 until a
// page of it was missing, and 1 from then on. Release it before b is unmapped.
func NewBusGuard(b []byte, hit *atomic.Uint32) (*BusGuard, error) {
	busMu.Lock()
	defer busMu.Unlock()
	if busBefore == 0 {
		if err := installBusHandler(); err != nil {
			return nil, err
		}
	}
	g := busGuards
	for g != nil && g.begin != nowhere {
		g = g.next
	}
	if g == nil {
		g = &BusGuard{begin: nowhere, next: busGuards}
		busGuards = g
	}
	g.hit = hit
	atomic.StoreUintptr(&g.end, address(b)+uintptr(len(b)))
	// SYNC POINT bus guard: pairs with the handler's look at begin, which comes
	// before its looks at the rest.
	atomic.StoreUintptr(&g.begin, address(b))
	return g, nil
}

// Release ends the guard.
func (g *BusGuard) Release() {
	busMu.Lock()
	defer busMu.Unlock()
	atomic.StoreUintptr(&g.begin, nowhere)
}

// busHandler returns the address of the handler, which is in assembly: it runs
// in place of the Go runtime's, on a thread that may hold any of its locks.
func busHandler() uintptr
