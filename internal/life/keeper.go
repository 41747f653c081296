package life

import (
	"runtime"
	"sync"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/sys"
)

// keeperMax is how many words a keeper has at most; the kernel marks no more than
// 2048.
const keeperMax = 1024

// keepers are this process's; there is more than one only where there are more
// than keeperMax words.
var keepers struct {
	mu   sync.Mutex
	list []*keeper
}

// keeper is a thread that does nothing but hold life words: when it ends, the
// kernel marks them. Goroutines wander between threads, so that none of theirs
// could.
type keeper struct {
	list   *sys.RobustList // guarded by keepers.mu
	thread uint32          // its id
}

// hold maps the life word at offset of the file and has a keeper hold it, which
// it does until release.
func hold(fd int, offset int64) (*sys.RobustWord, *keeper, error) {
	keepers.mu.Lock()
	defer keepers.mu.Unlock()
	var k *keeper
	for _, other := range keepers.list {
		if other.list.Len() < keeperMax {
			k = other
		}
	}
	if k == nil {
		var err error
		if k, err = newKeeper(); err != nil {
			return nil, nil, err
		}
		keepers.list = append(keepers.list, k)
	}
	w, err := k.list.Add(fd, offset)
	return w, k, err
}

// release takes the word away from its keeper.
func release(w *sys.RobustWord) error {
	keepers.mu.Lock()
	defer keepers.mu.Unlock()
	return w.Remove()
}

func newKeeper() (*keeper, error) {
	list, err := sys.NewRobustList()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	k := &keeper{list: list}
	go func() {
		runtime.LockOSThread()
		if err := list.Bind(); err != nil {
			runtime.UnlockOSThread()
			started <- err
			return
		}
		k.thread = uint32(sys.Gettid()) & layout.FutexThread
		started <- nil
		select {} // the thread is this goroutine's until the process ends
	}()
	return k, <-started
}
