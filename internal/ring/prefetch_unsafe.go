package ring

import "unsafe"

// prefetchForWrite begins to fetch a cache line that will be written soon, and
// does not wait for it. Without it, the first store to a line that a reader has
// looked at takes as long as it travels.
//
//go:noescape
func prefetchForWrite(p unsafe.Pointer)
