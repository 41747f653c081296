package main

import (
	"sync/atomic"

	"github.com/memlane/memlane/test/prove/rounds"
)

// An entry is the account of one incarnation of a worker, which alone writes it.
type entry struct {
	// When it began to publish or to subscribe, and when it could: see header.clock.
	began, ready atomic.Uint64
	slow         atomic.Uint64 // 1: that took so long that not everybody may have answered

	begun     atomic.Uint64 // messages that it has begun to publish
	published atomic.Uint64 // those that Publish has returned for
	received  atomic.Uint64
	lost      atomic.Uint64 // those that it was told were lost
	steps     atomic.Uint64 // calls that have ended
	done      atomic.Uint64 // the stage whose work it has done

	rounds.Report
}

// header is what the conductor tells all workers.
type header struct {
	stage atomic.Uint64 // a stage
	clock atomic.Uint64 // counts beginnings
}

// The stages of a round.
const (
	storm  = iota // everybody publishes and receives
	hush          // who publishes finishes with that; everybody receives
	drain         // everything there is is received
	leave         // everybody closes what it has
	stages        // how many there are
)

// A ledger has the accounts by incarnation, which count from 1.
type ledger = rounds.Ledger[header, entry]
