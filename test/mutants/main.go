// Mutants plants bugs, one at a time, and wants the tests to find each. The bugs
// are in mutants.txt: where they go, what they break, and which tests are to see
// it. Nothing in the source tree is changed: the go command is given the changed
// file in the place of the original (go help build, -overlay).
//
//	mutants [-only REGEXP] [-list FILE] [-parallel N]
//
// Tests that fail, or take too long, without the bug do not find it: they are run once
// without.
//
// It exits with 0 if every mutant was caught, with 1 if one was not, does not
// compile, or does not fit the source any more.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("mutants: ")
	only := flag.String("only", "", "`regexp` of the mutants to plant")
	list := flag.String("list", "test/mutants/mutants.txt", "`file` with the mutants")
	parallel := flag.Int("parallel", runtime.NumCPU(), "`number` of mutants at a time")
	flag.Parse()
	text, err := os.ReadFile(*list)
	if err != nil {
		log.Fatal(err)
	}
	mutants, err := parse(string(text))
	if err != nil {
		log.Fatalf("%s: %v", *list, err)
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		log.Fatal(err)
	}
	mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return !wanted.MatchString(m.name) })
	planted, caught := len(mutants), 0
	todo, done := make(chan mutant), make(chan bool)
	for range *parallel {
		go func() {
			for m := range todo {
				begun := time.Now()
				err := m.plant()
				fmt.Printf("%-50s %6.1fs  %s\n", m.name, time.Since(begun).Seconds(), result(err))
				done <- err == nil
			}
		}()
	}
	go func() {
		for _, m := range mutants {
			todo <- m
		}
	}()
	for range planted {
		if <-done {
			caught++
		}
	}
	fmt.Printf("%d of %d mutants caught\n", caught, planted)
	if caught < planted || planted == 0 {
		os.Exit(1)
	}
}

func result(err error) string {
	if err == nil {
		return "caught"
	}
	return "NOT CAUGHT: " + err.Error()
}

// mutant is a change of one file that some tests must notice.
type mutant struct {
	name     string
	file     string
	tests    []string // arguments of go test
	old, new string
}

// parse reads the list: paragraphs that begin with "mutant:" and have "file:" and
// "test:" lines, then the old text in lines that begin with "-", and the new in
// lines that begin with "+". Lines that begin with "#" are comments.
func parse(text string) (list []mutant, err error) {
	for n, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if key == "mutant" {
			list = append(list, mutant{name: value})
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("line %d is before the first mutant", n+1)
		}
		m := &list[len(list)-1]
		switch {
		case line[0] == '-':
			m.old += line[1:] + "\n"
		case line[0] == '+':
			m.new += line[1:] + "\n"
		case key == "file":
			m.file = value
		case key == "test":
			m.tests = strings.Fields(value)
		default:
			return nil, fmt.Errorf("line %d is nothing of a mutant: %q", n+1, line)
		}
	}
	for _, m := range list {
		if m.file == "" || len(m.tests) == 0 || m.old == m.new {
			return nil, fmt.Errorf("mutant %q has no file, no test or no change", m.name)
		}
	}
	return list, nil
}

// errSurvived: the tests pass with the bug in place.
var errSurvived = errors.New("the tests pass")

// fits says whether the mutant can be planted into a source.
func (m *mutant) fits(source string) error {
	if n := strings.Count(source, m.old); n != 1 {
		return fmt.Errorf("its old text is %d times in %s, and must be once", n, m.file)
	}
	return nil
}

// plant runs the mutant's tests with the bug in place; nil if they fail.
func (m *mutant) plant() error {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return err
	}
	if err := m.fits(string(source)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	planted := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(planted, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		return err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: planted}})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	out, err := test(m.tests, "-overlay="+overlayFile)
	switch {
	case err == nil:
		return errSurvived
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return fmt.Errorf("it does not compile: %s", out)
	case !bytes.Contains(out, []byte("FAIL")):
		return fmt.Errorf("go test: %w: %s", err, out)
	}
	return m.sound()
}

// tried has functions that return the results of tests without a bug, by their arguments.
var tried sync.Map

// sound returns an error if the mutant's tests fail without it too.
func (m *mutant) sound() error {
	once := sync.OnceValue(func() error {
		if out, err := test(m.tests, ""); err != nil {
			return fmt.Errorf("its tests fail without it: %w: %s", err, out)
		}
		return nil
	})
	first, _ := tried.LoadOrStore(strings.Join(m.tests, " "), once)
	return first.(func() error)()
}

// test runs go test, with flags that the go commands which the tests run have too: those of
// package test build the command. A bug may be that something hangs; what explores takes a
// minute.
func test(args []string, flags string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{"test", "-count=1", "-timeout=4m"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" "+flags))
	return cmd.CombinedOutput()
}
