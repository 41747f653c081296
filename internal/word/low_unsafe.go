package word

import "unsafe"

// Low returns the low half of a word as one of its own, to sleep on: futexes
// have 32 bits. memlane runs on little-endian machines only.
func Low(w *Uint64) *Uint32 { return (*Uint32)(unsafe.Pointer(w)) }

// Raw returns the bare word, for the kernel.
func Raw(w *Uint32) *uint32 { return (*uint32)(unsafe.Pointer(w)) }
