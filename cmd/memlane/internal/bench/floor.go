package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
	"github.com/memlane/memlane/mmap"
)

// floorSource is the C side. It is part of the program, so that the program runs in
// any folder.
//
//go:embed testdata/floor.c
var floorSource []byte

// floorFlags are the compiler's. The loops over the payload are to be those of the Go
// side, which are not vectorized.
var floorFlags = []string{"-O2", "-fno-tree-vectorize"}

// compileFloor builds the C side in a folder.
func compileFloor(ctx context.Context, folder string) (file string, err error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", errors.New("there is no gcc")
	}
	file = filepath.Join(folder, "floor")
	if err := os.WriteFile(file+".c", floorSource, 0o600); err != nil {
		return "", err
	}
	args := append(floorFlags, "-o", file, file+".c")
	if out, err := exec.CommandContext(ctx, gcc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return file, nil
}

// Where things are in the half of the floors' file that a side writes; the C side has
// the same.
const (
	wordAt   = 0
	readyAt  = 512
	cursorAt = 1024
	secondAt = 2048
	dataAt   = 4096

	ringSlots = 1024
	ringBytes = 256 << 10
)

// floorBytes is how large the file is.
func floorBytes(t *task) int64 {
	half := dataAt + max(t.Size, ringBytes+64, 8*(128+t.Batch*t.Size))
	return 2 * (int64(half+4095) &^ 4095)
}

// floor is one side of two without anything between them, in Go, for where there is
// no gcc. Go's stores are exchanges on amd64: it is a few ns slower than C.
type floor struct {
	task      *task
	mine, his *mmap.Mapping
	out, into []byte

	myWord, hisWord *atomic.Uint64
}

func openFloor(t *task) (*floor, error) {
	f, err := os.OpenFile(filepath.Join(t.Folder, floorFile), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	half := floorBytes(t) / 2
	l := &floor{task: t, out: make([]byte, t.Size), into: make([]byte, t.Size)}
	for side := range 2 {
		m, err := mmap.Map(f, int(half), mmap.Read|mmap.Write, mmap.Shared, &mmap.Config{Offset: int64(side) * half, Populate: mmap.Read | mmap.Write})
		if err != nil {
			return nil, err
		}
		if side == t.Side {
			l.mine = m
		} else {
			l.his = m
		}
	}
	if l.myWord, err = mmap.At[atomic.Uint64](l.mine, wordAt); err != nil {
		return nil, err
	}
	if l.hisWord, err = mmap.At[atomic.Uint64](l.his, wordAt); err != nil {
		return nil, err
	}
	return l, l.ready()
}

// ready waits for the other side.
func (l *floor) ready() error {
	mine, err := mmap.At[atomic.Uint64](l.mine, readyAt)
	if err != nil {
		return err
	}
	his, err := mmap.At[atomic.Uint64](l.his, readyAt)
	if err != nil {
		return err
	}
	mine.Store(1)
	for his.Load() != 1 {
	}
	return nil
}

func (l *floor) close() {
	l.mine.Close()
	l.his.Close()
}

// pair returns the floor of that name.
func (l *floor) pair() (p pair, err error) {
	var send func(v uint64) error
	var take func(v uint64) (bool, error)
	mine, his := l.mine.Bytes(), l.his.Bytes()
	size := l.task.Size
	spin := func(v uint64) bool {
		for {
			if got := l.hisWord.Load(); got&^final == v {
				return got&final != 0
			}
		}
	}
	switch l.task.Transport {
	case "floor-line":
		send = func(v uint64) error { l.myWord.Store(v); return nil }
		take = func(v uint64) (bool, error) { return spin(v), nil }
	case "floor-two-lines":
		second := func(v uint64) int { return secondAt + int(v%16)*64 }
		send = func(v uint64) error {
			fill(mine[second(v):][:8], v)
			l.myWord.Store(v)
			return nil
		}
		take = func(v uint64) (bool, error) {
			spin(v)
			return checkFirst(his[second(v):][:8], 8, v)
		}
	case "floor-copy":
		send = func(v uint64) error {
			fill(l.out, v)
			copy(mine[dataAt:], l.out)
			l.myWord.Store(v)
			return nil
		}
		take = func(v uint64) (bool, error) {
			spin(v)
			copy(l.into, his[dataAt:])
			return check(l.into, size, v)
		}
	case "floor-futex":
		return l.futex()
	default:
		return p, fmt.Errorf("there is no %s in Go", l.task.Transport)
	}
	return pair{
		trip: func(v uint64) error {
			if err := send(v); err != nil {
				return err
			}
			_, err := take(v &^ final)
			return err
		},
		answer: func(v uint64) (over bool, err error) {
			if over, err = take(v); err != nil {
				return over, err
			}
			if over {
				v |= final
			}
			return over, send(v)
		},
		close: l.close,
	}, nil
}

// futex sleeps in the kernel, by package wait.
func (l *floor) futex() (p pair, err error) {
	mine, err := mmap.At[word.Uint32](l.mine, wordAt)
	if err != nil {
		return p, err
	}
	his, err := mmap.At[word.Uint32](l.his, wordAt)
	if err != nil {
		return p, err
	}
	const over = 1 << 31
	send := func(v uint32) {
		mine.Store(v)
		wait.Wake(mine, 1)
	}
	take := func(v uint32) (bool, error) {
		for {
			got := his.Load()
			if got&^over == v {
				return got&over != 0, nil
			}
			if err := wait.Park(background, his, got, nil, 0); err != nil {
				return false, err
			}
		}
	}
	return pair{
		trip: func(v uint64) error {
			low := uint32(v) &^ over
			if v&final != 0 {
				send(low | over)
			} else {
				send(low)
			}
			_, err := take(low)
			return err
		},
		answer: func(v uint64) (bool, error) {
			last, err := take(uint32(v))
			if last {
				v |= over
			}
			send(uint32(v))
			return last, err
		},
		close: l.close,
	}, nil
}
