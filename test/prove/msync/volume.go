package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/memlane/memlane/mmap"
)

// FS_IOC_SHUTDOWN, _IOR('X', 125, __u32), and the way it is used here: at once,
// and without writing the journal to disk first (EXT4_GOING_FLAGS_NOLOGFLUSH,
// XFS_FSOP_GOING_FLAGS_NOLOGFLUSH).
const (
	iocShutdown = 0x8004587d
	noLogFlush  = 2
)

// fileSystems are the kinds that are tried, with what makes them. XFS does not
// come smaller.
var fileSystems = []struct {
	name string
	size int64 // bytes
	mkfs []string
}{
	{"ext4", 64 << 20, []string{"mkfs.ext4", "-q", "-F", "-b", "4096"}},
	{"xfs", 320 << 20, []string{"mkfs.xfs", "-q", "-f"}},
}

// A volume is a file system in an image file.
type volume struct {
	kind    string
	image   string
	root    string // where it is mounted
	mounted bool
}

// newVolume formats an image file in the folder.
func newVolume(dir, kind string, size int64, mkfs []string) (*volume, error) {
	v := &volume{kind: kind, image: filepath.Join(dir, kind+".img"), root: filepath.Join(dir, kind)}
	if err := os.Mkdir(v.root, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(v.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(v.image, size); err != nil {
		return nil, err
	}
	return v, command(append(mkfs, v.image)...)
}

// mount mounts the volume on a loop device that goes away with the mount. After
// a shutdown, this is where the journal is replayed.
func (v *volume) mount() error {
	err := command("mount", "-t", v.kind, "-o", "loop", v.image, v.root)
	v.mounted = err == nil
	return err
}

// unmount leaves nothing of the volume in memory.
func (v *volume) unmount() error {
	if err := syscall.Unmount(v.root, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", v.root, err)
	}
	v.mounted = false
	return nil
}

// discard unmounts the volume if it is mounted, in use or not.
func (v *volume) discard() error {
	if v == nil || !v.mounted {
		return nil
	}
	if err := syscall.Unmount(v.root, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("detach %s: %w", v.root, err)
	}
	v.mounted = false
	return nil
}

// shutdown cuts the file system off from its device: what it has not written
// so far, it never will. It calls announce right before.
func (v *volume) shutdown(announce func() error) error {
	dir, err := os.Open(v.root)
	if err != nil {
		return err
	}
	defer dir.Close()
	// The call takes a pointer. Mapped memory has an address that is a number
	// to Go and stays what it is.
	arg, err := mmap.MapAnonymous(4, mmap.Read|mmap.Write, mmap.Private, nil)
	if err != nil {
		return err
	}
	defer arg.Close()
	binary.NativeEndian.PutUint32(arg.Bytes(), noLogFlush)
	if err := announce(); err != nil {
		return err
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), iocShutdown, arg.Addr()); errno != 0 {
		return fmt.Errorf("shut down %s: %w", v.root, errno)
	}
	return nil
}

// command runs a program to its end, out of reach of the terminal's Ctrl-C:
// killed in the middle, mount would leave a loop device behind.
func command(args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// isolate gives the calling thread a mount namespace of its own. Its mounts are
// seen by no other process, which could hold on to them, and the kernel ends
// them with the run, however it ends. The goroutine must be locked to its
// thread and do everything that has to do with mounts.
func isolate() error {
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w (this needs root)", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts out of the other namespaces: %w", err)
	}
	return nil
}
