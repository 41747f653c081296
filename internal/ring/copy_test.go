package ring_test

import "github.com/memlane/memlane/internal/word"

// What is in place is shared memory: it is read and written as the ring does it.

func copyIn(dst, src []byte) { word.CopyIn(dst, src) }

func copyOut(src []byte) []byte {
	b := make([]byte, len(src))
	word.CopyOut(b, src)
	return b
}
