package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/sys"
)

const (
	mib = 1 << 20
	// leastSpace is what is to be free where files are, and in a control group: as much as
	// one message of the default limit and what is around it.
	leastSpace = 16 * mib
	// smallShm is how large Docker makes /dev/shm by default.
	smallShm = 64 * mib
)

// size is a number of bytes for people.
func size(n int64) string {
	if n >= mib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d KiB", n/1024)
}

// space: a file of a file system that is full is a SIGBUS in programs that do not
// reserve its pages before they use them. Memlane reserves, and gets an error.
func (p *patient) space() []Finding {
	fs, err := fileSystem(p.folder)
	if err != nil {
		return []Finding{{Level: Unknown, Says: err.Error(), Why: "whether there is room cannot be told", Fix: "give --folder a folder that you may read"}}
	}
	if fs.Free >= leastSpace {
		return nil
	}
	level := Warning
	if fs.Free < mib {
		level = Bad
	}
	fix := "free some of it: df -h " + p.folder
	if fs.Memory {
		fix = fmt.Sprintf("mount -o remount,size=%dM on it, or choose another folder: MEMLANE_DIR", 4*max(fs.Size, leastSpace)/mib)
	}
	return []Finding{{Level: level, Says: fmt.Sprintf("%s of %s are free in %s", size(fs.Free), size(fs.Size), p.folder),
		Why: "segments cannot be made or grow, and programs that do not reserve memory before they use it get a SIGBUS", Fix: fix}}
}

func fileSystem(path string) (sys.FS, error) {
	f, err := os.Open(path)
	if err != nil {
		return sys.FS{}, err
	}
	defer f.Close()
	return sys.Fstatfs(int(f.Fd()))
}

// shm: 64 MiB are what a container gets that does not ask for more.
func (p *patient) shm() []Finding {
	path := filepath.Join(p.config.Root, "/dev/shm")
	fs, err := fileSystem(path)
	if err != nil || !fs.Memory || fs.Size > smallShm {
		return nil // there is none, which is another matter
	}
	return []Finding{{Level: Warning, Says: fmt.Sprintf("/dev/shm has %s", size(fs.Size)),
		Why: "that is what Docker and Kubernetes give a container: segments in it have no more room together; messages of topics are not in it",
		Fix: "docker run --shm-size=1g; in Kubernetes mount an emptyDir with medium: Memory and a sizeLimit at /dev/shm"}}
}

// memory: what is shared counts as memory of the control group of who has touched it
// first.
func (p *patient) memory() []Finding {
	group, err := p.controlGroup()
	if err != nil {
		return nil // there is none, or it is of the first version
	}
	number := func(file string) (int64, bool) {
		text, err := p.read(filepath.Join("/sys/fs/cgroup", group, file))
		n, bad := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return n, err == nil && bad == nil // "max": no limit
	}
	limit, limited := number("memory.max")
	used, known := number("memory.current")
	if !limited || !known || limit-used >= leastSpace {
		return nil
	}
	return []Finding{{Level: Warning, Says: fmt.Sprintf("the control group %s has %s left of %s", group, size(max(limit-used, 0)), size(limit)),
		Why: "messages are memory of their publisher's group: a publisher that grows gets an error, and who goes beyond the limit is killed",
		Fix: "raise its limit (docker run --memory, resources.limits.memory), or lower PublisherConfig.ArenaLimit"}}
}

// controlGroup returns this process's, as a path below /sys/fs/cgroup.
func (p *patient) controlGroup() (string, error) {
	text, err := p.read("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return group, nil
		}
	}
	return "", errors.New("no control group of the second version")
}

// removal: systemd-logind removes what a user has in /dev/shm when his last session ends,
// unless he is a system user, or lingers (logind.conf(5), RemoveIPC=).
func (p *patient) removal() []Finding {
	uid := os.Geteuid()
	if uid == 0 || !strings.HasPrefix(p.folder, filepath.Join(p.config.Root, "/dev/shm")+"/") {
		return nil
	}
	if text, err := p.read("/etc/login.defs"); err == nil && uid <= setting(text, "SYS_UID_MAX", 999) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(p.config.Root, "/run/systemd/seats")); err != nil {
		return nil // logind does not run
	}
	text, _ := p.read("/etc/systemd/logind.conf")
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if key == "RemoveIPC" && (value == "no" || value == "false" || value == "0" || value == "off") {
			return nil
		}
	}
	return []Finding{{Level: Warning, Says: fmt.Sprintf("systemd-logind removes what user %d has in /dev/shm when his last session ends", uid),
		Why: "programs that go on after that, as with nohup, are alone: who comes later makes new files",
		Fix: "loginctl enable-linger, or RemoveIPC=no in /etc/systemd/logind.conf, or another MEMLANE_DIR"}}
}

// setting returns a number of a file such as /etc/login.defs.
func setting(text, key string, otherwise int) int {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == key {
			if n, err := strconv.Atoi(fields[1]); err == nil {
				return n
			}
		}
	}
	return otherwise
}

// pids: in a container with another PID namespace's /proc numbers mean others.
func (p *patient) pids() []Finding {
	self, err := os.Readlink(filepath.Join(p.config.Root, "/proc/self"))
	if err == nil && self == strconv.Itoa(os.Getpid()) {
		return nil
	}
	return []Finding{{Level: Warning, Says: "/proc is not that of this PID namespace",
		Why: "nothing can be told about processes by their numbers; that participants die is noticed all the same",
		Fix: "mount -t proc proc /proc in the container"}}
}

// leastDescriptors is how many are to be left to a process.
const leastDescriptors = 64

// descriptors: each peer takes some.
func (p *patient) descriptors() (found []Finding) {
	for _, who := range p.participants() {
		if who.PID == 0 {
			continue
		}
		proc := fmt.Sprintf("/proc/%d", who.PID)
		open, err := os.ReadDir(filepath.Join(p.config.Root, proc, "fd"))
		text, limitErr := p.read(proc + "/limits")
		if err != nil || limitErr != nil {
			continue // of another user
		}
		for line := range strings.Lines(text) {
			rest, ok := strings.CutPrefix(line, "Max open files")
			fields := strings.Fields(rest)
			if !ok || len(fields) == 0 {
				continue
			}
			if most, err := strconv.Atoi(fields[0]); err == nil && most-len(open) < leastDescriptors {
				found = append(found, Finding{Level: Warning, Says: fmt.Sprintf("%s has %d of %d descriptors open", named(who), len(open), most),
					Why: "who joins needs two or three of each process that it shares a topic with: the next ones are refused, and tried again later",
					Fix: fmt.Sprintf("prlimit --pid %d --nofile=65536, and ulimit -n 65536 where it is started", who.PID)})
			}
		}
	}
	return found
}

// named is a participant for people.
func named(who inspect.Participant) string {
	if who.PID == 0 {
		return fmt.Sprintf("participant %016x of domain %q", who.ID, who.Domain)
	}
	return fmt.Sprintf("process %d (%s) of domain %q", who.PID, graphic(filepath.Base(who.Program)), who.Domain)
}
