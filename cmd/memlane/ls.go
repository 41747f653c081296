package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// topicJSON is how ls -o json shows a topic.
type topicJSON struct {
	Domain      string `json:"domain"`
	Name        string `json:"topic"`
	Publishers  int    `json:"publishers"`
	Subscribers int    `json:"subscribers"`
	Stale       int    `json:"stale"`
	Unknown     int    `json:"unknown"`
}

// note says what is wrong with who takes part.
func (t *topicJSON) note() string {
	var notes []string
	if t.Stale > 0 {
		notes = append(notes, fmt.Sprintf("%d stale", t.Stale))
	}
	if t.Unknown > 0 {
		notes = append(notes, fmt.Sprintf("%d unknown", t.Unknown))
	}
	return strings.Join(notes, ", ")
}

func newList() *cobra.Command {
	var d domainFlags
	o := format("table")
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the topics of domains",
		Long: `Ls lists the topics that somebody takes part in, of all domains or of one, and
how many processes publish and subscribe. It reads the domains' folders, and talks
to nobody. Stale are those that have died and were not cleaned up behind yet, which
the next one does that opens the domain, and "memlane clean"; unknown are those of another kernel, and
those that may not be looked at.

"memlane stat" tells more of a topic, "memlane ps" who the processes are. Segments are listed by "memlane segment ls".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			domains, err := d.domains(cmd)
			if err != nil {
				return err
			}
			list := []topicJSON{}
			var unseen error // what cannot be looked at does not hide the rest
			for _, domain := range domains {
				topics, err := d.topics(domain)
				if err != nil {
					unseen = errors.Join(unseen, err)
					continue
				}
				for _, t := range topics {
					list = append(list, topicJSON(t))
				}
			}
			if len(list) == 0 && unseen != nil {
				return unseen
			}
			if o.json() {
				return errors.Join(writeJSON(cmd.OutOrStdout(), list), unseen)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "DOMAIN\tTOPIC\tPUBLISHERS\tSUBSCRIBERS\tNOTE")
			for _, t := range list {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", printable(t.Domain), printable(t.Name), t.Publishers, t.Subscribers, t.note())
			}
			return errors.Join(w.Flush(), unseen)
		},
	}
	d.addAll(cmd)
	o.add(cmd)
	return cmd
}
