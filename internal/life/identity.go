package life

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// Identity says which process somebody is, as far as processes of the same PID
// namespace can tell. What it says comes from shared memory: it is looked up and
// compared, never acted upon.
type Identity struct {
	PID       uint32 // in its namespace; 0: it does not say
	Namespace uint32 // the inode number of its PID namespace
	Inode     uint64 // of its pidfd; 0 before Linux 6.9
	Start     uint64 // when it started, in clock ticks since boot; 0 without /proc
}

// Self returns this process's identity.
var Self = sync.OnceValue(func() Identity {
	id := Identity{PID: uint32(os.Getpid())}
	if st, err := os.Stat("/proc/self/ns/pid"); err == nil {
		id.Namespace = uint32(st.Sys().(*syscall.Stat_t).Ino)
	}
	if fd, err := sys.PidfdOpen(os.Getpid()); err == nil {
		id.Inode, _ = sys.PidfdInode(fd)
		sys.Close(fd)
	}
	// A /proc of another namespace has other numbers.
	if name, err := os.Readlink("/proc/self"); err == nil && name == strconv.Itoa(os.Getpid()) {
		if stat, err := readStat("self"); err == nil {
			id.Start = stat.start
		}
	}
	return id
})

// visible says whether the PID means to us what it means to its process.
func (id Identity) visible() bool {
	self := Self()
	return id.PID != 0 && id.Namespace != 0 && id.Namespace == self.Namespace && id.PID <= 1<<31-1
}

// Dead says whether the process has ended; known is false where that cannot be
// told from here, as of a process of another PID namespace.
func (id Identity) Dead() (dead, known bool) {
	if !id.visible() || (id.Inode == 0 && (id.Start == 0 || Self().Start == 0)) {
		return false, false
	}
	fd, err := sys.PidfdOpen(int(id.PID))
	switch {
	case errors.Is(err, syscall.ESRCH), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOENT):
		// Nobody has the number, or a thread of another process has it; or it is
		// just executing a program, from another thread than its first, whose place
		// that one then takes (de_thread in the kernel's fs/exec.c).
		if id.listed() {
			return false, false
		}
		return true, true
	case err != nil:
		return false, false
	}
	defer sys.Close(fd)
	if id.Inode != 0 {
		if inode, err := sys.PidfdInode(fd); err != nil || inode == 0 {
			return false, false // it says more than we can check
		} else if inode != id.Inode {
			return true, true // another process has the number now
		}
	} else if stat, err := readStat(strconv.Itoa(int(id.PID))); err != nil {
		return false, false
	} else if stat.start-id.Start+1 > 2 { // they are rounded
		return true, true
	}
	ended, err := sys.Readable(fd)
	return ended, err == nil
}

// listed says whether /proc has the process.
func (id Identity) listed() bool {
	if id.Start == 0 || Self().Start == 0 {
		return false
	}
	stat, err := readStat(strconv.Itoa(int(id.PID)))
	return err == nil && stat.start-id.Start+1 <= 2 && stat.state != 'Z' && stat.state != 'X'
}

// Stopped says whether the process is stopped, by a signal or a debugger; known
// is false where that cannot be told from here.
func (id Identity) Stopped() (stopped, known bool) {
	if dead, ok := id.Dead(); !ok || dead || Self().Start == 0 {
		return false, ok && Self().Start != 0
	}
	stat, err := readStat(strconv.Itoa(int(id.PID)))
	return stat.stopped(), err == nil
}

// String returns the process as a person looks for it.
func (id Identity) String() string {
	if id.PID == 0 {
		return "unknown process"
	}
	if !id.visible() {
		return fmt.Sprintf("process %d of another PID namespace", id.PID)
	}
	return fmt.Sprintf("process %d", id.PID)
}

// stat is what is used of /proc/PID/stat.
type stat struct {
	state byte
	start uint64 // clock ticks since boot, whatever the time namespace; 0: it cannot be told
}

// tick is a clock tick of /proc in nanoseconds: 1/100 s on all machines that memlane
// runs on.
const tick = 1e7

// stopped says whether it is, by a signal or a debugger.
func (s stat) stopped() bool { return s.state == 'T' || s.state == 't' }

func readStat(pid string) (stat, error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return stat{}, err
	}
	// The name, in parentheses, can have anything in it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields))
	}
	shown, err := strconv.ParseUint(fields[19], 10, 64)
	offset, known := bootOffset()
	if err != nil || !known {
		return stat{state: fields[0][0]}, err
	}
	// Who started before this time namespace's boot has done so at a negative time, which
	// the kernel takes for a positive one and divides. In nanoseconds again, the bits are
	// those of the negative one.
	start := int64(shown*tick) - offset
	return stat{fields[0][0], uint64(start+tick-1) / tick}, nil
}

// bootOffset returns what this process's time namespace adds to the time since boot, in
// nanoseconds; known is false where that cannot be told.
var bootOffset = sync.OnceValues(func() (offset int64, known bool) {
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return 0, errors.Is(err, os.ErrNotExist) // a kernel without time namespaces
	}
	// The offsets are those that children get. They are another namespace's after
	// unshare(2), which leaves its caller in the one that he is in.
	own, err := os.Readlink("/proc/self/ns/time")
	childrens, childrensErr := os.Readlink("/proc/self/ns/time_for_children")
	if err != nil || childrensErr != nil || own != childrens {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		var seconds, nanoseconds int64
		if _, err := fmt.Sscanf(line, "boottime %d %d", &seconds, &nanoseconds); err == nil {
			return seconds*1e9 + nanoseconds, true
		}
	}
	return 0, false
})
