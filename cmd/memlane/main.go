// Memlane is the command-line tool of memlane: shared memory between the
// programs of one machine.
//
// It ends with one of these codes:
//
//	0    done
//	1    failed; the message says at what, and what to do
//	2    used wrongly: a flag or argument that does not exist or makes no sense
//	3    not there: the file, or who should have made it
//	4    there already: the name is taken
//	5    the memory went away while it was used: its file was cut short
//	6    somebody else has it: not free at once, or not within --timeout
//	130  interrupted by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP, 141 by a closed pipe
//
// What runs until it is told to end, server --hold, client --follow, sync lock
// without a command, sub, logs, record, replay --loop, hz, bw, top and --watch, ends with 0 then. sync lock with a command,
// and sync acquire, end with the command's code.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

const exitCodes = `Exit codes:
  0    done
  1    failed; the message says at what, and what to do
  2    used wrongly: a flag or argument that does not exist or makes no sense
  3    not there: the file, or who should have made it
  4    there already: the name is taken
  5    the memory went away while it was used: its file was cut short
  6    somebody else has it: not free at once, or not within --timeout
  130  interrupted by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP, 141 by a closed pipe
What runs until it is told to end, server --hold, client --follow, sync lock
without a command, sub, logs, record, replay --loop, metrics, hz, bw, top and --watch, ends with 0. sync lock with a command,
and sync acquire, end with its code.
`

func main() { os.Exit(run()) }

func run() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := handleSignals(func(sig os.Signal) {
		cancel(interrupted{sig.(syscall.Signal)})
		// The second one finds the default action: whoever insists is obeyed.
		signal.Reset()
	})

	// A closed pipe behind us is an error of the write, so that what is running
	// can clean up, not a signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	root := newRoot(signals)
	out := &output{file: os.Stdout}
	root.SetOut(out)
	// Cobra's own commands too are to fail as ours do.
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("memlane")
	var running bool // false: what went wrong was said on the command line
	for _, cmd := range allCommands(root) {
		if cmd.Args != nil {
			cmd.Args = countArguments(cmd.Args)
		}
		if inner := cmd.RunE; inner != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				running = true
				return inner(cmd, args)
			}
		}
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var signaled interrupted
	if errors.As(err, &signaled) || (errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &signaled)) {
		return 128 + int(signaled.signal)
	}
	if out.closed {
		return 128 + int(syscall.SIGPIPE)
	}
	var status commandStatus
	if errors.As(err, &status) {
		return int(status) // it has said itself what there was to say
	}
	fmt.Fprintln(os.Stderr, "memlane:", strings.TrimPrefix(message(err), "memlane: "))
	var usage usageError
	var unstarted *notStarted
	switch {
	case !running || errors.As(err, &usage) || errors.Is(err, memlane.ErrName):
		fmt.Fprintf(os.Stderr, "Usage: %s\nSee %s --help.\n", cmd.UseLine(), cmd.CommandPath())
		return 2
	case errors.As(err, &unstarted):
		return unstarted.code()
	case errors.Is(err, mmap.ErrFault):
		return 5
	case errors.Is(err, fs.ErrExist):
		return 4
	case errors.Is(err, fs.ErrNotExist):
		return 3
	case errors.Is(err, shmsync.ErrBusy):
		return 6
	}
	return 1
}

// output is standard output, and remembers that nobody reads it any more.
type output struct {
	file   *os.File
	closed bool
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	o.closed = o.closed || errors.Is(err, syscall.EPIPE)
	return n, err
}

// interrupted is why the context ended, if a signal ended it.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// usageError marks an error as one of the command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func allCommands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		all = append(all, allCommands(sub)...)
	}
	return all
}

// version is that of the module, and of the commit, as far as the build knows.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(text, s.Value[:min(12, len(s.Value))]) {
			text += " " + s.Value
		}
	}
	return text
}

// suggest says which command was meant by one that does not exist.
func suggest(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
		text += ": do you mean " + strings.Join(meant, ", or ") + "?"
	}
	return errors.New(text)
}

func newRoot(signals *signals) *cobra.Command {
	root := &cobra.Command{
		Use:   "memlane",
		Short: "Shared memory between the programs of one machine",
		Long: `Memlane maps the same memory into several programs: what one writes, the others
read, with no copy through the kernel.

Begin with "memlane demo". The simplest use is "memlane server", then
"memlane client"; "memlane sub" and "memlane pub" exchange messages.

` + exitCodes,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		Args:          suggest,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newServer(), newClient(), newSegment(), newSync(signals), newPub(), newSub(), newLogs(), newRecord(), newReplay(), newCat(), newList(), newProcesses(), newClean(), newDoctor(), newMetrics(), newStat(), newHz(), newBw(), newLag(), newInfo(), newTop(), newDemo(), newDemoPeer())
	root.AddCommand(newBench(), newBenchWorker())
	return root
}
