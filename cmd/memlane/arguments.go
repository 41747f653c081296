package main

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// countArguments has the command say how many arguments it takes in words, as it
// does say what else is wrong with them.
func countArguments(inner cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := inner(cmd, args)
		if err != nil && strings.HasPrefix(err.Error(), "unknown command") && cmd.HasParent() && !cmd.HasSubCommands() {
			return fmt.Errorf("%s: it takes no arguments: %q", cmd.CommandPath(), args)
		}
		if err == nil || !strings.Contains(err.Error(), "arg(s)") {
			return err
		}
		// Cobra: "accepts 1 arg(s), received 2".
		if len(args) == 0 {
			return fmt.Errorf("%s: an argument is missing", cmd.CommandPath())
		}
		return fmt.Errorf("%s: wrong number of arguments: %q", cmd.CommandPath(), args)
	}
}

// createArguments is for segment create, whose size is not an argument, though it
// is often given as one.
func createArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		if _, err := humanize.ParseBytes(args[1]); err == nil {
			return fmt.Errorf("unexpected %q: give the size with --size %s", args[1], args[1])
		}
	}
	return cobra.ExactArgs(1)(cmd, args)
}
