package rounds

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/memlane/memlane/mmap"
)

const headerBytes = 64 // and to spare

// A Ledger is the file in which the workers of a round enter what they have done.
// It is not what they use: what goes wrong there cannot reach it, and what is in
// it outlives whoever wrote it.
type Ledger[H, E any] struct {
	*mmap.Mapping
	Header  *H  // what the conductor tells all workers
	Entries []E // the accounts of the incarnations, by their numbers
}

const ledgerName = "ledger"

// Create makes the ledger of a folder, for so many incarnations.
func Create[H, E any](folder string, incarnations int) (*Ledger[H, E], error) {
	path := filepath.Join(folder, ledgerName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(path, int64(headerBytes+incarnations*entryBytes[E]())); err != nil {
		return nil, err
	}
	return Open[H, E](folder)
}

// Open maps the ledger of a folder.
func Open[H, E any](folder string) (*Ledger[H, E], error) {
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
	l := &Ledger[H, E]{Mapping: m}
	if l.Header, err = mmap.At[H](m, 0); err == nil {
		l.Entries, err = mmap.SliceOf[E](m, headerBytes, (m.Len()-headerBytes)/entryBytes[E]())
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return l, nil
}

func entryBytes[E any]() int { return int(reflect.TypeFor[E]().Size()) }

// A Report is the part of an entry that says what was broken.
type Report struct {
	told atomic.Uint64 // length of text; stored last
	text [512]byte     // its kind before the first tab
}

// Tell says in the entry what was broken, if that is what the error is.
func (r *Report) Tell(err error) {
	if b := (*Broken)(nil); errors.As(err, &b) {
		r.told.Store(uint64(copy(r.text[:], b.Kind+"\t"+b.Text)))
	}
}

// Broken returns what the entry says was broken; nil if nothing was.
func (r *Report) Broken() *Broken {
	n := r.told.Load()
	if n == 0 {
		return nil
	}
	kind, text, _ := strings.Cut(string(r.text[:min(n, uint64(len(r.text)))]), "\t")
	return &Broken{kind, text}
}
