package region

import (
	"unsafe"

	"github.com/memlane/memlane/internal/word"
)

// Heap returns a region of zeros in the memory of this process.
func Heap(size int) *Region {
	words := make([]uint64, (size+7)/8) // aligned for every word
	return &Region{bytes: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size)}
}

// The callers have checked bounds and alignment.

func word32(b []byte, offset int) *word.Uint32 { return (*word.Uint32)(unsafe.Pointer(&b[offset])) }

func word64(b []byte, offset int) *word.Uint64 { return (*word.Uint64)(unsafe.Pointer(&b[offset])) }
