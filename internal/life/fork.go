package life

import (
	"errors"
	"sync/atomic"

	"github.com/memlane/memlane/internal/sys"
)

// ErrForked: the caller is a child that was forked without executing a program.
// It has none of the shared memory.
var ErrForked = errors.New("in a forked child, which does not have the shared memory")

// original is 1 in this process and, because its page is wiped there, 0 in every
// child that is forked. Before the first Join it is a word that says 1.
var original = func() *atomic.Uint32 {
	w := new(atomic.Uint32)
	w.Store(1)
	return w
}()

// recogniseForks has Forked work from now on.
func recogniseForks() error {
	w, err := sys.WipedOnFork()
	if err == nil {
		w.Store(1)
		original = w
	}
	return err
}

// Forked says whether this is a child that was forked from the process that
// joined. It costs a load.
func Forked() bool { return original.Load() == 0 }
