package doctor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/doctor"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/segment"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{"publish": publish, "subscribe": subscribe, "examine": examine, "small": small, "take part": takePart})
}

const (
	domainName = "shop"
	topicName  = "orders"
)

func open(folder string) (*memlane.Domain, error) {
	return memlane.Open(domainName, &memlane.Config{Folder: folder})
}

// takePart opens the domain, until its input ends. Args: the folder, a user that is accepted.
func takePart(args []string) error {
	uid, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	d, err := memlane.Open(domainName, &memlane.Config{Folder: args[0], Owners: []int{uid}})
	if err != nil {
		return err
	}
	fmt.Println("there")
	fmt.Scanln()
	return d.Close()
}

// publish publishes until it has to wait; under DropOldest a thousand messages. Args: the
// folder, the policy, the content type.
func publish(args []string) error {
	d, err := open(args[0])
	if err != nil {
		return err
	}
	policy := pubsub.DropOldest
	if args[1] == "block" {
		policy = pubsub.Block
	}
	p, err := pubsub.Publish(d, topicName, &pubsub.PublisherConfig{Policy: policy, Slots: 16, ContentType: args[2]})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var order string
	for {
		if _, err := fmt.Scanln(&order); err != nil {
			return err
		}
		if err := p.WaitSubscribers(context.Background(), 1); err != nil {
			return err
		}
		for range 1000 {
			if policy == pubsub.Block && p.Stats().Published == 16 {
				fmt.Println("full")
			}
			if err := p.Publish(context.Background(), []byte("one espresso")); err != nil {
				return err
			}
		}
		fmt.Println("published")
	}
}

// subscribe subscribes, and receives what there is when it is told to. Args: the folder,
// the most descriptors, the content type.
func subscribe(args []string) error {
	var most uint64
	if fmt.Sscan(args[1], &most); most > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	d, err := open(args[0])
	if err != nil {
		return err
	}
	s, err := pubsub.Subscribe(d, topicName, &pubsub.SubscriberConfig{ContentType: args[2]})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var order string
	for {
		if _, err := fmt.Scanln(&order); err != nil {
			return err
		}
		_, err := s.Receive(context.Background()) // a loss is told first
		for err != pubsub.ErrEmpty {
			_, err = s.TryReceive()
		}
		fmt.Println("received")
	}
}

// examine prints what is found. Args: the folder, and where the machine's files are.
func examine(args []string) error {
	findings, err := doctor.Examine(&doctor.Config{Folder: args[0], Root: args[1]})
	for _, f := range findings {
		fmt.Printf("%s\t%s\t%s\t%s\n", f.Check, f.Level, f.Says, f.Fix)
	}
	return err
}

// small is examine with a small tmpfs in the place of a folder, filled so far, in a mount
// namespace of its own. Args: those of examine, the folder to mount it on, its size, and
// what to write, in MiB.
func small(args []string) error {
	if err := syscall.Mount("tmpfs", args[2], "tmpfs", 0, "size="+args[3]+"m"); err != nil {
		return err
	}
	var mib int
	fmt.Sscan(args[4], &mib)
	if err := os.WriteFile(filepath.Join(args[2], ".filled"), make([]byte, mib<<20), 0o600); err != nil {
		return err
	}
	return examine(args[:2])
}

// found returns the findings of a check that are not good.
func found(t *testing.T, check string, c *doctor.Config) (list []doctor.Finding) {
	t.Helper()
	all, err := doctor.Examine(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.Says == "" || (f.Level == doctor.Good) != (f.Fix == "") || (f.Level == doctor.Good) != (f.Why == "") {
			t.Errorf("%+v does not say all", f)
		}
		if f.Check == check && f.Level != doctor.Good {
			list = append(list, f)
		}
	}
	return list
}

// wantFound wants one finding of a check. Who runs on a busy machine can take a while to answer.
func wantFound(t *testing.T, c *doctor.Config, check string, level doctor.Level, says, fix string) {
	t.Helper()
	var list []doctor.Finding
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		list = found(t, check, c)
		if len(list) == 1 && list[0].Level == level && strings.Contains(list[0].Says, says) && strings.Contains(list[0].Fix, fix) {
			t.Logf("%s: %s: %s\n\t%s\n\tfix: %s", check, level, list[0].Says, list[0].Why, list[0].Fix)
			return
		}
	}
	t.Errorf("found %+v; want %s %s: %q, %q", list, check, level, says, fix)
}

// ofDomains are the checks that have nothing to do with the machine that tests run on.
var ofDomains = []string{"descriptors", "access", "segments", "leftovers", "foreign", "stopped", "troubles", "stalled", "python"}

