// Fuzz runs the fuzz targets of all packages with inputs that are changes of their seeds,
// many million times: see proctest.Fuzz. What they check is that whatever a peer says or
// has in its memory is refused, or is what it is decoded as, and that nothing panics.
//
// It exits with 0 if nothing was found, with 1 if something was or something else failed,
// with 2 if used wrongly.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/memlane/memlane/test/prove"
)

// targets are all, with how many of a thousand executions are theirs: those that take
// longer have less.
var targets = []struct {
	pkg, name string
	share     int
}{
	{"internal/meet", "FuzzFrame", 190},
	{"internal/meet", "FuzzHello", 150},
	{"internal/meet", "FuzzPort", 150},
	{"internal/meet", "FuzzReject", 40},
	{"internal/meet", "FuzzFolder", 100},
	{"internal/observe", "FuzzDecode", 105},
	{"internal/ring", "FuzzTopic", 60},
	{"pubsub", "FuzzWire", 150},
	{"schema", "FuzzSchema", 14},
	{"schema", "FuzzAppendMessage", 15},
	{"internal/format", "FuzzFormat", 5},
	{"logtopic", "FuzzRecord", 5},
	{"cmd/memlane", "FuzzRecordText", 15},
	{"cmd/memlane/internal/mcap", "FuzzFile", 1},
}

const description = `Whatever a peer says, or has in its memory, is refused, or is exactly what it is decoded as; nothing panics. Run
` + "`make prove-fuzz`" + ` to add to this table; ` + "`ARGS='-executions 1000000000'`" + ` for more. The inputs are changes of the targets' seeds drawn
by lot; ` + "`go test -fuzz`" + ` makes others, guided by what they reach. *FuzzTopic* is a reader and a view of a topic's segment: what
they meet when they attach to it and read. *Found* must be 0.`

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "target", Key: true},
	{Name: "executions", Sum: true}, {Name: "seconds", Sum: true}, {Name: "found", Sum: true},
}

func main() {
	executions := flag.Int("executions", 10_000_000, "run all targets together `so many` times")
	file := flag.String("file", "docs/PROOF.md", "Markdown `file` to add the figures to; empty: none")
	flag.Parse()
	if flag.NArg() > 0 || *executions < 1000 {
		fmt.Fprintln(os.Stderr, "fuzz: takes no arguments, and a thousand executions at least; see -help")
		os.Exit(2)
	}
	if err := all(*executions, *file); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
	fmt.Println("nothing was found")
}

// all runs the targets, as many at a time as there are processors.
func all(executions int, file string) error {
	dir, err := os.MkdirTemp("", "memlane-fuzz-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	started, commit := time.Now().UTC().Format(time.DateTime), prove.Commit()
	binaries := map[string]string{}
	for _, t := range targets {
		if binaries[t.pkg] == "" {
			binaries[t.pkg] = filepath.Join(dir, filepath.Base(t.pkg)+".test")
			cmd := exec.Command("go", "test", "-c", "-o", binaries[t.pkg], "./"+t.pkg)
			cmd.Stderr = os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("build the tests of %s: %w", t.pkg, err)
			}
		}
	}
	free, results := make(chan struct{}, runtime.NumCPU()), make(chan error)
	for _, t := range targets {
		go func() {
			free <- struct{}{}
			defer func() { <-free }()
			n := executions / 1000 * t.share
			begun := time.Now()
			out, err := run(binaries[t.pkg], t.name, n)
			found := 0
			if err != nil {
				found = 1
				err = fmt.Errorf("%s: %w\n%s", t.name, err, out)
			}
			seconds := int(time.Since(begun).Seconds())
			fmt.Printf("%s: %d executions in %d s, %d found\n", t.name, n, seconds, found)
			if file != "" {
				err = errors.Join(err, prove.Add(file, "fuzz", description, columns,
					[]string{started, commit, t.name, strconv.Itoa(n), strconv.Itoa(seconds), strconv.Itoa(found)}))
			}
			results <- err
		}()
	}
	var errs []error
	for range targets {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// run runs one target, and returns what it wrote.
func run(binary, name string, n int) ([]byte, error) {
	cmd := exec.Command(binary, "-test.run", "^"+name+"$", "-test.timeout", "0", "-executions", strconv.Itoa(n))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	out, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("executions: %s %d\n", name, n); err == nil && !bytes.Contains(out, []byte(want)) {
		err = errors.New("it has not run")
	}
	return out, err
}
