//go:build !explore

package wait

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/word"
)

// What the kernel does for waiters, and the clock; with the build tag explore the
// explorer takes their place, in which nothing is late.

const explored = false

func futexWait(w *word.Uint32, seen, bit uint32) error {
	return sys.FutexWait(word.Raw(w), seen, bit, 0)
}

func futexWake(w *word.Uint32, n int) int { return sys.FutexWake(word.Raw(w), n, sys.FutexAnyBit) }

func futexWakeBit(w *word.Uint32, bit uint32) int {
	return sys.FutexWake(word.Raw(w), All, bit)
}

func rest(d time.Duration) { time.Sleep(d) }

func afterFunc(ctx context.Context, fn func()) func() bool { return context.AfterFunc(ctx, fn) }

// interrupt has the kernel look anew at all words that threads of this process sleep
// on, wherever it has their sleepers. Which thread sleeps on which word nobody notes:
// to ask the kernel who one is costs a tenth of a hand-off, and this is rarely needed.
func interrupt() { taskFolder.use(sys.InterruptThreads) }

func prepareInterrupt() { taskFolder.use(func(*os.File) error { return nil }) }

// taskFolder is the directory of the process's threads. It is opened when somebody waits
// for the first time, because later there may be no descriptor left, and stays open.
// Where there is no /proc of this PID namespace nobody is interrupted.
var taskFolder folder

type folder struct {
	mu   sync.Mutex
	file *os.File
}

// use has fn use the folder, if it can be opened.
func (d *folder) use(fn func(*os.File) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		f, err := sys.OpenThreads()
		if err != nil {
			return
		}
		d.file = f
	}
	fn(d.file)
}
