//go:build !race && !explore

package word

import "unsafe"

// LoadPlain loads a word that is handed over by another one, or is checked by
// another one afterwards: without the order of an atomic load.
func LoadPlain(w *Uint64) uint64 { return *(*uint64)(unsafe.Pointer(w)) }

// StorePlain stores a word that is handed over by another one.
func StorePlain(w *Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

// CopyIn copies payload into shared memory. dst begins at a multiple of 8, and
// has room up to the next one behind its end.
func CopyIn(dst, src []byte) { copy(dst, src) }

// CopyOut copies payload out of shared memory, where it begins at a multiple of 8
// and may change meanwhile.
func CopyOut(dst, src []byte) { copy(dst, src) }
