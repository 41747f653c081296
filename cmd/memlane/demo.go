package main

import (
	"os"

	"github.com/memlane/memlane/cmd/memlane/internal/demo"
	"github.com/memlane/memlane/segment"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newDemo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [FILE]",
		Short: "See shared memory at work, with real processes and your file",
		Long: `Demo starts a server process and three client processes and shows, in less than
20 seconds:

1. FILE, or 64 MiB of random bytes, moving from the server to the clients through
   a mapped file, checked by hash;
2. what raw mapped memory does not give: messages that are read while they are
   written are torn; guarded by a semaphore they are not, and what that costs;
3. the same transfer over a Unix socket, and what both cost;
4. messages: what a slow subscriber loses it is told, exactly; and when a subscriber
   that the publisher waits for is killed, the others lose nothing, and the publisher
   goes on within milliseconds.

It ends with 1 if anything of that is not so.

FILE may be - for standard input. Of a file over 256 MiB, or a pipe over 64 MiB,
the beginning is moved. The memory lies in the private folder ($MEMLANE_DIR or
/dev/shm/memlane-UID) and is gone when the demo ends.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			folder, err := segment.DefaultFolder()
			if err != nil {
				return err
			}
			c := demo.Config{
				Folder:   folder,
				Out:      cmd.OutOrStdout(),
				Terminal: term.IsTerminal(int(os.Stdout.Fd())),
				Command:  []string{self, "demo-peer"},
			}
			if len(args) == 1 {
				c.Input = args[0]
			}
			return demo.Run(cmd.Context(), c)
		},
	}
}

// newDemoPeer is how demo starts its other processes.
func newDemoPeer() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-peer",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return demo.Peer(os.Stdin, os.Stdout) },
	}
}
