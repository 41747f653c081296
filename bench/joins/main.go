// Joins measures what it costs to take part in a domain, by how many others do and by
// how many topics they have in common: time, descriptors, mappings, memory and
// goroutines. Participants are spread over processes, several to each: what they cost
// each other is the same.
//
// A run prints tables in Markdown. It exits with 0 whatever the figures are, because it
// is a measurement and not a test; with 1 if something failed, with 2 if used wrongly.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/memlane/memlane/bench/internal/machine"
)

// A bench is one run.
type bench struct {
	folder string // below which each measurement has one of its own
	counts []int  // of participants, or of topics
	repeat int    // measurements of which the median counts
}

// parts are what can be measured.
var parts = []struct {
	name    string
	measure func(b *bench) error
}{
	{"strangers", (*bench).strangers},
	{"common", (*bench).common},
	{"topics", (*bench).topics},
	{"stopped", (*bench).stopped},
	{"at-once", (*bench).atOnce},
	{"dead", (*bench).dead},
	{"died", (*bench).died},
	{"mesh", (*bench).mesh},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := work(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "worker %q: %v\n", os.Args[2:], err)
			os.Exit(1)
		}
		return
	}
	// Processes are told to end with the thread that started them: this one.
	runtime.LockOSThread()
	b := &bench{counts: []int{0, 10, 100, 1000}, repeat: 15}
	only := flag.String("only", "", "`regexp`: measure only these of "+names())
	quick := flag.Bool("quick", false, "measure a tenth of it, once; the figures are rough")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if flag.NArg() > 0 || err != nil {
		fmt.Fprintln(os.Stderr, "joins: takes no arguments, and -only a regular expression; see -help")
		os.Exit(2)
	}
	if *quick {
		b.counts, b.repeat = []int{0, 10, 100}, 3
	}
	if err := b.run(which); err != nil {
		fmt.Fprintln(os.Stderr, "joins:", err)
		os.Exit(1)
	}
}

func names() string {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

// run measures, and leaves nothing behind.
func (b *bench) run(which *regexp.Regexp) (err error) {
	if b.folder, err = os.MkdirTemp("/dev/shm", "memlane-bench-joins-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	m := machine.This()
	fmt.Printf("%v, load %s, %s\n", m, m.Load, time.Now().UTC().Format(time.DateOnly))
	for _, p := range parts {
		if !which.MatchString(p.name) {
			continue
		}
		if err := p.measure(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}
