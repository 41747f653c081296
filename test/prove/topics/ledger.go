package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/memlane/memlane/mmap"
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

	told   atomic.Uint64 // length of report; stored last
	report [512]byte     // what was broken, its kind before the first tab
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

const headerBytes = 64 // and to spare

var entryBytes = int(reflect.TypeFor[entry]().Size())

// A ledger is the file in which publishers enter what they publish. It is not the
// topic: what goes wrong there cannot reach it, and what is in it outlives whoever
// wrote it.
type ledger struct {
	*mmap.Mapping
	header  *header
	entries []entry // by incarnation, which count from 1
}

const ledgerName = "ledger"

func createLedger(folder string, incarnations int) (*ledger, error) {
	path := filepath.Join(folder, ledgerName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(path, int64(headerBytes+incarnations*entryBytes)); err != nil {
		return nil, err
	}
	return openLedger(folder)
}

func openLedger(folder string) (*ledger, error) {
	f, err := os.OpenFile(filepath.Join(folder, ledgerName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := mmap.Map(f, int(st.Size()), mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	l := &ledger{Mapping: m}
	if l.header, err = mmap.At[header](m, 0); err == nil {
		l.entries, err = mmap.SliceOf[entry](m, headerBytes, (m.Len()-headerBytes)/entryBytes)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return l, nil
}

// tell says in the entry what was broken.
func (e *entry) tell(b *broken) {
	e.told.Store(uint64(copy(e.report[:], b.kind+"\t"+b.text)))
}

// broken returns what the entry says was broken; nil if nothing was.
func (e *entry) broken() *broken {
	n := e.told.Load()
	if n == 0 {
		return nil
	}
	kind, text, _ := strings.Cut(string(e.report[:min(n, uint64(len(e.report)))]), "\t")
	return &broken{kind, text}
}
