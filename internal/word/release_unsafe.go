//go:build amd64 && !race && !explore && !stores

package word

import "unsafe"

// StoreRelease stores a word so that whoever sees the value sees all that was
// stored before it. Unlike with Store, what is loaded afterwards may be older: no
// look at what others have stored may depend on it. On amd64 every store is one,
// for an eighth of the time of a Store, and the compiler keeps stores in order.
func StoreRelease(w *Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

// FenceLoads keeps the loads before it before the atomic loads after it. On amd64
// all loads are in order.
func FenceLoads() {}
