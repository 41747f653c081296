package segment

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

// Info is what can be known about a named segment without mapping it.
type Info struct {
	Name     string      // in its folder
	Path     string      // of its file
	Size     int64       // bytes
	InUse    int64       // bytes of memory or disk that it occupies; less than Size if it has holes
	Mode     fs.FileMode // permissions, and the type of what is not a regular file
	UID, GID int         // its owner
	Created  time.Time   // zero where the file system keeps no such time
	Modified time.Time   // by write calls; stores through a mapping need not show
	Users    []User      // processes that have it mapped, of those that may be looked at
	// Hidden is how many processes could not be looked at, because they are
	// another user's.
	Hidden int
	// Unknown says that processes of other users cannot even be counted, as
	// with /proc mounted hidepid=2, or none mounted.
	Unknown bool
	// Refused is why Attach would refuse it, or nil.
	Refused error
}

// User is a process that has a segment mapped.
type User struct {
	PID      int    // as this process sees it
	Command  string // the program's name
	Writable bool   // it can store into the segment
}

// Stat returns what is known about one named segment.
func Stat(name string, c *Config) (Info, error) {
	if c == nil {
		c = &Config{}
	}
	if err := checkName("stat", name); err != nil {
		return Info{}, err
	}
	dir, err := c.open("stat")
	if err != nil {
		return Info{}, err
	}
	defer dir.close()
	info, key, err := dir.info(name, c)
	if err != nil {
		return Info{}, &Error{"stat", dir.join(name), err, ""}
	}
	if errors.Is(info.Refused, ErrNotExist) {
		return Info{}, &Error{"stat", dir.join(name), ErrNotExist, ""} // removed just now
	}
	found, hidden := users(map[fileKey]bool{key: true})
	info.Users, info.Hidden, info.Unknown = found[key], hidden, usersUnknown()
	return info, nil
}

// List yields the segments of the folder that c names, in the order of their
// names; files that Attach would refuse too, with the reason. Folders and hidden
// files are left out.
func List(c *Config) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if c == nil {
			c = &Config{}
		}
		dir, err := c.open("list")
		if err != nil {
			yield(Info{}, err)
			return
		}
		defer dir.close()
		names, err := dir.names()
		if err != nil {
			yield(Info{}, &Error{"list", "folder " + dir.path, err, ""})
			return
		}
		slices.Sort(names)
		var infos []Info
		var keys []fileKey
		wanted := map[fileKey]bool{}
		for _, name := range names {
			if strings.HasPrefix(name, ".") {
				continue
			}
			info, key, err := dir.info(name, c)
			if errors.Is(err, ErrNotExist) || errors.Is(info.Refused, ErrNotExist) || info.Mode.IsDir() {
				continue // removed since the names were read; or a folder
			}
			if err != nil {
				info = Info{Name: name, Path: dir.join(name), Refused: err}
			}
			infos, keys = append(infos, info), append(keys, key)
			wanted[key] = true
		}
		// One look at all processes for all segments.
		found, hidden := users(wanted)
		unknown := usersUnknown()
		for i, info := range infos {
			info.Users, info.Hidden, info.Unknown = found[keys[i]], hidden, unknown
			if !yield(info, nil) {
				return
			}
		}
	}
}

// names reads the folder's names.
func (f *folder) names() ([]string, error) {
	fd, err := sys.Openat(f.fd, ".", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), f.path)
	defer d.Close()
	return d.Readdirnames(-1)
}

// fileKey identifies a file as /proc/PID/maps does.
type fileKey struct {
	dev uint64
	ino uint64
}

func (f *folder) info(name string, c *Config) (Info, fileKey, error) {
	fd, err := sys.Openat(f.fd, name, sys.OPath|sys.ONoFollow, 0)
	if err != nil {
		return Info{}, fileKey{}, err
	}
	defer sys.Close(fd)
	st, err := sys.Fstat(fd)
	if err != nil {
		return Info{}, fileKey{}, err
	}
	times, err := sys.FileTimes(fd)
	if err != nil {
		return Info{}, fileKey{}, err
	}
	info := Info{
		Name: name, Path: f.join(name), Size: st.Size, InUse: st.Blocks * 512,
		Mode: fs.FileMode(st.Mode & 0o777), UID: int(st.UID), GID: int(st.GID),
		Created: times.Born, Modified: times.Modified, Refused: c.trust(&st),
	}
	if err := checkName("attach", name); err != nil && info.Refused == nil {
		info.Refused = err
	}
	if info.Refused == nil && st.Size == 0 {
		info.Refused = ErrEmpty
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFSOCK:
		info.Mode |= fs.ModeSocket
	case syscall.S_IFCHR, syscall.S_IFBLK:
		info.Mode |= fs.ModeDevice
	case syscall.S_IFDIR:
		info.Mode |= fs.ModeDir
	case syscall.S_IFLNK:
		info.Mode |= fs.ModeSymlink
	case syscall.S_IFIFO:
		info.Mode |= fs.ModeNamedPipe
	}
	return info, fileKey{st.Dev, st.Ino}, nil
}

// usersUnknown reports whether /proc hides other users' processes altogether:
// then the first of all, which always is there, is not.
func usersUnknown() bool {
	_, err := os.Stat("/proc/1")
	return err != nil
}

// users looks through /proc for processes that map the files, and counts those
// that may not be looked at.
func users(wanted map[fileKey]bool) (found map[fileKey][]User, hidden int) {
	found = map[fileKey][]User{}
	paths, _ := filepath.Glob("/proc/[0-9]*/maps")
	for _, path := range paths {
		maps, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrPermission) {
			hidden++
		}
		if err != nil || len(maps) == 0 {
			continue // ended meanwhile, or a kernel thread
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		writable := map[fileKey]bool{}
		lines := bufio.NewScanner(bytes.NewReader(maps))
		lines.Buffer(nil, 1<<16)
		for lines.Scan() {
			// begin-end perms offset major:minor inode path, see proc(5)
			var begin, end, offset, major, minor, ino uint64
			var perms string
			n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %x %x:%x %d", &begin, &end, &perms, &offset, &major, &minor, &ino)
			key := fileKey{sys.Dev(uint32(major), uint32(minor)), ino}
			if n != 7 || ino == 0 || !wanted[key] || len(perms) < 4 || perms[3] != 's' {
				continue
			}
			writable[key] = writable[key] || perms[1] == 'w'
		}
		if len(writable) == 0 {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
		for key, w := range writable {
			found[key] = append(found[key], User{pid, strings.TrimSpace(string(command)), w})
		}
	}
	for _, list := range found {
		slices.SortFunc(list, func(a, b User) int { return a.PID - b.PID })
	}
	return found, hidden
}
