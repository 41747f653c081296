package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane/cmd/memlane/internal/bench"
	"github.com/memlane/memlane/segment"
	"github.com/spf13/cobra"
)

// benchFlags are what bench is told.
type benchFlags struct {
	config bench.Config
	output format
	size   string
}

// benchWords say what the tables have in their columns.
const benchWords = `The transports:

  floor-line       a number in one cache line, which the other side looks for: no
                   message between two processors is faster
  floor-two-lines  the number, and 8 bytes of content in a line of its own
  floor-copy       the number, and content that is copied in and out
  floor-futex      the number, and a system call that wakes the other side
  uds              a Unix socket, one packet a message
  uds-buffered     a Unix socket as a stream, with buffers on both sides
  memlane          a topic, with messages copied in and out; memlane-loan: written and
                   read where they are; memlane-batch: many published at once; memlane-observed: looked at by a tool

A budget is what memlane's developers have set themselves for it, as a multiple of a
floor or a number of messages; "DOES NOT HOLD" says that this run missed it. Budgets are
for a machine that does nothing else, with two processors near each other, and for runs
of the default length or longer. docs/PERFORMANCE.md has such runs, and what does not
hold in them.`

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure messages between processes, beside a socket and the floor",
		Long: `Bench starts processes, each on a processor of its own, that send each other
messages: by memlane, over a Unix socket, and through bare shared memory, which is
the floor. All take turns within one run, and what counts is the ratio. The floors
are compiled with gcc where there is one.

` + benchWords + `

Figures of a machine that does something else meanwhile are of little use: the load
average is printed at the beginning and at the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []struct {
		part, short string
		flags       []string
		set         time.Duration
	}{
		{"latency", "Round trips of two who look for messages all the time", []string{"size"}, 200 * time.Millisecond},
		{"throughput", "Messages a second, one way", []string{"size", "batch"}, 200 * time.Millisecond},
		{"fanout", "What a message costs its publisher with many subscribers", []string{"size", "readers", "batch"}, 200 * time.Millisecond},
		{"park", "Round trips of two who sleep until there is a message; what sleeping uses", []string{"size"}, 200 * time.Millisecond},
		{"observed", "What it costs publishers that somebody looks", []string{"size"}, 3 * time.Second},
		{"compare", "Your messages to so many readers, by memlane and by sockets", []string{"size", "readers"}, 10 * time.Second},
	} {
		cmd.AddCommand(newBenchPart(c.part, c.short, c.flags, c.set))
	}
	return cmd
}

func newBenchPart(part, short string, flags []string, duration time.Duration) *cobra.Command {
	f := benchFlags{output: "table"}
	cmd := &cobra.Command{
		Use:   part,
		Short: short,
		Long:  short + ".\n\n" + benchWords,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd, part) },
	}
	if slices.Contains(flags, "size") {
		cmd.Flags().StringVar(&f.size, "size", "", "bytes of a message, such as 40 or 64KiB; at least 8 (default: those that the budgets are about)")
	}
	if slices.Contains(flags, "readers") {
		cmd.Flags().IntVar(&f.config.Readers, "readers", 0, "how many subscribers (default: those that the budgets are about)")
	}
	if slices.Contains(flags, "batch") {
		cmd.Flags().IntVar(&f.config.Batch, "batch", 0, "how many messages at once (default: those that the budgets are about)")
	}
	if part == "compare" {
		cmd.Flags().Lookup("size").DefValue, f.size = "1MiB", "1MiB"
		cmd.Flags().Lookup("readers").DefValue, f.config.Readers = "3", 3
		cmd.Flags().Lookup("size").Usage = "bytes of a message, such as 40 or 64KiB; at least 8"
		cmd.Flags().Lookup("readers").Usage = "how many subscribers"
	}
	of := "of each who is compared, in each round"
	if part == "compare" {
		of = "of all together"
	}
	cmd.Flags().DurationVar(&f.config.Duration, "duration", duration, "how long to measure: "+of)
	cmd.Flags().IntVar(&f.config.Rounds, "rounds", 5, "how often all take turns")
	f.output.add(cmd)
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command, part string) error {
	c := &f.config
	if f.size != "" {
		n, err := humanize.ParseBytes(f.size)
		if err != nil || n < 8 || n > 64<<20 {
			return usagef("--size %q: give 8 to 64MiB", f.size)
		}
		c.Size = int(n)
	}
	switch {
	case c.Readers < 0 || c.Readers > 1000:
		return usagef("--readers %d: give 1 to 1000", c.Readers)
	case part == "compare" && c.Readers > 100:
		return usagef("--readers %d: each is a process; give 1 to 100", c.Readers)
	case c.Batch < 0 || c.Batch > 1024:
		return usagef("--batch %d: give 1 to 1024", c.Batch)
	case c.Rounds < 1 || c.Rounds > 1000:
		return usagef("--rounds %d: give 1 to 1000", c.Rounds)
	case c.Duration < time.Millisecond || c.Duration > time.Hour:
		return usagef("--duration %v: give 1ms to 1h", c.Duration)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if c.Folder, err = segment.DefaultFolder(); err != nil {
		return err
	}
	c.JSON = f.output.json()
	c.Out, c.Command = cmd.OutOrStdout(), []string{self, "bench-worker"}
	// Processes are told to end with the thread that started them.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- bench.Run(cmd.Context(), part, *c)
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("bench %s: %w", part, err)
	}
	return nil
}

// newBenchWorker is how bench starts its other processes.
func newBenchWorker() *cobra.Command {
	return &cobra.Command{
		Use:    "bench-worker TASK",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(cmd *cobra.Command, args []string) error { return bench.Worker(args[0], os.Stdout) },
	}
}
