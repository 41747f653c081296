//go:build stores

package word

import "sync/atomic"

// Storing, if not nil, is called before every store to a word that processes share, on
// the goroutine that stores. It is set before there is anything to store to.
var Storing func()

func storing() {
	if Storing != nil {
		Storing()
	}
}

// Here is nothing: nobody explores.
func Here(...uint64) {}

// Note stores a word that only tools load: no other word hangs on it.
func Note(w *Uint64, v uint64) { w.Store(v) }

// Uint32 has the methods of atomic.Uint32 that memlane uses.
type Uint32 struct{ w atomic.Uint32 }

// Uint64 has the methods of atomic.Uint64 that memlane uses.
type Uint64 struct{ w atomic.Uint64 }

// Load is atomic.Uint32.Load.
func (w *Uint32) Load() uint32 { return w.w.Load() }

// Store is atomic.Uint32.Store.
func (w *Uint32) Store(v uint32) {
	storing()
	w.w.Store(v)
}

// CompareAndSwap is atomic.Uint32.CompareAndSwap.
func (w *Uint32) CompareAndSwap(old, new uint32) bool {
	storing()
	return w.w.CompareAndSwap(old, new)
}

// Add is atomic.Uint32.Add.
func (w *Uint32) Add(delta uint32) uint32 {
	storing()
	return w.w.Add(delta)
}

// Load is atomic.Uint64.Load.
func (w *Uint64) Load() uint64 { return w.w.Load() }

// Store is atomic.Uint64.Store.
func (w *Uint64) Store(v uint64) {
	storing()
	w.w.Store(v)
}

// CompareAndSwap is atomic.Uint64.CompareAndSwap.
func (w *Uint64) CompareAndSwap(old, new uint64) bool {
	storing()
	return w.w.CompareAndSwap(old, new)
}
