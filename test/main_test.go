// Package test tries memlane as its users meet it: the built command, its
// output and exit codes, and programs in other languages on the same memory.
package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/rogpeppe/go-internal/testscript"
)

// memlane is the path of the command under test.
var memlane string

func TestMain(m *testing.M) {
	if os.Getenv("MEMLANE_TEST_HELPER") != "" {
		proctest.Main(m, map[string]proctest.Helper{"half": writeHalf, "flood": floodTexts, "another boot": onAnotherBoot, "log": logRecords})
	}
	syscall.Umask(0o022) // the tests say what modes come of it
	dir, err := os.MkdirTemp("", "memlane-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Users other than the one who builds run it too.
	err = os.Chmod(dir, 0o755)
	memlane = filepath.Join(dir, "memlane")
	build := exec.Command("go", "build", "-o", memlane, ".")
	build.Dir = "../cmd/memlane"
	build.Stderr = os.Stderr
	if err == nil {
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build cmd/memlane:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// The scripts in testdata/script say what a user types and what comes back.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/script",
		Deadline: time.Now().Add(2 * time.Minute),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(memlane)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("MEMLANE_DIR", filepath.Join(env.WorkDir, "private"))
			return nil
		},
		RequireExplicitExec: true,
	})
}
