package test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/memlane/memlane/segment"
)

// Segments in /dev/shm are those of shm_open and of Python's SharedMemory, both
// ways: bare bytes from offset 0.
func TestSegmentsWithCAndPython(t *testing.T) {
	peers := map[string][]string{
		"C":      {compile(t, "shm")},
		"Python": {"python3", filepath.Join("testdata/peers", "shm.py")},
	}
	c := &segment.Config{Folder: "/dev/shm"}
	for name, peer := range peers {
		t.Run(name, func(t *testing.T) {
			call := func(args ...string) string {
				t.Helper()
				return command(t, peer[0], append(peer[1:len(peer):len(peer)], args...)...)
			}
			ours := fmt.Sprintf("memlane-test-ours-%s-%d", name, os.Getpid())
			s, err := segment.Create(ours, 4096, c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			defer s.Remove()
			copy(s.Bytes(), "from memlane")
			if got := call("read", ours, "12"); got != "from memlane" {
				t.Errorf("the peer reads %q", got)
			}
			theirs := fmt.Sprintf("memlane-test-theirs-%s-%d", name, os.Getpid())
			call("write", theirs, "from the peer")
			a, err := segment.Attach(theirs, c)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			defer a.Remove()
			if got := string(a.Bytes()[:13]); a.Len() != 4096 || got != "from the peer" {
				t.Errorf("we read %q of %d bytes", got, a.Len())
			}
			if out := command(t, memlane, "segment", "--folder", "/dev/shm", "read", theirs, "--length", "13"); out != "from the peer" {
				t.Errorf("the command reads %q", out)
			}
		})
	}
}
