package main

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/memlane/memlane/cmd/memlane/internal/top"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newTop() *cobra.Command {
	var d domainFlags
	var count int
	o := format("table")
	interval := patience{time.Second, true}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show live what the topics and processes of a domain do",
		Long: `Top shows on the terminal, until q or Ctrl-C, what is published to each topic of the domain,
and of the one that is selected, its subscribers, the slowest first; ? shows the keys. It
looks at the memory of all processes, which know nothing of it and do not wait for it.

With -o json it prints what it would show, one object a line for each interval.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval.limit <= 0 {
				return usagef("--interval %v: give a time such as 1s", interval.limit)
			}
			if count < 1 && cmd.Flags().Changed("count") {
				return usagef("--count %d: give a number of intervals from 1 on", count)
			}
			l := d.looker(nil, true)
			defer l.Close()
			camera := &top.Camera{Looker: l}
			if !o.json() {
				if cmd.Flags().Changed("count") {
					return usagef("--count is for -o json")
				}
				if !term.IsTerminal(int(os.Stdout.Fd())) || !term.IsTerminal(int(os.Stdin.Fd())) {
					return errors.New("top: it needs a terminal (elsewhere, use top -o json, or stat --watch 1s)")
				}
				return top.Run(cmd.Context(), camera.Take, interval.limit)
			}
			for n := 0; ; n++ {
				f, err := camera.Take()
				if err != nil {
					return err
				}
				if n > 0 { // there is a before
					if err := json.NewEncoder(cmd.OutOrStdout()).Encode(f); err != nil {
						return err
					}
				}
				if count > 0 && n == count {
					return nil
				}
				select {
				case <-time.After(interval.limit):
				case <-cmd.Context().Done():
					return nil // how it ends
				}
			}
		},
	}
	d.add(cmd)
	o.add(cmd)
	cmd.Flags().Var(&interval, "interval", "from one look to the next")
	cmd.Flags().IntVar(&count, "count", 0, "with -o json: end after so many")
	return cmd
}
