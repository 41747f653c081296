package proctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// OtherArchitecture has helpers be programs of the other architecture that memlane runs
// on: the package's test binary, built for it, under qemu-user. Without that the test is
// skipped, and make test lists it.
func OtherArchitecture(t testing.TB) *Config {
	t.Helper()
	arch, emulator := "arm64", "qemu-aarch64"
	if runtime.GOARCH == "arm64" {
		arch, emulator = "amd64", "qemu-x86_64"
	}
	path, err := exec.LookPath(emulator)
	if err != nil {
		t.Skipf("needs the package qemu-user: %v", err)
	}
	binary := filepath.Join(t.TempDir(), arch+".test")
	build := exec.Command("go", "test", "-c", "-o", binary)
	build.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests for %s: %v\n%s", arch, err, out)
	}
	return &Config{Command: []string{path, binary}}
}
