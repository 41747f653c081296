package wait

import (
	"sync/atomic"
	"unsafe"
)

// raw returns the word under its atomic type, for the kernel. An atomic.Uint32
// is a uint32 and nothing else.
func raw(word *atomic.Uint32) *uint32 { return (*uint32)(unsafe.Pointer(word)) }
