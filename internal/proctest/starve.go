package proctest

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// starvedFiles is how many descriptors a process can have that was starved.
const starvedFiles = 200

// Starve leaves this process so many descriptors that it can still open, until relieve
// is called. It is for helpers: their limit stays lower.
func Starve(left int) (relieve func(), err error) {
	limit := syscall.Rlimit{Cur: starvedFiles, Max: starvedFiles}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	var all []*os.File
	for full := 0; full < 3; {
		f, err := os.Open("/dev/null")
		if errors.Is(err, syscall.EMFILE) {
			// Another goroutine may be about to close one, which would be left too.
			full++
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if err != nil {
			return nil, err
		}
		all, full = append(all, f), 0
	}
	closeAll := func(files []*os.File) {
		for _, f := range files {
			f.Close()
		}
	}
	closeAll(all[:left])
	return func() { closeAll(all[left:]) }, nil
}
