package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"
)

// mounts are the file systems of the machine.
var mounts = []struct {
	dir, kind string
	settings  string
}{
	{"/proc", "proc", ""},
	{"/sys", "sysfs", ""},
	{"/dev", "devtmpfs", ""},
	{"/dev/shm", "tmpfs", "mode=1777"},
	{"/sys/fs/cgroup", "cgroup2", ""},
	{"/tmp", "tmpfs", "mode=1777"},
}

// first is what the machine's first process does: it runs the tests, and turns the
// machine off.
func first() {
	if err := runTests(); err != nil {
		log.Print(err)
	}
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		log.Fatal(err) // the kernel panics, and QEMU ends
	}
}

func runTests() error {
	for _, m := range mounts {
		os.Mkdir(m.dir, 0o755) // may be there
		if err := syscall.Mount("none", m.dir, m.kind, 0, m.settings); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	for _, controller := range []string{"+cpu", "+memory", "+hugetlb"} {
		// Tests that need one which the kernel has not say so.
		if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte(controller), 0); err != nil {
			log.Print(err)
		}
	}
	os.Setenv("PATH", "/")
	os.Setenv("TMPDIR", "/tmp")
	plan, err := os.ReadFile("/plan")
	if err != nil {
		return err
	}
	// The second serial line: on the first the kernel has its say. Its last close waits
	// until all is sent.
	out, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(plan)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		args := append([]string{"/test2json", "-t", "-p"}, fields...)
		p, err := os.StartProcess(args[0], args, &os.ProcAttr{Dir: "/tmp", Files: []*os.File{null, out, out}})
		if err != nil {
			return err
		}
		// Children whose parents have died are the first process's.
		for {
			pid, err := syscall.Wait4(-1, nil, 0, nil)
			if err != nil && err != syscall.EINTR {
				return err
			}
			if pid == p.Pid {
				break
			}
		}
	}
	return nil
}
