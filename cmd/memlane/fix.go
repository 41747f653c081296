package main

import (
	"errors"
	"strings"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// fixes are what the packages advise to who writes a program, and what to do about
// it at the command line; "" leaves it out, as the command says it itself. A test
// keeps this table in step with the packages.
var fixes = map[string]string{
	"create it first, or look with List what there is":                                            `"memlane segment ls" shows what there is`,
	"attach to it, or choose another name":                                                        `use the one that is there, or choose another name; "memlane segment ls" shows what there is`,
	"make the folder first, or leave Config.Folder empty for the user's private one":              "make the folder first, or leave --folder out for your private one",
	"choose a folder of yours or of root's, or accept its user in Config.Owners":                  "choose a folder of yours or of root's, or accept its user with --owner",
	"remove it, choose a folder that others cannot write in, or accept its user in Config.Owners": "remove it, choose a folder that others cannot write in, or accept its user with --owner",
	"use letters, digits, dots, dashes; the folder is given apart":                                "use letters, digits, dots, dashes; give the folder with --folder",
	"its mode does not let you write: attach it for reading only":                                 "its mode does not let you write it",
	"Attach takes it with the size that it has; if that is wrong, its users must agree on one":    "its users must agree on its size",
	"restore what it guards, with Recover":                                                        "",
	"names are never removed: use another segment, or an offset in place of a name":               "names are never removed: use another segment",
	"close it in some, or use several segments":                                                   "end some of the processes that use it, or use several segments",
	"take some of its permits for good, with Wait":                                                `take some of its permits for good, with "memlane sync wait"`,
}

// message is what the error says, with the command's own words for what to do.
func message(err error) string {
	text := err.Error()
	for _, e := range tree(err) {
		fix, own, ok := ownFix(e)
		switch {
		case !ok:
		case own == "":
			text = strings.ReplaceAll(text, " ("+fix+")", "")
		default:
			text = strings.ReplaceAll(text, "("+fix+")", "("+own+")")
		}
	}
	return text
}

// tree returns the error and all that it wraps.
func tree(err error) []error {
	all := []error{err}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			all = append(all, tree(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, tree(inner)...)
		}
	}
	return all
}

// ownFix returns what a package advises about this very error, and what the command
// says in place of it; ok is false if that is the same.
func ownFix(err error) (fix, own string, ok bool) {
	switch e := err.(type) {
	case *segment.Error:
		fix = e.Fix
	case *shmsync.Error:
		fix = e.Fix
	case *meet.Error:
		own = strings.ReplaceAll(e.Fix, "in Config.Owners", "with --owner")
		return e.Fix, own, own != e.Fix
	case *pubsub.Error:
		return e.Fix, pubFix(e), strings.Contains(e.Fix, "Config.")
	}
	own, ok = fixes[fix]
	return fix, own, ok
}

// pubFix is for what package pubsub would have set in a Config, which pub does not.
func pubFix(err error) string {
	switch {
	case errors.Is(err, pubsub.ErrTooLarge):
		return "publish it in parts"
	case errors.Is(err, pubsub.ErrArenaFull):
		return `see with "memlane stat" which subscribers hold messages`
	}
	return ""
}
