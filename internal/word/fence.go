//go:build !amd64 || race || explore || stores

package word

import "sync/atomic"

// FenceLoads keeps the loads before it before the atomic loads after it: an
// acquiring load alone lets earlier loads sink below it. A releasing store waits
// for them, and an acquiring load waits for that store (STLR and LDAR of arm64;
// Arm Architecture Reference Manual, B2.3.11). Its word is one of this process,
// and may be the caller's own.
func FenceLoads() { fence.Store(0) }

// fence is alone in its cache line as far as that is known; all who fence write it.
var fence struct {
	_ [64]byte
	atomic.Uint64
	_ [64]byte
}
