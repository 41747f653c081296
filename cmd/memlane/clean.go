package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/meet"
	"github.com/spf13/cobra"
)

// leftoverJSON is how clean -o json shows what is left of somebody, or of a domain.
type leftoverJSON struct {
	Domain  string `json:"domain"`
	What    string `json:"what"` // "participant", or "folder"
	ID      string `json:"id"`   // of a participant
	Ports   string `json:"ports"`
	Removed bool   `json:"removed"`
}

func newClean() *cobra.Command {
	var d domainFlags
	var yes bool
	o := format("table")
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what processes that have died left in domains",
		Long: `Clean shows what is left in domains, or in one, of processes of this boot that have
died, and which domains nobody is in any more. With --yes it removes that. It is never
necessary: the next one does it that opens a domain. What processes of another kernel
have left stays, as it may be in use there; so does the folder of an empty domain that
is shared with other users.

It can be killed, and run beside anything else.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			domains, err := d.domains(cmd)
			if err != nil {
				return err
			}
			list := []leftoverJSON{}
			var unseen error // what cannot be looked at does not hide the rest
			for _, domain := range domains {
				left, err := d.clean(domain, yes)
				if err != nil {
					unseen = errors.Join(unseen, err)
					continue
				}
				list = append(list, left...)
			}
			if len(list) == 0 && unseen != nil {
				return unseen
			}
			if o.json() {
				return errors.Join(writeJSON(cmd.OutOrStdout(), list), unseen)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "DOMAIN\tLEFT BEHIND\tPORTS\tREMOVED")
			for _, l := range list {
				what, removed := "participant "+l.ID, "no"
				if l.What == "folder" {
					what = "folder, nobody is in it"
				}
				if l.Removed {
					removed = "yes"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable(l.Domain), what, dashed(l.Ports), removed)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if unseen != nil {
				return unseen
			}
			if len(list) > 0 && !yes {
				fmt.Fprintln(cmd.ErrOrStderr(), "memlane: nothing was removed: give --yes for that")
			}
			return nil
		},
	}
	d.addAll(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "remove it")
	o.add(cmd)
	return cmd
}

// clean returns what the dead have left in a domain, and removes it if it is to.
func (d *domainFlags) clean(domain string, yes bool) ([]leftoverJSON, error) {
	there, err := d.participants(domain)
	if err != nil {
		return nil, err
	}
	var left []leftoverJSON
	empty := true
	for _, p := range there {
		if p.State != inspect.Dead {
			empty = false
			continue
		}
		shown := shown(p)
		left = append(left, leftoverJSON{Domain: domain, What: "participant", ID: shown.ID, Ports: shown.ports()})
	}
	folder, err := memlane.DomainFolder(domain, &d.config)
	if err != nil {
		return nil, err
	}
	removed := false
	if yes {
		if removed, err = meet.Clean(folder, d.config.Owners); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		remains, err := d.participants(domain)
		if err != nil {
			return nil, err
		}
		for i := range left {
			left[i].Removed = !slices.ContainsFunc(remains, func(p inspect.Participant) bool { return shown(p).ID == left[i].ID })
		}
	}
	if st, err := os.Stat(folder); removed || empty && err == nil && st.Mode().Perm() == 0o700 {
		left = append(left, leftoverJSON{Domain: domain, What: "folder", Removed: removed})
	}
	return left, nil
}