// Where all is well nothing is found; each of the pains is.
func TestPainsOfDomains(t *testing.T) {
	folder := t.TempDir()
	c := &doctor.Config{Folder: folder}
	healthy := func(t *testing.T) {
		t.Helper()
		for _, check := range ofDomains {
			if list := found(t, check, c); len(list) > 0 {
				t.Errorf("all is well, and there is %+v", list)
			}
		}
	}
	healthy(t)
	start := func(t *testing.T, args ...string) *proctest.Process {
		t.Helper()
		p := proctest.Start(t, nil, args[0], append([]string{folder}, args[1:]...)...)
		p.Line()
		return p
	}
	t.Run("stopped and stalled", func(t *testing.T) {
		s, p := start(t, "subscribe", "0", ""), start(t, "publish", "block", "")
		healthy(t)
		s.Signal(syscall.SIGSTOP)
		wantFound(t, c, "stopped", doctor.Warning, fmt.Sprintf("process %d (", s.PID()), fmt.Sprintf("kill -CONT %d", s.PID()))
		p.Send("go")
		p.Line() // it is full
		eventually(t, "it waits", func() bool { return len(found(t, "stalled", c)) > 0 })
		wantFound(t, c, "stalled", doctor.Bad, fmt.Sprintf("process %d, waits for process %d, which is all of the 16 slots behind", p.PID(), s.PID()), "kill -CONT")
		s.Kill()
		p.Line() // it has published all
		p.Kill() // who lives may remove what the dead have left
		wantFound(t, c, "leftovers", doctor.Warning, "participants of 1 domains have died", "memlane clean --yes")
	})
	d, err := open(folder) // cleans up
	if err != nil {
		t.Fatal(err)
	}
	healthy(t)
	d.Close()
	t.Run("lost", func(t *testing.T) {
		s, p := start(t, "subscribe", "0", ""), start(t, "publish", "drop", "")
		p.Send("go")
		p.Line()
		s.Send("go")
		s.Line()
		wantFound(t, c, "stalled", doctor.Warning, fmt.Sprintf("process %d has lost ", s.PID()), "more Slots")
	})
	t.Run("refused", func(t *testing.T) {
		s, p := start(t, "subscribe", "0", "text/csv"), start(t, "publish", "drop", "application/json")
		wantFound(t, c, "stalled", doctor.Bad, fmt.Sprintf("process %d is refused by process %d", s.PID(), p.PID()), "same type, Schema or ContentType")
	})
	t.Run("troubles", func(t *testing.T) {
		p := start(t, "publish", "drop", "")
		h, err := hostile.Join(filepath.Join(folder, domainName+".domain"), topicName, meet.Subscriber)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Node.Close()
		(<-h.Found).Send(77, nil)
		<-h.Lost
		wantFound(t, c, "troubles", doctor.Warning, fmt.Sprintf("process %d and process %d exchange nothing any more", p.PID(), os.Getpid()), "same version of memlane")
	})
	t.Run("descriptors", func(t *testing.T) {
		s := start(t, "subscribe", "70", "")
		wantFound(t, c, "descriptors", doctor.Warning, "of 70 descriptors open", fmt.Sprintf("prlimit --pid %d", s.PID()))
	})
	if d, err = open(folder); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	healthy(t)
	t.Run("foreign", func(t *testing.T) {
		path := filepath.Join(d.Folder(), "sockets", strings.Repeat("0", 31)+"1.00000000000000ff")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		wantFound(t, c, "foreign", doctor.Warning, "1 participants are of another kernel", "rm "+folder)
	})
	t.Run("access", func(t *testing.T) {
		os.Chmod(d.Folder(), 0o777)
		defer os.Chmod(d.Folder(), 0o700)
		wantFound(t, c, "access", doctor.Bad, "others may write in", "chmod 700 "+d.Folder())
	})
	t.Run("segments", func(t *testing.T) {
		path := filepath.Join(folder, "empty")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		wantFound(t, c, "segments", doctor.Warning, `segment "empty" is empty`, "memlane segment rm empty")
		os.Remove(path)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		wantFound(t, c, "segments", doctor.Bad, `segment "empty": `, "memlane segment rm empty")
	})
	healthy(t)
}

// What cannot be looked at is not good, and where there is nothing there is an error.
func TestUnseen(t *testing.T) {
	folder := t.TempDir()
	domain := filepath.Join(folder, domainName+".domain")
	write(t, domain, "ports", "no folder")
	if err := os.Chmod(domain, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, check := range []string{"leftovers", "foreign", "stopped", "stalled", "troubles"} {
		wantFound(t, &doctor.Config{Folder: folder}, check, doctor.Unknown, domain, "access")
	}
	if _, err := doctor.Examine(&doctor.Config{Folder: filepath.Join(folder, "none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a folder that is not there: %v", err)
	}
}

// A Python program that opens a segment in /dev/shm itself removes it when it ends.
func TestPythonRemovesSegments(t *testing.T) {
	name := fmt.Sprintf("memlane-doctor-%d", os.Getpid())
	shm := &segment.Config{Folder: "/dev/shm"}
	s, err := segment.Create(name, 4096, shm)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer segment.Remove(name, shm)
	about := func() (list []doctor.Finding) {
		for _, f := range found(t, "python", &doctor.Config{Folder: "/dev/shm"}) {
			if strings.Contains(f.Says, name) {
				list = append(list, f)
			}
		}
		return list
	}
	if list := about(); len(list) > 0 {
		t.Errorf("nobody uses it, and there is %+v", list)
	}
	python := exec.Command("python3", "-c", "import sys\nfrom multiprocessing import shared_memory\nm = shared_memory.SharedMemory(sys.argv[1])\nprint('ready', flush=True)\nsys.stdin.read()", name)
	in, err := python.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := python.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := python.Start(); err != nil {
		t.Fatal(err)
	}
	defer python.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	list := about()
	if len(list) != 1 || list[0].Level != doctor.Warning || !strings.Contains(list[0].Says, fmt.Sprintf("process %d (python", python.Process.Pid)) || !strings.Contains(list[0].Fix, "track=False") {
		t.Fatalf("found %+v", list)
	}
	t.Logf("python: %s: %s\n\t%s\n\tfix: %s", list[0].Level, list[0].Says, list[0].Why, list[0].Fix)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("it never comes to it that %s", what)
		}
	}
}

