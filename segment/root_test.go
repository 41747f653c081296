//go:build root

package segment_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
)

// setting writes a kernel setting and puts the old value back afterwards.
func setting(t *testing.T, path, value string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(path, old, 0) })
	if now, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(now)) != value {
		t.Fatalf("%s is %s, %v; want %s", path, now, err, value)
	}
}

// Another user plants what could mislead root in a sticky folder, with the
// kernel's own protections on and off.
func TestRootSquattersInAStickyFolder(t *testing.T) {
	for _, level := range []int{0, 2} {
		t.Run(fmt.Sprint("protected=", level), func(t *testing.T) {
			setting(t, "/proc/sys/fs/protected_symlinks", fmt.Sprint(min(level, 1)))
			setting(t, "/proc/sys/fs/protected_hardlinks", fmt.Sprint(min(level, 1)))
			setting(t, "/proc/sys/fs/protected_regular", fmt.Sprint(level))
			setting(t, "/proc/sys/fs/protected_fifos", fmt.Sprint(level))
			dir := folder(t)
			if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
				t.Fatal(err)
			}
			precious := filepath.Join(dir, "precious")
			if err := os.WriteFile(precious, []byte("precious"), 0o644); err != nil {
				t.Fatal(err)
			}
			planted := strings.Fields(proctest.Run(t, &proctest.Config{AsNobody: true}, "squat", dir))
			if len(planted) < 3 {
				t.Fatalf("only %v could be planted", planted)
			}
			c := &segment.Config{Folder: dir}
			for _, name := range planted {
				for what, err := range map[string]error{
					"attach":    second(segment.Attach(name, c)),
					"read-only": second(segment.Attach(name, &segment.Config{Folder: dir, ReadOnly: true})),
					"create":    second(segment.Create(name, 4096, c)),
					"remove":    segment.Remove(name, c),
				} {
					t.Run(what+" "+name, func(t *testing.T) { wantError(t, err, []error{segment.ErrUntrusted}, name) })
				}
				s, _, err := segment.CreateOrAttach(name, 4096, c)
				if s != nil {
					t.Errorf("%s: CreateOrAttach gave a segment", name)
				}
				wantError(t, err, []error{segment.ErrUntrusted}, name)
			}
			// A folder that is somebody else's link, or his own.
			if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, planted := range []string{"to-real", "to-real/below", "theirs"} {
				_, err := segment.Create("s", 1, &segment.Config{Folder: filepath.Join(dir, planted)})
				wantRefused(t, err, planted)
			}
			for _, planted := range []string{"to-real", "to-real/", "to-real/.", "theirs"} {
				t.Setenv("MEMLANE_DIR", dir+"/"+planted)
				_, err := segment.DefaultFolder()
				wantRefused(t, err, "")
			}
			// Who is accepted by name is.
			s, err := segment.Attach("file", &segment.Config{Folder: dir, Owners: []int{proctest.Nobody}})
			if err != nil {
				t.Fatalf("an accepted user's file: %v", err)
			}
			s.Close()
			if b, err := os.ReadFile(precious); err != nil || string(b) != "precious" {
				t.Errorf("precious holds %q, %v", b, err)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || !strings.HasPrefix(string(b), "planted") {
				t.Errorf("the planted file was changed: %q, %v", b, err)
			}
		})
	}
}

// wantRefused wants us to refuse a folder, or the kernel before us: with
// protected_symlinks it does not follow another user's link.
func wantRefused(t *testing.T, err error, name string) {
	t.Helper()
	if !errors.Is(err, segment.ErrUntrusted) && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v; want a refusal", err)
	}
	if err != nil && !strings.Contains(err.Error(), name) {
		t.Errorf("error %q does not say %q", err, name)
	}
}

// In a user namespace all unknown users look like one, also like oneself if one
// is that one.
func TestRootForeignUserInANamespace(t *testing.T) {
	dir := folder(t)
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	planted := filepath.Join(dir, "planted")
	if err := errors.Join(os.WriteFile(planted, make([]byte, 4096), 0o666), os.Chmod(planted, 0o666), os.Chown(planted, 1234, 1234)); err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, &proctest.Config{Namespaces: syscall.CLONE_NEWUSER, AsUser: proctest.Nobody}, "hold", dir, "planted")
	wantError(t, p.Wait(), nil, "not trusted: a file of user 65534")
}

func second(s *segment.Segment, err error) error {
	if s != nil {
		s.Close()
	}
	return err
}

// The default folder of one user is not to be had by another, nor what is in it.
func TestRootForeignUser(t *testing.T) {
	dir := folder(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	create(t, "mine", 4096, &segment.Config{Folder: dir})
	other := create(t, "grouped", 4096, &segment.Config{Folder: dir, Mode: 0o640, Group: fmt.Sprint(proctest.Nobody)})
	if info, err := segment.Stat("grouped", &segment.Config{Folder: dir}); err != nil || info.GID != proctest.Nobody || info.Mode != 0o640 {
		t.Errorf("%s: %+v, %v", other.Path(), info, err)
	}
	p := proctest.Start(t, &proctest.Config{AsNobody: true}, "hold", dir, "mine")
	wantError(t, p.Wait(), nil, "a file of user 0")
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MEMLANE_DIR", private)
	create(t, "hidden", 4096, nil)
	p = proctest.Start(t, &proctest.Config{AsNobody: true}, "squat", private)
	wantError(t, p.Wait(), nil, "permission denied")
	// Root does not take somebody else's folder for its own.
	if err := os.Chown(private, proctest.Nobody, proctest.Nobody); err != nil {
		t.Fatal(err)
	}
	_, err := segment.DefaultFolder()
	wantError(t, err, []error{segment.ErrUntrusted}, "belongs to user 65534")
}

func TestRootHugePagesFromThePool(t *testing.T) {
	setting(t, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "4")
	s, err := segment.CreateAnonymous("huge", 3<<20, &segment.Config{HugePages: mmap.Huge2MiB, Prefault: true, Fill: fill})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, why := s.HugePages(); got != mmap.Huge2MiB || why != nil || s.Len() != 4<<20 {
		t.Errorf("got %v for %d bytes, because %v", got, s.Len(), why)
	}
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := segment.Open(f, 4<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wantFilled(t, r.Bytes(), 4<<20)
	// Sealed as others are.
	if out := proctest.Run(t, &proctest.Config{Files: []*os.File{f}}, "attack"); strings.Contains(out, "write: <nil>") || strings.Contains(out, "hole: <nil>") || strings.Contains(out, "less: <nil>") || strings.Contains(out, "writable: <nil>") {
		t.Errorf("something worked:\n%s", out)
	}
	big, err := segment.CreateAnonymous("too big for the pool", 10<<20, &segment.Config{HugePages: mmap.Huge2MiB})
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if got, why := big.HugePages(); got == mmap.Huge2MiB || why == nil {
		t.Errorf("with too few pages in the pool: got %v, because %v", got, why)
	}
}
