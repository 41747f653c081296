package segment_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
)

// bothWays runs a test with O_TMPFILE and as on file systems without it.
func bothWays(t *testing.T, test func(t *testing.T, way string)) {
	t.Run("tmpfile", func(t *testing.T) { test(t, "tmpfile") })
	t.Run("hidden", func(t *testing.T) {
		segment.WithoutTmpfile(true)
		defer segment.WithoutTmpfile(false)
		test(t, "hidden")
	})
}

func TestCreateAttachRemove(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	bothWays(t, func(t *testing.T, _ string) {
		c := &segment.Config{Folder: folder(t), Mode: 0o640, Group: fmt.Sprint(os.Getgid()), Fill: fill}
		s := create(t, "s", 5000, c)
		if s.Path() != filepath.Join(c.Folder, "s") || s.Len() != 5000 {
			t.Errorf("%s has %d bytes", s.Path(), s.Len())
		}
		info, err := segment.Stat("s", c)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode != 0o640 || info.Size != 5000 || info.InUse < 5000 || info.UID != os.Getuid() || info.GID != os.Getgid() || info.Refused != nil {
			t.Errorf("stat: %+v", info)
		}
		a, err := segment.Attach("s", c)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		wantFilled(t, a.Bytes(), 5000)
		a.Bytes()[17] = 99
		if s.Bytes()[17] != 99 {
			t.Error("two mappings of one segment differ")
		}
		r, err := segment.Attach("s", &segment.Config{Folder: c.Folder, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, err = r.WriteAt([]byte("x"), 0)
		wantError(t, err, []error{mmap.ErrProtected})
		_, err = segment.Create("s", 5000, c)
		wantError(t, err, []error{segment.ErrExist, fs.ErrExist}, "create", "s", "attach to it")
		if err := segment.Remove("s", c); err != nil {
			t.Fatal(err)
		}
		if a.Bytes()[17] != 99 {
			t.Error("removing the name took the memory away")
		}
		wantError(t, segment.Remove("s", c), []error{segment.ErrNotExist}, "remove")
		_, err = segment.Attach("s", c)
		wantError(t, err, []error{segment.ErrNotExist}, "attach", "create it first")
		again := create(t, "s", 10, &segment.Config{Folder: c.Folder})
		wantError(t, s.Remove(), []error{segment.ErrNotExist}, "another segment")
		if err := again.Remove(); err != nil {
			t.Error(err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(c.Folder); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestWrongInput(t *testing.T) {
	c := &segment.Config{Folder: folder(t)}
	for name, why := range map[string]string{
		"": "empty", "a/b": `'/'`, "/a": `'/'`, ".": "dot", "..": "dot", ".hidden": "dot",
		"a\x00b": `'\x00'`, "a\nb": `'\n'`, strings.Repeat("x", 256): "255",
	} {
		_, err := segment.Create(name, 1, c)
		wantError(t, err, []error{segment.ErrName}, "create", why)
		_, err = segment.Attach(name, c)
		wantError(t, err, []error{segment.ErrName}, "attach", why)
		_, _, err = segment.CreateOrAttach(name, 1, c)
		wantError(t, err, []error{segment.ErrName}, why)
		_, err = segment.Stat(name, c)
		wantError(t, err, []error{segment.ErrName}, "stat", why)
		wantError(t, segment.Remove(name, c), []error{segment.ErrName}, "remove", why)
	}
	create(t, strings.Repeat("x", 255), 1, c)
	for _, size := range []int{0, -1} {
		_, err := segment.Create("s", size, c)
		wantError(t, err, []error{segment.ErrSize}, "at least one byte")
		_, err = segment.CreateAnonymous("s", size, nil)
		wantError(t, err, []error{segment.ErrSize}, "at least one byte")
	}
	_, err := segment.Create("s", 1, &segment.Config{Folder: c.Folder, Mode: fs.ModeSetuid | 0o755})
	wantError(t, err, []error{fs.ErrInvalid}, "permission bits")
	_, err = segment.Create("s", 1, &segment.Config{Folder: c.Folder, Group: "no-such-group"})
	wantError(t, err, nil, "no-such-group", "group that exists")
	_, err = segment.Create("s", 1, &segment.Config{Folder: c.Folder + "/none"})
	wantError(t, err, []error{fs.ErrNotExist}, "make the folder")
	refusal := errors.New("fill fails")
	_, err = segment.Create("s", 1, &segment.Config{Folder: c.Folder, Fill: func([]byte) error { return refusal }})
	wantError(t, err, []error{refusal}, "create", "s")
	_, err = segment.CreateAnonymous("s", 1, &segment.Config{Fill: func([]byte) error { return refusal }})
	wantError(t, err, []error{refusal}, "create")
	_, err = segment.Attach("s", c)
	wantError(t, err, []error{segment.ErrNotExist})
	_, err = segment.CreateAnonymous(strings.Repeat("x", 56), 1, nil)
	wantError(t, err, []error{segment.ErrName}, "55")
	create(t, "sized", 100, c)
	_, _, err = segment.CreateOrAttach("sized", 200, c)
	wantError(t, err, []error{segment.ErrSize}, "has 100 bytes, 200 were expected")
	if s, created, err := segment.CreateOrAttach("sized", 100, c); err != nil || created {
		t.Errorf("created %v, %v", created, err)
	} else {
		s.Close()
	}
	_, err = segment.Create("huge", 1<<60, c)
	var space *mmap.SpaceError
	if !errors.As(err, &space) {
		t.Errorf("an absurd size: %v", err)
	}
}

func TestDefaultFolder(t *testing.T) {
	base := t.TempDir()
	t.Setenv("MEMLANE_DIR", filepath.Join(base, "mine"))
	s := create(t, "s", 1, nil)
	if s.Path() != filepath.Join(base, "mine", "s") {
		t.Errorf("created at %s", s.Path())
	}
	if st, err := os.Stat(filepath.Dir(s.Path())); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", st.Mode(), err)
	}
	for name, tc := range map[string]struct {
		make func(path string) error
		word string
	}{
		"open to its group": {func(p string) error { os.Mkdir(p, 0o700); return os.Chmod(p, 0o770) }, "others may write"},
		"link and slash":    {func(p string) error { return os.Symlink(filepath.Join(base, "mine"), filepath.Clean(p)) }, "symbolic link"},
		"open to all":       {func(p string) error { os.Mkdir(p, 0o700); return os.Chmod(p, 0o777) }, "others may write"},
		"symlink":           {func(p string) error { return os.Symlink(filepath.Join(base, "mine"), p) }, "symbolic link"},
		"file":              {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "not a folder"},
	} {
		path := filepath.Join(base, name)
		if name == "link and slash" {
			path += "/"
		}
		if err := tc.make(path); err != nil {
			t.Fatal(err)
		}
		t.Setenv("MEMLANE_DIR", path)
		_, err := segment.DefaultFolder()
		wantError(t, err, []error{segment.ErrUntrusted}, filepath.Clean(path), tc.word)
	}
}

// While it is built, nobody else can open it, and no program that is started
// inherits it.
func TestHalfBuiltIsNobodysBusiness(t *testing.T) {
	bothWays(t, func(t *testing.T, _ string) {
		dir := folder(t)
		looked := false
		old := syscall.Umask(0)
		defer syscall.Umask(old)
		create(t, "s", 4096, &segment.Config{Folder: dir, Mode: 0o666, Fill: func([]byte) error {
			fds, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				return err
			}
			for _, fd := range fds {
				path := "/proc/self/fd/" + fd.Name()
				target, _ := os.Readlink(path)
				if !strings.HasPrefix(target, dir+"/") {
					continue
				}
				st, err := os.Stat(path)
				if err != nil {
					return err
				}
				looked = true
				if st.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v while it is built", target, st.Mode())
				}
			}
			if out := proctest.Run(t, nil, "offered"); strings.Contains(out, dir) {
				t.Errorf("a child has %s", out)
			}
			return nil
		}})
		if !looked {
			t.Error("the file that is being built was not found")
		}
		if info, err := segment.Stat("s", &segment.Config{Folder: dir}); err != nil || info.Mode != 0o666 {
			t.Errorf("finished, it has mode %v, %v", info.Mode, err)
		}
	})
}

// A name that changes all the time between a segment and what could mislead:
// whoever attaches gets the segment or an error, never the other.
func TestAttachWhileTheNameIsSwapped(t *testing.T) {
	dir := folder(t)
	c := &segment.Config{Folder: dir, Fill: fill}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, "good", raceSize, c)
	at := func(name string) string { return filepath.Join(dir, name) }
	p := proctest.Start(t, nil, "swap", dir)
	p.Line()
	attached, tries := 0, 0
	// On one processor the swapper may not run for a while.
	for until := time.Now().Add(20 * time.Second); tries < 5000 || (attached == 0 || attached == tries) && time.Now().Before(until); tries++ {
		s, err := segment.Attach("name", c)
		if err == nil {
			attached++
			wantFilled(t, s.Bytes(), raceSize)
			s.Close()
		} else if !errors.Is(err, segment.ErrUntrusted) && !errors.Is(err, segment.ErrNotExist) {
			t.Fatalf("attach: %v", err)
		}
		if t.Failed() {
			break
		}
	}
	if attached == 0 || attached == tries {
		t.Errorf("attached %d times of %d; the test needs both", attached, tries)
	}
	if b, err := os.ReadFile(at("precious")); err != nil || string(b) != "precious" {
		t.Errorf("precious holds %q, %v", b, err)
	}
}

func TestAttachRefusesWhatIsNoSegment(t *testing.T) {
	dir := folder(t)
	c := &segment.Config{Folder: dir}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, tc := range map[string]struct {
		err  error
		word string
	}{
		"link":   {os.Symlink(secret, at("link")), "symbolic link"},
		"fifo":   {syscall.Mkfifo(at("fifo"), 0o600), "FIFO"},
		"folder": {os.Mkdir(at("folder"), 0o700), "not a regular file"},
		"second": {os.Link(secret, at("second")), "2 names"},
	} {
		if tc.err != nil {
			t.Fatal(tc.err)
		}
		_, err := segment.Attach(name, c)
		wantError(t, err, []error{segment.ErrUntrusted}, "attach", name, tc.word)
		_, _, err = segment.CreateOrAttach(name, 1, c)
		wantError(t, err, []error{segment.ErrUntrusted}, name, tc.word)
		_, err = segment.Create(name, 1, c)
		wantError(t, err, []error{segment.ErrExist, segment.ErrUntrusted}, "create", tc.word)
		wantError(t, segment.Remove(name, c), []error{segment.ErrUntrusted}, "remove", tc.word)
	}
	if err := os.WriteFile(at("empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := segment.Attach("empty", c)
	wantError(t, err, []error{segment.ErrEmpty}, "try again")
	if b, err := os.ReadFile(secret); err != nil || string(b) != "precious" {
		t.Errorf("the file behind the link: %q, %v", b, err)
	}
}

// An attached file with holes has none afterwards.
func TestAttachReservesHoles(t *testing.T) {
	dir := folder(t)
	if err := os.WriteFile(filepath.Join(dir, "s"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "s"), 100_000); err != nil {
		t.Fatal(err)
	}
	c := &segment.Config{Folder: dir}
	s, err := segment.Attach("s", c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := segment.Stat("s", c); err != nil || info.InUse < 100_000 {
		t.Errorf("%d of 100000 bytes are reserved, %v", info.InUse, err)
	}
}

func TestRacingCreators(t *testing.T) {
	bothWays(t, func(t *testing.T, way string) {
		const racers, rounds = 6, 40
		dir := folder(t)
		var ps []*proctest.Process
		for range racers {
			p := proctest.Start(t, nil, "create", dir, "s", way)
			p.Line() // ready
			ps = append(ps, p)
		}
		c := &segment.Config{Folder: dir}
		for round := range rounds {
			stop := make(chan struct{})
			attached := make(chan error, 1)
			go func() { // whoever looks meanwhile sees it whole or not at all
				for {
					s, err := segment.Attach(fmt.Sprint("s", round), c)
					if err == nil {
						want := make([]byte, raceSize)
						fill(want)
						if string(s.Bytes()) != string(want) {
							err = errors.New("attached to a segment that is not whole")
						}
						s.Close()
						attached <- err
						return
					}
					if !errors.Is(err, segment.ErrNotExist) {
						attached <- err
						return
					}
					select {
					case <-stop:
						attached <- errors.New("never attached")
						return
					default:
						runtime.Gosched()
					}
				}
			}()
			for _, p := range ps {
				p.Send(fmt.Sprint(round))
			}
			created := 0
			for _, p := range ps {
				switch line := p.Line(); line {
				case "created":
					created++
				case "exists":
				default:
					t.Fatalf("a creator says %q", line)
				}
			}
			if created != 1 {
				t.Fatalf("round %d: %d creators won", round, created)
			}
			// All have answered, so it is there: one more look is enough.
			overdue := time.AfterFunc(10*time.Second, func() { close(stop) })
			if err := <-attached; err != nil {
				t.Fatal(err)
			}
			overdue.Stop()
		}
		for _, p := range ps {
			if err := p.Wait(); err != nil {
				t.Error(err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != rounds {
			t.Errorf("%d files for %d segments, %v", len(entries), rounds, err)
		}
	})
}

// A creator is killed at the first, second, … system call that it makes, before
// and after each. Either nothing of it remains, or the whole segment; and a
// rival that comes then gets a whole one.
func TestCreatorKilledAtEverySystemCall(t *testing.T) {
	bothWays(t, func(t *testing.T, way string) {
		runtime.LockOSThread() // a tracer is a thread
		defer runtime.UnlockOSThread()
		dir := folder(t)
		c := &segment.Config{Folder: dir, Fill: fill}
		without, with := 0, 0
		for n := 0; ; n++ {
			if n > 2000 {
				t.Fatal("the creator never ends")
			}
			p := proctest.Start(t, nil, "create", dir, "s", way)
			p.Line() // ready
			ended := killAtStop(t, p, n)
			s, created, err := segment.CreateOrAttach("s1", raceSize, c)
			if err != nil {
				t.Fatalf("killed at stop %d: the rival gets %v", n, err)
			}
			if created {
				without++
			} else {
				with++
			}
			wantFilled(t, s.Bytes(), raceSize)
			if err := errors.Join(s.Remove(), s.Close()); err != nil {
				t.Fatal(err)
			}
			if left, err := os.ReadDir(dir); err != nil || (way == "tmpfile" && len(left) > 0) || len(left) > 1 {
				t.Fatalf("killed at stop %d: left behind %v, %v", n, left, err)
			}
			if ended {
				t.Logf("killed at %d stops: %d times before it had a name, %d times after", n, without, with)
				break
			}
		}
		if without < 10 || with < 2 {
			t.Errorf("only %d kills before the name and %d after it", without, with)
		}
		// What a builder with a hidden name leaves is removed by the next.
		create(t, "last", raceSize, c).Close()
		if err := segment.Remove("last", c); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

// The kill test can fail: a creator that builds under the name leaves segments
// that are not whole.
func TestKillsFindTheNaiveCreator(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir := folder(t)
	c := &segment.Config{Folder: dir, ReadOnly: true}
	want := make([]byte, raceSize)
	fill(want)
	broken := 0
	for n, ended := 0, false; !ended; n++ {
		if n > 2000 {
			t.Fatal("the creator never ends")
		}
		p := proctest.Start(t, nil, "create", dir, "s", "mutant")
		p.Line() // ready
		ended = killAtStop(t, p, n)
		s, err := segment.Attach("s1", c)
		switch {
		case errors.Is(err, segment.ErrNotExist):
			continue
		case err != nil || string(s.Bytes()) != string(want):
			broken++
		}
		if s != nil {
			s.Close()
		}
		os.Remove(filepath.Join(dir, "s1"))
	}
	if broken == 0 {
		t.Error("no half-built segment was found")
	}
}

// killAtStop lets the creator create while this thread traces its first thread,
// kills it at stop number n, before a system call or after it, and says whether
// it had come to its end before that.
func killAtStop(t *testing.T, p *proctest.Process, n int) (ended bool) {
	t.Helper()
	var ws syscall.WaitStatus
	if err := syscall.PtraceAttach(p.PID()); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Wait4(p.PID(), &ws, syscall.WALL, nil); err != nil {
		t.Fatal(err)
	}
	p.Send("1")
	p.CloseInput() // its end follows its answer
	for stop, signal := 0, 0; ; {
		if stop == n {
			break
		}
		if err := syscall.PtraceSyscall(p.PID(), signal); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Wait4(p.PID(), &ws, syscall.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if ws.Exited() || ws.Signaled() {
			p.Reaped()
			return true
		}
		signal = 0
		if sig := ws.StopSignal(); sig != syscall.SIGTRAP && sig != syscall.SIGSTOP {
			signal = int(sig) // the Go runtime's own, such as SIGURG
			continue
		}
		stop++
	}
	syscall.Kill(p.PID(), syscall.SIGKILL)
	for !ws.Exited() && !ws.Signaled() {
		if _, err := syscall.Wait4(p.PID(), &ws, syscall.WALL, nil); err != nil {
			t.Fatal(err)
		}
	}
	p.Reaped()
	return false
}

func TestFullTmpfs(t *testing.T) {
	const ns = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	proctest.RequireNamespaces(t, ns)
	for _, size := range []string{"64k", "1m"} {
		t.Run(size, func(t *testing.T) {
			got := proctest.Run(t, &proctest.Config{Namespaces: ns}, "full", t.TempDir(), size)
			if want := "true true true\ntrue\ntrue true"; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestListAndUsers(t *testing.T) {
	dir := folder(t)
	c := &segment.Config{Folder: dir}
	create(t, "b", 10_000, c)
	create(t, "a", 1, c).Close()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(dir, "folder"), 0o700)
	if err := os.WriteFile(filepath.Join(dir, segment.HiddenPrefix+"x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	writer := proctest.Start(t, nil, "hold", dir, "b")
	reader := proctest.Start(t, nil, "hold", dir, "b", "read-only")
	writer.Line()
	reader.Line()
	byName := map[string]segment.Info{}
	var names []string
	for info, err := range segment.List(c) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
		byName[info.Name] = info
	}
	if fmt.Sprint(names) != "[a b link]" {
		t.Errorf("listed %v", names)
	}
	b := byName["b"]
	users := map[int]bool{}
	for _, u := range b.Users {
		users[u.PID] = u.Writable
		if u.Command == "" {
			t.Errorf("user without a command: %+v", u)
		}
	}
	want := map[int]bool{os.Getpid(): true, writer.PID(): true, reader.PID(): false}
	if fmt.Sprint(users) != fmt.Sprint(want) {
		t.Errorf("users %v, want %v", users, want)
	}
	if len(byName["a"].Users) != 0 || b.Size != 10_000 || b.InUse < 10_000 || b.Modified.IsZero() || time.Since(b.Created) > time.Hour {
		t.Errorf("a: %+v\nb: %+v", byName["a"], b)
	}
	wantError(t, byName["link"].Refused, []error{segment.ErrUntrusted}, "symbolic link")
	if byName["link"].Mode&fs.ModeSymlink == 0 {
		t.Errorf("link has mode %v", byName["link"].Mode)
	}
	for _, err := range segment.List(&segment.Config{Folder: dir + "/none"}) {
		wantError(t, err, []error{fs.ErrNotExist}, "list")
	}
	for range segment.List(c) {
		break // an iterator may be left
	}
}

func TestForkAndPinFlags(t *testing.T) {
	c := &segment.Config{Folder: folder(t), Pin: true}
	s := create(t, "s", pageSize, c)
	flags := vmFlags(t, s.Addr())
	if !strings.Contains(flags, " dc ") {
		t.Errorf("the kernel shows %q; want dc, not copied to a forked child", flags)
	}
	probe, err := mmap.MapAnonymous(pageSize, mmap.Read, mmap.Private, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := probe.Pin(); errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("needs mseal(2), Linux 6.10: %v", err)
	}
	for _, pinned := range []*segment.Segment{s, attached(t, "s", c), pinnedAnonymous(t)} {
		if err := pinned.Protect(0, 1, mmap.None); !errors.Is(err, syscall.EPERM) {
			t.Errorf("a pinned segment can be protected: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func attached(t *testing.T, name string, c *segment.Config) *segment.Segment {
	t.Helper()
	s, err := segment.Attach(name, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func pinnedAnonymous(t *testing.T) *segment.Segment {
	t.Helper()
	s, err := segment.CreateAnonymous("pinned", 4096, &segment.Config{Pin: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// What is pinned cannot be given back, so a call that fails pins nothing.
func TestFailedCallsPinNothing(t *testing.T) {
	c := &segment.Config{Folder: folder(t), Pin: true}
	create(t, "s", pageSize, c)
	count := func() int {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(maps), c.Folder)
	}
	before := count()
	panics := func() (r any) {
		defer func() { r = recover() }()
		segment.Create("p", pageSize, &segment.Config{Folder: c.Folder, Pin: true, Fill: func([]byte) error { panic("fill") }})
		return nil
	}
	for range 3 {
		_, err := segment.Create("s", pageSize, c)
		wantError(t, err, []error{segment.ErrExist})
		_, _, err = segment.CreateOrAttach("s", 2*pageSize, c)
		wantError(t, err, []error{segment.ErrSize})
		if panics() != "fill" {
			t.Error("the panic of Fill is lost")
		}
	}
	if after := count(); after != before {
		t.Errorf("%d mappings, %d before", after, before)
	}
}

// rss returns how many kB of the mapping at addr have been brought in.
func rss(t *testing.T, addr uintptr) (n int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(smaps), fmt.Sprintf("%x-", addr))
	_, rest, ok := strings.Cut(rest, "Rss:")
	if _, err := fmt.Sscan(rest, &n); err != nil || !ok {
		t.Fatalf("no mapping at %#x in smaps", addr)
	}
	return n
}

func TestPrefault(t *testing.T) {
	for _, on := range []bool{false, true} {
		c := &segment.Config{Folder: folder(t), Prefault: on}
		a, err := segment.CreateAnonymous("a", 1<<20, c)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for what, s := range map[string]*segment.Segment{
			"created": create(t, "s", 1<<20, c), "attached": attached(t, "s", c), "anonymous": a,
		} {
			if got := rss(t, s.Addr()); (got == 1024) != on {
				t.Errorf("%s with Prefault %v: %d kB of 1024 are in", what, on, got)
			}
		}
	}
}

func TestHugePagesReportTheirFallback(t *testing.T) {
	for _, h := range []mmap.HugePages{mmap.HugeTransparent, mmap.Huge2MiB, mmap.Huge1GiB} {
		s, err := segment.CreateAnonymous("huge", 3<<20, &segment.Config{HugePages: h, Prefault: true})
		if err != nil {
			t.Fatal(err)
		}
		got, why := s.HugePages()
		if h != mmap.HugeTransparent && (got == h) != (why == nil) {
			t.Errorf("asked for %v, got %v, because %v", h, got, why)
		}
		s.Bytes()[s.Len()-1] = 1
		s.Close()
		n := create(t, "huge"+h.String(), 3<<20, &segment.Config{Folder: folder(t), HugePages: h})
		if got, why := n.HugePages(); got > mmap.HugeTransparent || (got == h) != (why == nil) {
			t.Errorf("a named segment: asked for %v, got %v, because %v", h, got, why)
		}
	}
}

// A named segment gives out descriptors of open file descriptions of their own,
// also when it has lost its name; with them goes what it was attached for.
func TestFileOfANamedSegment(t *testing.T) {
	c := &segment.Config{Folder: folder(t)}
	s := create(t, "s", pageSize, c)
	reader, err := segment.Attach("s", &segment.Config{Folder: c.Folder, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	var files [2]*os.File
	for i := range files {
		if files[i], err = s.File(); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	if _, err := files[0].WriteAt([]byte("x"), 0); err != nil || s.Bytes()[0] != 'x' {
		t.Errorf("not the segment's file: %v", err)
	}
	if err := syscall.Flock(int(files[0].Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(files[1].Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("the descriptors share their locks: %v", err)
	}
	f, err := reader.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EBADF) {
		t.Errorf("a segment for reading gave a descriptor for writing: %v", err)
	}
	s.Close()
	_, err = s.File()
	wantError(t, err, []error{mmap.ErrClosed}, "open segment")
}

func TestAtClose(t *testing.T) {
	s := create(t, "s", pageSize, &segment.Config{Folder: folder(t)})
	calls := 0
	s.AtClose(func() {
		if s.Bytes() == nil {
			t.Error("the memory has gone already")
		}
		calls++
	})
	s.Close()
	s.Close()
	if calls != 1 || s.AtClose(func() {}) {
		t.Errorf("called %d times, or taken after Close", calls)
	}
}
