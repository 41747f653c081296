package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/memlane/memlane/mmap"
)

// write is the writer process: args are the file to create, the cycle's seed,
// and whether to be the mutant. It stores records until it is killed, and
// reports each on standard output: the page, the slot, and whether Sync has
// returned for it.
//
// A slot is used once, so that a power loss in the middle of a store cannot
// harm what was acknowledged before. Half of the pages are synced after every
// store, the others never: a Sync writes whole pages, so that a record beside a
// synced one would be synced too. Some of the others are on disk all the same:
// the kernel may keep a file in larger units than pages, and writes those.
func write(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("writer: %d arguments; want file, seed and mutant", len(args))
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("writer: seed: %w", err)
	}
	mutant, err := strconv.ParseBool(args[2])
	if err != nil {
		return fmt.Errorf("writer: mutant: %w", err)
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	f, err := create(args[0], rnd)
	if err != nil {
		return fmt.Errorf("writer: %w", err)
	}
	m, err := mmap.Map(f, pages*pageSize, mmap.Read|mmap.Write, mmap.Shared, nil)
	f.Close()
	if err != nil {
		return fmt.Errorf("writer: %w", err)
	}
	defer m.Close()

	var synced [pages]bool
	for _, page := range rnd.Perm(pages)[:pages/2] {
		synced[page] = true
	}
	var next [pages]int
	for _, n := range rnd.Perm(pages * slots) {
		page := n / slots
		slot := next[page]
		next[page]++
		at := page*pageSize + slot*recordSize
		// WriteAt, because the file system is shut down under the mapping:
		// from then on a store may raise SIGBUS.
		if _, err := m.WriteAt(record(seed, page, slot), int64(at)); err != nil {
			return fmt.Errorf("writer: %w", err)
		}
		if synced[page] && !mutant {
			if err := m.Sync(at, recordSize, mmap.SyncWait); err != nil {
				return fmt.Errorf("writer: %w", err)
			}
		}
		// One write(2) for each report: killed in between, it leaves no half.
		if _, err := fmt.Printf("%d %d %t\n", page, slot, synced[page]); err != nil {
			return fmt.Errorf("writer: report: %w", err)
		}
	}
	// All slots are used. Be there all the same when the power goes.
	for {
		syscall.Pause()
	}
}

// create makes the file anew, with its size and its name on disk. Of the three
// ways to give a file its blocks one is chosen: they differ in what the file
// system must write beside the data when a page is synced.
func create(path string, rnd *rand.Rand) (*os.File, error) {
	if err := os.RemoveAll(path); err != nil { // the last cycle's
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	size := int64(pages * pageSize)
	switch rnd.IntN(3) {
	case 0: // no blocks: each is allocated when its page is written back
		err = f.Truncate(size)
	case 1: // blocks marked as unwritten, which is undone then
		if err = syscall.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			err = fmt.Errorf("fallocate %s: %w", path, err)
		}
	case 2: // blocks that hold zeros
		_, err = f.Write(make([]byte, size))
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
