package memlane_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// declared returns the names of all tests.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, name := range function.FindAllSubmatch(text, -1) {
			tests[string(name[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// exist checks that all tests that a line names do.
func exist(t *testing.T, tests map[string]bool, line string) {
	t.Helper()
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(line, -1) {
		if !tests[name[1]] {
			t.Errorf("%s is named and does not exist", name[1])
		}
	}
}

// Every promise of docs/GUARANTEES.md names a test or a campaign, and they exist.
func TestGuaranteesNameTheirTests(t *testing.T) {
	text, err := os.ReadFile("docs/GUARANTEES.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	tests, rows := declared(t), 0
	for line := range strings.Lines(string(text)) {
		exist(t, tests, line)
		for _, target := range regexp.MustCompile("`make ([\\w.-]+)`").FindAllStringSubmatch(line, -1) {
			if !strings.Contains(string(makefile), "\n"+target[1]+":") {
				t.Errorf("make %s is named and does not exist", target[1])
			}
		}
		if cells := strings.Split(line, "|"); len(cells) > 5 && regexp.MustCompile(`^ \d+ $`).MatchString(cells[1]) {
			rows++
			if !strings.Contains(cells[3], "`Test") && !strings.Contains(cells[3], "`make ") {
				t.Errorf("promise%sis shown by nothing", cells[1])
			}
		}
	}
	if rows < 12 {
		t.Errorf("%d rows; the table is not read as it is written", rows)
	}
}

// Every row of docs/SEED.md names a test, and every test that it names exists.
func TestSeedRowsNameTheirTests(t *testing.T) {
	tests := declared(t)
	text, err := os.ReadFile("docs/SEED.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 5 && regexp.MustCompile(`^ \d+ $`).MatchString(cells[1]) {
			rows++
			if !strings.Contains(cells[4], "`Test") {
				t.Errorf("row%sis shown by no test", cells[1])
			}
		}
		exist(t, tests, line)
	}
	if rows < 20 {
		t.Errorf("%d rows; the table is not read as it is written", rows)
	}
}

// The tests that docs/TOOLS.md and docs/RECORDING.md name exist.
func TestToolsNameTheirTests(t *testing.T) {
	for _, page := range []string{"docs/TOOLS.md", "docs/RECORDING.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		exist(t, declared(t), string(text))
	}
}

// The programs of the README are those of examples, which tests run.
func TestReadmeShowsTheExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"seed/server", "seed/client", "pubsub/publisher", "pubsub/subscriber"} {
		source, err := os.ReadFile(filepath.Join("examples", name, "main.go"))
		if err != nil {
			t.Fatal(err)
		}
		_, body, ok := strings.Cut(string(source), "\npackage main\n")
		if !ok || !strings.Contains(string(readme), "```go\npackage main\n"+body+"```") {
			t.Errorf("README.md does not show examples/%s as it is", name)
		}
	}
}

// A module of its own that has a program of the README, and the README's command in
// it, can be built.
func TestReadmeModuleBuilds(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^go mod edit -replace=\S+ && go mod tidy$`).Find(readme)
	if line == nil {
		t.Fatal("README.md has no replace")
	}
	source, err := os.ReadFile("examples/pubsub/publisher/main.go")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	mine := filepath.Join(folder, "mine")
	for _, err := range []error{
		os.Symlink(here, filepath.Join(folder, "memlane")),
		os.Mkdir(mine, 0o700),
		os.WriteFile(filepath.Join(mine, "main.go"), source, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-ec", "go mod init example.com/mine && "+string(line)+" && go build -o /dev/null .")
	cmd.Dir = mine
	// What is needed is in the module cache, as this module needs it too.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off", "GOSUMDB=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
