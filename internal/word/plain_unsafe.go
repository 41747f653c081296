//go:build !race && !explore && !stores

package word

import "unsafe"

// LoadPlain loads a word that is handed over by another one, or is checked by
// another one afterwards: without the order of an atomic load.
func LoadPlain(w *Uint64) uint64 { return *(*uint64)(unsafe.Pointer(w)) }

// StorePlain stores a word that is handed over by another one.
func StorePlain(w *Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

// Note stores a word that only tools load: no other word hangs on it, and the explorer
// leaves it out.
func Note(w *Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

// CopyIn copies payload into shared memory. dst begins at a multiple of 8, and
// has room up to the next one behind its end.
func CopyIn(dst, src []byte) { copyCached(dst, src) }

// CopyOut copies payload out of shared memory, where it begins at a multiple of 8
// and may change meanwhile.
func CopyOut(dst, src []byte) { copyCached(dst, src) }

// piece is how many bytes are copied at once. Go's copy writes past the caches what
// is a good deal larger (runtime/memmove_amd64.s: from 1 MiB on, where rep movsb is
// not used), and the other side then fetches from memory what it could have had from
// a cache: measured, 1.6 times as long for a message of 1 MiB there and back.
const piece = 256 << 10

func copyCached(dst, src []byte) {
	if len(src) > piece {
		copyPieces(dst, src)
		return
	}
	copy(dst, src)
}

func copyPieces(dst, src []byte) {
	for len(src) > 0 {
		n := copy(dst, src[:min(piece, len(src))])
		dst, src = dst[n:], src[n:]
	}
}
