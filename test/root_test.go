//go:build root

package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Each user of a group that shares a domain, and root, exchanges messages with the others,
// sees all of them, and removes what any has left. Who is not in the group, or not accepted,
// is told so.
func TestRootToolsOfUsers(t *testing.T) {
	const group = 2000
	folder, err := os.MkdirTemp("/dev/shm", "memlane-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	domain := filepath.Join(folder, "default.domain")
	if err := errors.Join(os.Chmod(folder, 0o755), os.Mkdir(domain, 0o700), os.Chown(domain, 0, group), os.Chmod(domain, 0o770|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	users := []uint32{0, 1001, 1002}
	command := func(uid uint32, accepted []uint32, args ...string) *exec.Cmd {
		args = append(args, "--folder", folder)
		for _, other := range accepted {
			args = append(args, "--owner", fmt.Sprint(other))
		}
		cmd := exec.Command(memlane, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: group}}
		if uid == 1003 {
			cmd.SysProcAttr.Credential.Gid = 1003
		}
		return cmd
	}
	// says runs it to its end, and wants it to say something, or not to.
	says := func(cmd *exec.Cmd, code int, text string, not ...string) {
		t.Helper()
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), text) {
			t.Errorf("user %d, memlane %q: code %d, want %d; it says %s, want %q", cmd.SysProcAttr.Credential.Uid, cmd.Args[1:], got, code, out, text)
		}
		for _, text := range not {
			if strings.Contains(string(out), text) {
				t.Errorf("user %d, memlane %q: it says %s; want no %q", cmd.SysProcAttr.Credential.Uid, cmd.Args[1:], out, text)
			}
		}
	}
	for _, by := range users {
		for _, to := range users {
			topic := fmt.Sprintf("of-%d-to-%d", by, to)
			sub := startCommand(t, command(to, users, "sub", topic))
			pub := startCommand(t, command(by, users, "pub", topic))
			pub.write(t, topic+"\n")
			if got := sub.line(t); got != topic {
				t.Errorf("user %d to user %d: %q", by, to, got)
			}
			for _, looks := range users {
				for _, p := range []*process{sub, pub} {
					says(command(looks, users, "ps"), 0, fmt.Sprintf("  %d  ", p.Process.Pid))
				}
				says(command(looks, users, "ls"), 0, topic)
				says(command(looks, users, "stat", topic), 0, fmt.Sprint(sub.Process.Pid))
				says(command(looks, users, "doctor"), 0, "access", "accepted (", "is not accepted", "belongs to user")
			}
			sub.Process.Kill()
			sub.Wait()
			pub.Process.Kill()
			pub.Wait()
			cleaner := users[(int(by)+int(to))%len(users)]
			says(command(cleaner, users, "clean", "--yes"), 0, "yes")
			if left, err := filepath.Glob(filepath.Join(domain, "sockets/*")); err != nil || len(left) > 0 {
				t.Errorf("user %d left %q, %v", cleaner, left, err)
			}
		}
	}
	stays := startCommand(t, command(1001, users, "pub", "t", "--no-wait"))
	eventually(t, "it is there", func() bool {
		out, err := command(0, users, "ps").Output()
		return err == nil && strings.Contains(string(out), "alive")
	})
	says(command(1002, []uint32{0}, "doctor"), 0, "is of user 1001, who is not accepted")
	says(command(1002, []uint32{1001}, "ls"), 0, "t ") // who only looks needs to accept nobody
	says(command(1002, []uint32{1001}, "pub", "t"), 1, "it belongs to user 0 (accept that user with --owner")
	const fix = "become a member of its group"
	for _, args := range [][]string{{"pub", "t"}, {"sub", "t"}} {
		says(command(1003, users, args...), 1, fix)
	}
	for _, args := range [][]string{{"ps"}, {"ls"}, {"clean", "--yes"}, {"stat", "t"}} {
		says(command(1003, users, args...), 1, "permission denied")
	}
	says(command(0, users, "ps"), 0, fmt.Sprintf("  %d  ", stays.Process.Pid))
}
