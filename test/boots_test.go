package test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// onAnotherBoot is memlane as on a machine that has booted with another id, as a virtual
// one has, with which a folder is shared. Args: a file with the id, then memlane's path and
// its arguments.
func onAnotherBoot(args []string) error {
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount(args[0], bootIDFile, "", syscall.MS_BIND, "")
	}
	if err != nil || len(args) == 1 {
		return err
	}
	return syscall.Exec(args[1], args[1:], os.Environ())
}

// What participants of another boot have in a folder nobody here removes, whether they
// live or not; those who share it with them are not disturbed either, and clean up
// only after their own.
func TestAnotherBoot(t *testing.T) {
	const id = "01234567-89ab-cdef-0123-456789abcdef"
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(file, []byte(id+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &proctest.Config{Namespaces: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	proctest.RequireNamespaces(t, c.Namespaces)
	if err := proctest.Start(t, c, "another boot", file).Wait(); err != nil {
		t.Skipf("needs mounts that this user cannot make here: %v", err)
	}
	there := func(args ...string) *proctest.Process {
		t.Helper()
		return proctest.Start(t, c, "another boot", append([]string{file, memlane}, append(args, "--folder", folder)...)...)
	}
	traces := func() []string {
		var all []string
		for _, pattern := range []string{"sockets/*", "ports/*/*"} {
			found, err := filepath.Glob(filepath.Join(folder, "default.domain", pattern))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, found...)
		}
		return slices.DeleteFunc(all, func(path string) bool {
			return !strings.HasPrefix(filepath.Base(path), strings.ReplaceAll(id, "-", "")+".")
		})
	}
	sub, pub := there("sub", "t"), there("pub", "t")
	pub.Send("one")
	if got := sub.Line(); got != "one" {
		t.Fatal(got)
	}
	before := traces()
	if len(before) != 4 { // two sockets, two registrations
		t.Fatalf("there is %q", before)
	}
	// Everybody here who could clean up comes by.
	visit := func() {
		t.Helper()
		for range 2 {
			want(t, 0, "", "clean", "--yes", "--folder", folder)
			want(t, 0, "2 participants are of another kernel", "doctor", "--folder", folder)
			here, lines := inFolder(t, folder, "sub", "t"), inFolder(t, folder, "pub", "t")
			lines.write(t, "here\n")
			if got := here.line(t); got != "here" {
				t.Error(got)
			}
			for _, p := range []*process{here, lines} {
				p.Process.Kill()
				p.Wait()
			}
		}
		want(t, 0, "foreign", "ps", "--folder", folder)
		if got := traces(); !slices.Equal(got, before) {
			t.Errorf("there is\n%q\nthere was\n%q", got, before)
		}
	}
	visit()
	pub.Send("two")
	if got := sub.Line(); got != "two" {
		t.Errorf("%q; nobody from here is to be heard there", got)
	}
	for _, p := range []*proctest.Process{sub, pub} {
		p.Kill()
	}
	visit() // after their deaths, of which nothing can be known here

	// And the other way round: the one there removes what is left of its own boot.
	stays := inFolder(t, folder, "pub", "t", "--no-wait")
	eventually(t, "it is there", func() bool {
		out, _, _ := run(t, "ps", "--folder", folder)
		return strings.Contains(out, "alive")
	})
	if err := there("clean", "--yes").Wait(); err != nil {
		t.Error(err)
	}
	if got := traces(); len(got) > 0 {
		t.Errorf("left behind %q", got)
	}
	want(t, 0, "alive", "ps", "--folder", folder)
	stays.in.Close()
	if err := stays.Wait(); err != nil {
		t.Error(errors.Join(err, errors.New(stays.stderr.String())))
	}
}
