// Models searches the models of the mutex, the semaphore, the event and the ring in
// spec/models with Spin: all states that they can come to, in each configuration of
// the table, which is in table.go. What is promised must hold in all of them, and
// each mutant must be found wrong in the way that the table says.
//
//	models [-only REGEXP] [-trail] [-file FILE]
//
// It exits with 0 if every verdict is as expected; with 1 if one is not, a search
// was not complete, or something else failed; with 2 if used wrongly; with 130 if
// interrupted. The verdicts until then are in the record of campaigns in any case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/memlane/memlane/test/prove"
)

func main() {
	only := flag.String("only", "", "`regexp` of the configurations to search, as they are printed")
	trail := flag.Bool("trail", false, "print the steps to what was found")
	dir := flag.String("models", "spec/models", "`folder` of the models")
	file := flag.String("file", "docs/PROOF.md", "Markdown `file` to put the verdicts into; \"\" for none")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "models: takes no arguments, and -only a regular expression:", err)
		os.Exit(2)
	}
	if status := prove.Run("models", func(ctx context.Context) error { return all(ctx, *dir, *file, wanted, *trail) }); status != 0 {
		os.Exit(status)
	}
}

// all searches what is wanted of the table.
func all(ctx context.Context, dir, file string, wanted *regexp.Regexp, trail bool) error {
	var wrong []string
	searched, states, commit := 0, 0, prove.Commit()
	for _, c := range table {
		if !wanted.MatchString(c.String()) {
			continue
		}
		begun := time.Now()
		r, err := c.search(ctx, dir, trail)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		line := fmt.Sprintf("%-72s %11d states %6.1fs  %s", c, r.states, time.Since(begun).Seconds(), r.verdict)
		switch {
		case err != nil:
			line += ", WRONG: " + err.Error()
		case r.verdict != c.want:
			err = errors.New("not expected")
			line += ", WRONG: want " + string(c.want)
		}
		fmt.Println(line)
		if trail {
			fmt.Print(r.trail)
		}
		searched++
		states += r.states
		if err != nil {
			wrong = append(wrong, c.String())
			continue
		}
		if file == "" {
			continue
		}
		row := []string{c.model, c.name, c.options, string(r.verdict), strconv.Itoa(r.states), commit}
		if err := prove.Add(file, "models", description, columns, row); err != nil {
			return err
		}
	}
	if searched == 0 {
		return errors.New("there is no such configuration")
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d verdicts are not as expected:\n\t%s", len(wrong), searched, strings.Join(wrong, "\n\t"))
	}
	fmt.Printf("%d configurations, %d states: all verdicts are as expected\n", searched, states)
	return nil
}
