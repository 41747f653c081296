package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// A verdict is what a search has found.
type verdict string

const (
	// holds: nothing, in any state.
	holds verdict = "holds"
	// broken: an assertion that fails.
	broken verdict = "broken"
	// stuck: a state in which somebody waits, and nothing can happen any more.
	stuck verdict = "stuck"
	// endless: somebody who goes on for ever and does not come to an end, although
	// everybody who can make a step makes one some time.
	endless verdict = "endless"
)

// A configuration is a model with what it is told.
type configuration struct {
	model   string // its file, without .pml
	name    string // what is searched
	options string // what is defined, as NAME or NAME=VALUE
	want    verdict
}

func (c configuration) String() string { return c.model + ": " + c.name }

// liveness says whether the search is for cycles too.
func (c configuration) liveness() bool { return strings.Contains(" "+c.options+" ", " LIVENESS ") }

// result is what a search comes to.
type result struct {
	verdict verdict
	states  int
	trail   string // the steps to what was found, if asked for
}

const (
	// memoryMiB and depth bound a search, which is not complete if it needs more.
	memoryMiB = 3500
	depth     = 5_000_000

	// hashBits is the size of Spin's table of states; it can hold more than 1<<hashBits.
	hashBits = 24
)

// search has Spin make the program that searches the model, and runs it, in a folder
// of its own: Spin writes where it stands.
func (c configuration) search(ctx context.Context, dir string, trail bool) (r result, err error) {
	folder, err := os.MkdirTemp("", "models")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := os.CopyFS(folder, os.DirFS(dir)); err != nil {
		return r, err
	}
	var defines []string
	for _, option := range strings.Fields(c.options) {
		defines = append(defines, "-D"+option)
	}
	source := c.model + ".pml"
	if out, err := run(ctx, folder, "spin", append(defines, "-a", source)...); err != nil {
		return r, fmt.Errorf("spin: %w: %s", err, out)
	}
	// Without partial order reduction, which saves nothing here, and so need not be
	// believed in.
	compile := []string{"-O2", "-w", "-DNOREDUCE", "-DCOLLAPSE", "-DVECTORSZ=512", fmt.Sprintf("-DMEMLIM=%d", memoryMiB), "-o", "pan", "pan.c"}
	search := []string{"-n", fmt.Sprintf("-m%d", depth), fmt.Sprintf("-w%d", hashBits)}
	if c.liveness() {
		search = append(search, "-a", "-f") // acceptance cycles, of fair runs
	} else {
		compile = append(compile, "-DSAFETY")
	}
	if out, err := run(ctx, folder, "gcc", compile...); err != nil {
		return r, fmt.Errorf("gcc: %w: %s", err, out)
	}
	out, err := run(ctx, folder, "./pan", search...)
	if r, err = judge(string(out), err); err != nil {
		return r, err
	}
	if trail && r.verdict != holds {
		steps, err := run(ctx, folder, "spin", append(defines, "-t", "-p", source)...)
		if r.trail = string(steps); err != nil {
			return r, fmt.Errorf("spin -t: %w: %s", err, steps)
		}
	}
	return r, nil
}

// run runs a program and returns all that it writes.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

var (
	errorsLine = regexp.MustCompile(`(?m)^State-vector .* errors: (\d+)$`)
	statesLine = regexp.MustCompile(`(?m)^ *([0-9.e+]+) states, stored`)
	// found are the words of Spin for what it finds.
	found = map[string]verdict{
		"assertion violated": broken,
		"invalid end state":  stuck,
		"acceptance cycle":   endless,
	}
	// partly are its words for a search that has left out something.
	partly = []string{"max search depth too small", "out of memory", "reached -DMEMLIM bound", "Search not completed", "aborting"}
)

// judge reads what a search has written; failure is how its program ended.
func judge(out string, failure error) (r result, err error) {
	count := errorsLine.FindStringSubmatch(out)
	stored := statesLine.FindStringSubmatch(out)
	if failure == nil && (count == nil || stored == nil) {
		failure = errors.New("it says no result")
	}
	if failure != nil {
		return r, fmt.Errorf("the search failed: %w: %s", failure, out)
	}
	states, err := strconv.ParseFloat(stored[1], 64)
	if err != nil {
		return r, err
	}
	r.states, r.verdict = int(states), holds
	if count[1] != "0" {
		// A search ends with the first error, and then it is not complete.
		for words, v := range found {
			if strings.Contains(out, "\npan:1: "+words) || strings.HasPrefix(out, "pan:1: "+words) {
				r.verdict = v
				return r, nil
			}
		}
		return r, fmt.Errorf("it has found something that this program does not know: %s", out)
	}
	for _, words := range partly {
		if strings.Contains(out, words) {
			return r, fmt.Errorf("the search is not complete: %s: %s", words, out)
		}
	}
	return r, nil
}
