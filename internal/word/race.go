//go:build race && !explore && !stores

package word

import "sync/atomic"

// Here is nothing: nobody explores.
func Here(...uint64) {}

// Note stores a word that only tools load: no other word hangs on it.
func Note(w *Uint64, v uint64) { w.Store(v) }

// Uint32 is a word of 32 bits that processes share.
type Uint32 struct{ atomic.Uint32 }

// Uint64 is a word of 64 bits that processes share.
type Uint64 struct{ atomic.Uint64 }

// Store is atomic.Uint32.Store. Under the race detector that is a bare MOV in memory
// which is not Go's (racecallatomic_ignore in runtime/race_amd64.s): a load of another word
// can overtake it. An exchange is in order.
func (w *Uint32) Store(v uint32) { w.Swap(v) }

// Store is atomic.Uint64.Store; see that of Uint32.
func (w *Uint64) Store(v uint64) { w.Swap(v) }