// write writes a file of another machine's.
func write(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The machine's pains are found, too, and not found where they are not.
func TestPainsOfMachines(t *testing.T) {
	const namespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	inside := &proctest.Config{Namespaces: namespaces}
	has := func(t *testing.T, text, want string) {
		t.Helper()
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, want) {
				t.Log(line)
				return
			}
		}
		t.Errorf("there is no %q in\n%s", want, text)
	}
	t.Run("space", func(t *testing.T) {
		proctest.RequireNamespaces(t, namespaces)
		folder := t.TempDir()
		has(t, proctest.Run(t, inside, "small", folder, "", folder, "20", "0"), "space\tok")
		has(t, proctest.Run(t, inside, "small", folder, "", folder, "20", "10"), "space\twarning\t10 MiB of 20 MiB are free in "+folder+"\tmount -o remount,size=80M")
		has(t, proctest.Run(t, inside, "small", folder, "", folder, "4", "4"), "space\tbad")
	})
	t.Run("shm", func(t *testing.T) {
		proctest.RequireNamespaces(t, namespaces)
		root := t.TempDir()
		shm := filepath.Join(root, "dev/shm")
		if err := os.MkdirAll(shm, 0o755); err != nil {
			t.Fatal(err)
		}
		has(t, proctest.Run(t, inside, "small", t.TempDir(), root, shm, "64", "0"), "shm\twarning\t/dev/shm has 64 MiB\tdocker run --shm-size=1g")
		has(t, proctest.Run(t, inside, "small", t.TempDir(), root, shm, "65", "0"), "shm\tok")
	})
	t.Run("memory", func(t *testing.T) {
		root := t.TempDir()
		c := &doctor.Config{Folder: t.TempDir(), Root: root}
		write(t, root, "proc/self/cgroup", "1:cpu:/old\n0::/kubepods/pod1\n")
		write(t, root, "sys/fs/cgroup/kubepods/pod1/memory.max", "67108864\n")
		write(t, root, "sys/fs/cgroup/kubepods/pod1/memory.current", "60000000\n")
		wantFound(t, c, "memory", doctor.Warning, "/kubepods/pod1 has 6 MiB left of 64 MiB", "raise its limit")
		for _, limit := range []string{"max\n", "167108864\n"} {
			write(t, root, "sys/fs/cgroup/kubepods/pod1/memory.max", limit)
			if list := found(t, "memory", c); len(list) > 0 {
				t.Errorf("with the limit %s%+v", limit, list)
			}
		}
	})
	t.Run("pids", func(t *testing.T) {
		root := t.TempDir()
		if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
			t.Fatal(err)
		}
		self := filepath.Join(root, "proc/self")
		if err := os.Symlink("1234567", self); err != nil {
			t.Fatal(err)
		}
		c := &doctor.Config{Folder: t.TempDir(), Root: root}
		wantFound(t, c, "pids", doctor.Warning, "not that of this PID namespace", "mount -t proc")
		if list := found(t, "pids", &doctor.Config{Folder: t.TempDir()}); len(list) > 0 {
			t.Errorf("of this machine: %+v", list)
		}
	})
	t.Run("removal", func(t *testing.T) {
		root, err := os.MkdirTemp("", "doctor-root-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		os.Chmod(root, 0o755)
		folder := filepath.Join(root, "dev/shm/memlane-65534")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			os.Chown(folder, proctest.Nobody, proctest.Nobody)
		}
		look := func() string {
			return proctest.Run(t, &proctest.Config{AsNobody: true}, "examine", folder, root)
		}
		has(t, look(), "removal\tok") // without logind
		write(t, root, "run/systemd/seats/seat0", "")
		write(t, root, "etc/login.defs", "SYS_UID_MAX\t\t  200\n")
		has(t, look(), "removal\twarning")
		write(t, root, "etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n")
		has(t, look(), "removal\twarning")
		write(t, root, "etc/systemd/logind.conf", "[Login]\nRemoveIPC=no\n")
		has(t, look(), "removal\tok")
	})
}
