package life

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Facts are what /proc tells about a process. What cannot be found out from here, as of
// another user's process, is zero.
type Facts struct {
	Stopped   bool   // by a signal or a debugger
	Namespace uint32 // the inode number of its PID namespace
	Inner     uint32 // its number in that
	Program   string // the path of what it executes, or a short name of it
}

// Runs says whether the process of a number in our PID namespace is seen to be there and not
// stopped. It can be another one's by then.
func Runs(pid int) bool {
	if pid <= 0 || Self().Start == 0 {
		return false // without a /proc, or with one of another namespace
	}
	stat, err := readStat(strconv.Itoa(pid))
	return err == nil && !stat.stopped() && stat.state != 'Z' && stat.state != 'X'
}

// FactsOf returns what can be told about the process of a number in our PID namespace. It
// can be another one's by then; who needs to know has a pidfd of it.
func FactsOf(pid int) Facts {
	var f Facts
	if Self().Start == 0 {
		return f // without a /proc, or with one of another namespace
	}
	proc := "/proc/" + strconv.Itoa(pid)
	if stat, err := readStat(strconv.Itoa(pid)); err == nil {
		f.Stopped = stat.stopped()
	}
	if st, err := os.Stat(proc + "/ns/pid"); err == nil {
		f.Namespace = uint32(st.Sys().(*syscall.Stat_t).Ino)
	}
	status, _ := os.ReadFile(proc + "/status")
	for line := range strings.Lines(string(status)) {
		switch name, rest, _ := strings.Cut(line, ":"); name {
		case "NSpid": // from our namespace to its own
			fields := strings.Fields(rest)
			if n := len(fields); n > 0 {
				fmt.Sscan(fields[n-1], &f.Inner)
			}
		case "Name":
			f.Program = strings.TrimSpace(rest)
		}
	}
	if path, err := os.Readlink(proc + "/exe"); err == nil {
		f.Program = path
	}
	return f
}
