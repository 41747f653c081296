// Report reads the output of go test -json on standard input and prints what a
// person needs: a line for each package, the whole output of what failed, and
// at the end everything that did not run, with the reason it gave. It exits
// with 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

func main() {
	var notRun []string
	flag.Func("not-run", "a line for the list of what did not run", func(line string) error {
		notRun = append(notRun, line)
		return nil
	})
	flag.Parse()
	output := map[string][]string{} // package and test → its lines
	var skipped []string
	failed, passed := 0, 0
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Println(in.Text()) // the go command itself could not go on
			failed++
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			if e.Action == "build-output" || (e.Test == "" && isSummary(e.Output)) {
				fmt.Print(e.Output)
			}
			output[key] = append(output[key], e.Output)
		case "pass":
			if e.Test != "" {
				passed++
			}
			delete(output, key)
		case "skip":
			if e.Test != "" {
				skipped = append(skipped, key+": "+reason(output[key]))
			}
			delete(output, key)
		case "fail", "build-fail":
			failed++
			for _, line := range output[key] {
				if e.Test != "" || !isSummary(line) {
					fmt.Print(line)
				}
			}
			delete(output, key)
			if e.Test != "" {
				break
			}
			// Of a package that was ended, as after its time, the tests that were running have no
			// result, and one of them has the stacks.
			for key, lines := range output {
				if strings.HasPrefix(key, e.Package+" ") {
					fmt.Print(strings.Join(lines, ""))
				}
			}
		}
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		failed++
	}
	slices.Sort(skipped)
	fmt.Println("\nDid not run, and why:")
	for _, s := range append(slices.Compact(skipped), notRun...) {
		fmt.Println("  " + s)
	}
	if len(skipped)+len(notRun) == 0 {
		fmt.Println("  nothing")
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", passed, failed, len(skipped))
	if failed > 0 {
		os.Exit(1)
	}
}

// isSummary recognises go test's closing line of a package.
func isSummary(line string) bool {
	return strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "?   \t")
}

// reason finds what t.Skip was given: "file_test.go:12: the reason".
func reason(lines []string) string {
	for _, line := range lines {
		if at := strings.Index(line, ".go:"); at >= 0 {
			if _, why, ok := strings.Cut(line[at+4:], ": "); ok {
				return strings.TrimSpace(why)
			}
		}
	}
	return "no reason given"
}
