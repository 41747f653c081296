// Package word has the types of the words that processes share (layer L0).
//
// In a program they are those of sync/atomic, under another name, and cost
// nothing. With the build tag explore they tell the explorer of
// internal/explore about every access, so that it runs the very source that
// programs run, in every order that processes can take. With the build tag stores
// they tell of every store, before it, so that a process can be killed at each. Under the
// race detector a store is an exchange, which it would not be otherwise: see race.go.
//
// Go's memory model says nothing about other processes. memlane's axiom is that
// an operation of sync/atomic on a naturally aligned word of a shared mapping
// acts as C11's seq_cst on that word: it compiles to the same instructions, and
// the processor does not know whose page it is.
package word
