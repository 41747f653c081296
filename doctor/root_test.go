//go:build root

package doctor_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/memlane/memlane/doctor"
	"github.com/memlane/memlane/internal/proctest"
)

// Who takes part and is not accepted is found; who is accepted is not.
func TestRootUserWhoIsNotAccepted(t *testing.T) {
	folder, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	domain := filepath.Join(folder, domainName+".domain")
	if err := errors.Join(os.Chmod(folder, 0o755), os.Mkdir(domain, 0o700), os.Chown(domain, 0, 2000), os.Chmod(domain, 0o770|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, &proctest.Config{User: &syscall.Credential{Uid: 1001, Gid: 2000}}, "take part", folder, "0")
	p.Line()
	wantFound(t, &doctor.Config{Folder: folder, Owners: []int{1002}}, "access", doctor.Warning, "is of user 1001, who is not accepted", "--owner 1001")
	if list := found(t, "access", &doctor.Config{Folder: folder, Owners: []int{1001}}); len(list) > 0 {
		t.Errorf("it is accepted, and found: %+v", list)
	}
}
