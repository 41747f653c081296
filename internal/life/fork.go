package life

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/memlane/memlane/internal/sys"
)

// ErrForked: the caller is a child that was forked without executing a program.
// It has none of the shared memory.
var ErrForked = errors.New("in a forked child, which does not have the shared memory")

// original leads to a word that is 1 in this process and, because its page is
// wiped there, 0 in every child that is forked. Before RecogniseForks there is
// none.
var original atomic.Pointer[atomic.Uint32]

// RecogniseForks has [Forked] work from now on; [Join] calls it.
var RecogniseForks = sync.OnceValue(func() error {
	w, err := sys.WipedOnFork()
	if err == nil {
		w.Store(1)
		original.Store(w)
	}
	return err
})

// Forked says whether this is a child that was forked from the process that
// called RecogniseForks. It costs two loads.
func Forked() bool {
	w := original.Load()
	return w != nil && w.Load() == 0
}
