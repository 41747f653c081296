//go:build !explore && !stores

// Package word has the types of the words that processes share (layer L0).
//
// In a program they are those of sync/atomic, under another name, and cost
// nothing. With the build tag explore they tell the explorer of
// internal/explore about every access, so that it runs the very source that
// programs run, in every order that processes can take. With the build tag stores
// they tell of every store, before it, so that a process can be killed at each.
//
// Go's memory model says nothing about other processes. memlane's axiom is that
// an operation of sync/atomic on a naturally aligned word of a shared mapping
// acts as C11's seq_cst on that word: it compiles to the same instructions, and
// the processor does not know whose page it is.
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
