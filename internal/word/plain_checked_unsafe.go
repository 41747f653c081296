//go:build race || explore || stores

package word

import "unsafe"

// The race detector and the explorer see only what is atomic as what processes
// may do at once, so that for them payload goes word by word.

// LoadPlain loads a word that is handed over by another one.
func LoadPlain(w *Uint64) uint64 { return w.Load() }

// StorePlain stores a word that is handed over by another one.
func StorePlain(w *Uint64, v uint64) { w.Store(v) }

// CopyIn copies payload into shared memory. dst begins at a multiple of 8, and
// has room up to the next one behind its end.
func CopyIn(dst, src []byte) {
	n := min(len(dst), len(src))
	for at := 0; at < n; at += 8 {
		var v [8]byte
		copy(v[:], src[at:n])
		(*Uint64)(unsafe.Pointer(&dst[at])).Store(*(*uint64)(unsafe.Pointer(&v)))
	}
}

// CopyOut copies payload out of shared memory, where it begins at a multiple of 8
// and may change meanwhile.
func CopyOut(dst, src []byte) {
	n := min(len(dst), len(src))
	for at := 0; at < n; at += 8 {
		var v [8]byte
		*(*uint64)(unsafe.Pointer(&v)) = (*Uint64)(unsafe.Pointer(&src[at])).Load()
		copy(dst[at:n], v[:])
	}
}
