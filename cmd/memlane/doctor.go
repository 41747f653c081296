package main

import (
	"fmt"
	"io"

	"github.com/memlane/memlane/doctor"
	"github.com/spf13/cobra"
)

// findingJSON is how doctor -o json shows a finding.
type findingJSON struct {
	Check string `json:"check"`
	Level string `json:"level"`
	Says  string `json:"says"`
	Why   string `json:"why"`
	Fix   string `json:"fix"`
}

func newDoctor() *cobra.Command {
	var c doctor.Config
	o := format("table")
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong, or soon will be, and what to do about it",
		Long: `Doctor looks at what shared memory suffers from: no room where the files are, a
container's small /dev/shm or memory limit, files that are removed behind the
programs' backs, folders of other users, what the dead have left, processes that are
stopped or run out of descriptors, publishers that wait for a subscriber, and
subscribers that lose messages. It says of each what comes of it, and a command or a
setting that helps. It changes nothing, but that, as with whoever opens a domain, what
the dead have left there is gone after that.

It ends with 1 if something is bad.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := doctor.Examine(&c)
			if err != nil {
				return err
			}
			bad := 0
			list := []findingJSON{}
			for _, f := range findings {
				list = append(list, findingJSON{f.Check, string(f.Level), f.Says, f.Why, f.Fix})
				if f.Level == doctor.Bad {
					bad++
				}
			}
			if o.json() {
				err = writeJSON(cmd.OutOrStdout(), list)
			} else {
				err = showFindings(cmd.OutOrStdout(), list)
			}
			if err == nil && bad > 0 {
				err = fmt.Errorf("doctor: %d findings are bad", bad)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&c.Folder, "folder", "", "the folder of the domains and segments (default: the user's private one)")
	cmd.Flags().IntSliceVar(&c.Owners, "owner", nil, "accept what belongs to this user id too; may be repeated")
	o.add(cmd)
	return cmd
}

func showFindings(w io.Writer, list []findingJSON) error {
	for _, f := range list {
		if _, err := fmt.Fprintf(w, "%-8s %-12s %s\n", f.Level, f.Check, f.Says); err != nil {
			return err
		}
		if f.Fix == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%21s %s\n%21s fix: %s\n", "", f.Why, "", f.Fix); err != nil {
			return err
		}
	}
	return nil
}
