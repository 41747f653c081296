package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// format is the flag -o.
type format string

func (f *format) json() bool     { return *f == "json" }
func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "table|json" }
func (f *format) Set(text string) error {
	if text != "table" && text != "json" {
		return errors.New("give table or json")
	}
	*f = format(text)
	return nil
}

// write writes a value as JSON: one of several in a line of its own.
func (f *format) write(w io.Writer, v any, several bool) error {
	if several {
		return json.NewEncoder(w).Encode(v)
	}
	return writeJSON(w, v)
}

func (f *format) add(cmd *cobra.Command) {
	cmd.Flags().VarP(f, "output", "o", "how to show it")
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// printable keeps what somebody else has named from steering the terminal.
func printable(name string) string {
	if quoted := strconv.QuoteToGraphic(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// graphic is what another process says, without anything that steers the terminal.
func graphic(text string) string {
	return strings.Map(func(c rune) rune {
		if !strconv.IsGraphic(c) {
			return '?'
		}
		return c
	}, text)
}

func owner(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// base is the last part of a path.
func base(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Base(path)
}
