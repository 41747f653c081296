// Package doctor finds out why shared memory is no good on a machine, or soon will not be
// any more, and says what to do (layer L9).
//
//	for _, f := range findings { fmt.Println(f.Level, f.Says, f.Fix) }
//
// It knows the pains for which people give shared memory up: no room where its files
// are, a container's small /dev/shm, what the dead have left, other users' folders, a
// publisher that waits for somebody who is stopped. What it advises is for a person to do.
package doctor

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/segment"
)

// Level is how bad something is.
type Level string

// The levels.
const (
	Good    Level = "ok"      // nothing to do
	Warning Level = "warning" // it works, and may not for long
	Bad     Level = "bad"     // something does not work
	Unknown Level = "unknown" // it could not be found out
)

// Finding is what one check has found.
type Finding struct {
	Check string // its name, a word
	Level Level  // how bad it is
	Says  string // what it is
	Why   string // what comes of it; "" if it is good
	Fix   string // a command, or what to change; "" if it is good
}

// Config says what to look at. A nil *Config is the user's own domains on this machine.
type Config struct {
	Folder string // of the domains and segments; "" for the user's private one
	Owners []int  // users whose folders are accepted besides our own
	// Root is where /proc, /sys, /etc and /dev are, "" for "/": for a look at another
	// machine's, as a container's.
	Root string
}

// Checks returns the names of all checks, in the order in which they are made.
func Checks() []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// checks are all. Each returns what it has found; nothing is good.
var checks = []struct {
	name string
	good string // what is said if nothing is found
	make func(p *patient) []Finding
}{
	{"space", "there is room where the files are", (*patient).space},
	{"shm", "/dev/shm is not a container's small one", (*patient).shm},
	{"memory", "there is memory left in the control group", (*patient).memory},
	{"removal", "nobody removes the files behind the programs' backs", (*patient).removal},
	{"pids", "/proc shows the processes of this PID namespace", (*patient).pids},
	{"descriptors", "participants have descriptors left", (*patient).descriptors},
	{"access", "the folders are this user's, or of users that are accepted", (*patient).access},
	{"segments", "all segments can be attached", (*patient).segments},
	{"python", "no Python program removes segments when it ends", (*patient).python},
	{"leftovers", "the dead have left nothing", (*patient).leftovers},
	{"foreign", "everybody is of this kernel", (*patient).foreign},
	{"stopped", "no participant is stopped", (*patient).stopped},
	{"troubles", "no two participants have dropped each other", (*patient).troubles},
	{"stalled", "no publisher waits for a subscriber, and none loses messages", (*patient).stalled},
}

// Examine makes all checks. To ask how far subscribers are it opens the domains, as the
// last of its checks: as with whoever does, what the dead have left is gone after that. An
// error means that there is nothing to look at.
func Examine(c *Config) ([]Finding, error) {
	if c == nil {
		c = &Config{}
	}
	p := &patient{config: *c, options: memlane.Config{Folder: c.Folder, Owners: c.Owners}, folder: c.Folder}
	if p.folder == "" {
		folder, err := segment.DefaultFolder()
		if err != nil {
			return nil, err
		}
		p.folder = folder
	}
	if _, err := os.Stat(p.folder); err != nil {
		return nil, fmt.Errorf("doctor: examine %s: %w", p.folder, err)
	}
	var findings []Finding
	for _, check := range checks {
		p.unseen = nil
		found := check.make(p)
		switch {
		case p.unseen != nil:
			found = append(found, Finding{Level: Unknown, Says: graphic(p.unseen.Error()), Why: "not all could be looked at",
				Fix: "what access says; or look as a user who may"})
		case len(found) == 0:
			found = []Finding{{Level: Good, Says: check.good}}
		}
		for _, f := range found {
			// Names of folders and files are others' words too.
			f.Check, f.Says, f.Fix = check.name, graphic(f.Says), graphic(f.Fix)
			findings = append(findings, f)
		}
	}
	return findings, nil
}

// patient is what is looked at.
type patient struct {
	config  Config
	options memlane.Config
	folder  string
	unseen  error // of the check that is being made; nil: it has seen all
}

// read reads a file of the machine's.
func (p *patient) read(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join(p.config.Root, path))
	return string(text), err
}
