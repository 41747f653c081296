// Explore walks by lot through what is too large to be explored whole: the tests
// TestExploreWalks of the packages that package explore explores, with other walks each
// time, and as many as it is told.
//
// It exits with 0 if nothing was found; with 1 if something was, or something else failed;
// with 2 if used wrongly; with 130 if interrupted. What was found until then is in the
// record of campaigns in any case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/memlane/memlane/test/prove"
)

// packages are those with walks.
var packages = []string{"shmsync", "internal/ring"}

const description = `Orders of steps, kills and ends of waits for no reason that were drawn by lot, each to its end, in configurations that are
too large for the explorer: what is checked is the same. Run ` + "`make prove-explore`" + ` to add to this table;
` + "`ARGS='-walks 1000000'`" + ` for more. How long a process goes on before another's turn comes, and how rare kills are, is drawn
for each walk; all follows from the seed and the number of the walk, so that ` + "`ARGS='-seed'`" + ` repeats a run. *Late* are walks
in which only the backstop of package wait could wake somebody. *Broken* must be 0.`

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "seed"},
	{Name: "structure", Key: true}, {Name: "configuration", Key: true},
	{Name: "walks", Sum: true}, {Name: "steps", Sum: true}, {Name: "late", Sum: true}, {Name: "broken", Sum: true},
}

func main() {
	walks := flag.Int("walks", 10_000, "go `so many` walks of each configuration")
	seed := flag.Uint64("seed", 0, "`number` that all walks follow from; 0 draws one")
	file := flag.String("file", "docs/PROOF.md", "Markdown `file` to add the figures to; empty: none")
	flag.Parse()
	if flag.NArg() > 0 || *walks < 1 {
		fmt.Fprintln(os.Stderr, "explore: takes no arguments, and one walk at least; see -help")
		os.Exit(2)
	}
	c := campaign{seed: prove.Seed(*seed), walks: *walks, file: *file, started: time.Now().UTC().Format(time.DateTime), commit: prove.Commit()}
	fmt.Printf("seed %d\n", c.seed)
	if status := prove.Run("explore", c.run); status != 0 {
		os.Exit(status)
	}
	fmt.Println("nothing was found")
}

// roundWalks is how many walks of each configuration are gone before the rows are
// written: some seconds' worth.
const roundWalks = 5000

// campaign is one run.
type campaign struct {
	seed            uint64
	walks           int
	file            string
	started, commit string
	rows            []*row
}

// row is what has come of a configuration.
type row struct {
	structure, configuration   string
	walks, steps, late, broken int
}

func (c *campaign) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "memlane-explore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, pkg := range packages {
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-tags", "explore", "-o", binary(dir, pkg), "./"+pkg)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build the tests of %s: %w", pkg, err)
		}
	}
	for first := 0; first < c.walks && err == nil; first += roundWalks {
		for _, pkg := range packages {
			err = errors.Join(err, c.round(ctx, binary(dir, pkg), first, min(roundWalks, c.walks-first)))
		}
		err = errors.Join(err, c.record())
	}
	for _, r := range c.rows {
		fmt.Printf("%s, %s: %d walks, %d steps, %d late, %d broken\n", r.structure, r.configuration, r.walks, r.steps, r.late, r.broken)
	}
	return err
}

func binary(dir, pkg string) string { return filepath.Join(dir, filepath.Base(pkg)+".test") }

// round goes some walks of all configurations of a package.
func (c *campaign) round(ctx context.Context, binary string, first, walks int) error {
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^TestExploreWalks$", "-test.timeout", "0",
		"-walks", strconv.Itoa(walks), "-first", strconv.Itoa(first), "-seed", strconv.FormatUint(c.seed, 10))
	cmd.Env = append(os.Environ(), "GOGC=400")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", filepath.Base(binary), err, out)
	}
	known := false
	for line := range strings.Lines(string(out)) {
		words := strings.Split(strings.TrimSpace(line), "\t")
		if words[0] != "walked" || len(words) != 7 {
			continue
		}
		known = true
		r := c.row(words[1], words[2])
		for i, n := range []*int{&r.walks, &r.steps, &r.late, &r.broken} {
			v, wrong := strconv.Atoi(words[3+i])
			if wrong != nil {
				return errors.Join(err, fmt.Errorf("read %q: %w", line, wrong))
			}
			*n += v
		}
	}
	if !known && err == nil {
		err = fmt.Errorf("%s: it has not walked", filepath.Base(binary))
	}
	return err
}

// row returns the row of a configuration.
func (c *campaign) row(structure, configuration string) *row {
	for _, r := range c.rows {
		if r.structure == structure && r.configuration == configuration {
			return r
		}
	}
	c.rows = append(c.rows, &row{structure: structure, configuration: configuration})
	return c.rows[len(c.rows)-1]
}

// record writes the rows into the record of campaigns.
func (c *campaign) record() error {
	if c.file == "" {
		return nil
	}
	var errs []error
	for _, r := range c.rows {
		cells := []string{c.started, c.commit, strconv.FormatUint(c.seed, 10), r.structure, r.configuration}
		for _, n := range []int{r.walks, r.steps, r.late, r.broken} {
			cells = append(cells, strconv.Itoa(n))
		}
		errs = append(errs, prove.Add(c.file, "walks", description, columns, cells))
	}
	return errors.Join(errs...)
}
