//go:build explore

package word

import "unsafe"

// Explorer is who hears of every access; nil accesses as in a program.
var Explorer interface {
	// Access comes before an access to a word, whose address it is given, and may
	// let other processes run. stores is false if it only loads.
	Access(address uintptr, stores bool)
	// Saw comes after an access, with what the process has learnt from it.
	Saw(value uint64)
	// Here is the function of that name.
	Here(known ...uint64)
}

// Here tells the explorer that all that this process knows of what it has seen
// since its operation began is in the numbers.
func Here(known ...uint64) {
	if Explorer != nil {
		Explorer.Here(known...)
	}
}

// Uint32 has the methods of atomic.Uint32 that memlane uses.
type Uint32 struct{ v uint32 }

// Uint64 has the methods of atomic.Uint64 that memlane uses.
type Uint64 struct{ v uint64 }

// Note stores a word that only tools load: it is no step.
func Note(w *Uint64, v uint64) { w.v = v }

func access(w unsafe.Pointer, stores bool) {
	if Explorer != nil {
		Explorer.Access(uintptr(w), stores)
	}
}

func saw(v uint64) {
	if Explorer != nil {
		Explorer.Saw(v)
	}
}

// Load is atomic.Uint32.Load.
func (w *Uint32) Load() uint32 {
	access(unsafe.Pointer(w), false)
	v := w.v
	saw(uint64(v))
	return v
}

// Store is atomic.Uint32.Store.
func (w *Uint32) Store(v uint32) {
	access(unsafe.Pointer(w), true)
	w.v = v
	saw(0)
}

// CompareAndSwap is atomic.Uint32.CompareAndSwap.
func (w *Uint32) CompareAndSwap(old, new uint32) bool {
	access(unsafe.Pointer(w), true)
	if w.v != old {
		saw(1)
		return false
	}
	w.v = new
	saw(2)
	return true
}

// Add is atomic.Uint32.Add.
func (w *Uint32) Add(delta uint32) uint32 {
	access(unsafe.Pointer(w), true)
	w.v += delta
	saw(uint64(w.v))
	return w.v
}

// Load is atomic.Uint64.Load.
func (w *Uint64) Load() uint64 {
	access(unsafe.Pointer(w), false)
	v := w.v
	saw(v)
	return v
}

// Store is atomic.Uint64.Store.
func (w *Uint64) Store(v uint64) {
	access(unsafe.Pointer(w), true)
	w.v = v
	saw(0)
}

// CompareAndSwap is atomic.Uint64.CompareAndSwap.
func (w *Uint64) CompareAndSwap(old, new uint64) bool {
	access(unsafe.Pointer(w), true)
	if w.v != old {
		saw(1)
		return false
	}
	w.v = new
	saw(2)
	return true
}
