//go:build stores

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/memlane/memlane/internal/word"
)

// seesStores says whether this program can be stopped at stores.
const seesStores = true

// arm has this process killed at a store, or stopped; nowhere has it say at which lines
// it has stored, one after the other, when it finishes.
func arm(where place, kill bool, report io.Writer) (finish func(), err error) {
	if where.kind == systems {
		return func() {}, nil
	}
	var mu sync.Mutex // the goroutines of a victim store at once
	var count int
	var lines []string
	word.Storing = func() {
		mu.Lock()
		n := count
		count++
		if where.kind == nowhere {
			lines = append(lines, line())
		}
		mu.Unlock()
		if where.kind != stores || n != where.n {
			return
		}
		fmt.Fprintln(report, "at", line())
		how := syscall.SIGSTOP
		if kill {
			how = syscall.SIGKILL
		}
		// The others go on until the signal reaches them.
		if err := syscall.Kill(os.Getpid(), how); err != nil {
			panic(err)
		}
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range lines {
			fmt.Fprintln(report, "store", l)
		}
	}, nil
}

// line returns the line that is about to store.
func line() string {
	var callers [8]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "/internal/word.") || !more {
			return fmt.Sprintf("%s:%d", f.Function[strings.LastIndex(f.Function, "/")+1:], f.Line)
		}
	}
}
