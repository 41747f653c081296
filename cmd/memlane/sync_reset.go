package main

import (
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

func newSyncReset(c *segment.Config) *cobra.Command {
	return &cobra.Command{
		Use:   "reset PATH:NAME",
		Short: "Make an event one that is not set",
		Long: `Reset makes an event one that is not set: who waits for it from then on waits until
it is set again, with "memlane sync post". Resetting one that is not set changes
nothing. It ends with 3 if there is none of that name.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFirst(completeTargets(c)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(c, args[0])
			if err != nil {
				return err
			}
			s, info, err := t.find()
			if err != nil {
				return err
			}
			defer s.Close()
			if info.Event == nil {
				return wrongKind(t, info, "only an event can be reset; the permits of a semaphore are taken with sync wait")
			}
			event, err := shmsync.NamedEvent(cmd.Context(), s, t.name, info.EventKind)
			if err != nil {
				return err
			}
			return event.Reset()
		},
	}
}
