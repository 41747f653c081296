//go:build !explore && !stores && !race

package word

import "sync/atomic"

// Here tells the explorer that all that this process knows of what it has seen
// since its operation began is in the numbers: two ways to such a place are one to
// it. It stands at the head of loops that begin anew, and is nothing in a program.
func Here(...uint64) {}

// Uint32 is a word of 32 bits that processes share.
type Uint32 = atomic.Uint32

// Uint64 is a word of 64 bits that processes share.
type Uint64 = atomic.Uint64
