package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

func newSync(signals *signals) *cobra.Command {
	var c segment.Config
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Lock, unlock, signal and wait between programs",
		Long: `Sync uses the mutexes, semaphores and events that lie in a segment under a name.
They are the same that programs use with package shmsync, and they survive their
users: what a process held that was killed is given to the next.

PATH:NAME is the primitive NAME in the segment PATH; the last colon separates
them. A PATH without a slash is a segment of the private folder ($MEMLANE_DIR or
/dev/shm/memlane-UID) or of --folder; one with a slash is that file. The last
64 KiB of the segment are for who uses them and must be free. Whoever uses or
looks at a primitive writes there. A segment has room for 62 names, of which 25 can be
semaphores, and no name is removed but with the whole segment.

Of all these commands, -n is --nonblock, and -p is --permits.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&c.Folder, "folder", "", "the folder of segments that are named without a slash (default: the user's private one)")
	cmd.PersistentFlags().IntSliceVar(&c.Owners, "owner", nil, "accept the segments of this user id too; may be repeated")
	cmd.AddCommand(newSyncList(&c), newSyncLock(&c, signals), newSyncUnlock(&c),
		newSyncAcquire(&c, signals), newSyncPost(&c), newSyncWait(&c), newSyncReset(&c))
	return cmd
}

// setPath has c find the segment that PATH means, and returns its name in its
// folder.
func setPath(c *segment.Config, path string) (string, error) {
	if !strings.Contains(path, "/") {
		if path == "" {
			return "", usagef("the segment has no name: give one, or the path of its file")
		}
		return path, nil
	}
	if c.Folder != "" {
		return "", usagef("%s is a path: leave out --folder, or give the name alone", path)
	}
	folder, name := filepath.Split(path)
	if name == "" {
		return "", usagef("%s is a folder: name a segment in it", path)
	}
	c.Folder = filepath.Clean(folder)
	return name, nil
}

// target is what PATH:NAME means.
type target struct {
	config  *segment.Config
	segment string // its name in the folder
	name    string // in the segment's directory
}

func parseTarget(c *segment.Config, text string) (*target, error) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return nil, usagef("%q: give PATH:NAME, a segment and a name in it", text)
	}
	t := &target{config: c, name: text[colon+1:]}
	var err error
	if t.segment, err = setPath(c, text[:colon]); err != nil {
		return nil, err
	}
	switch {
	case t.name == "":
		return nil, usagef("%q: there is no name behind the colon", text)
	case len(t.name) > shmsync.MaxNameBytes:
		return nil, usagef("the name %s has %d bytes, and can have %d: choose a shorter one", t.name, len(t.name), shmsync.MaxNameBytes)
	}
	return t, nil
}

// String returns the target as it can be given to memlane again.
func (t *target) String() string {
	return printable(t.path() + ":" + t.name)
}

// path returns the target's segment as it can be given to memlane again.
func (t *target) path() string {
	if t.config.Folder == "" {
		return t.segment
	}
	return strings.TrimSuffix(t.config.Folder, "/") + "/" + t.segment
}

// open attaches to the target's segment.
func (t *target) open() (*segment.Segment, error) {
	s, err := segment.Attach(t.segment, t.config)
	return s, explainAttach(err)
}

// newcomer is how a segment is made that is missing.
type newcomer struct {
	size   byteSize
	stderr io.Writer // is told that it was made: a mistyped name makes one too
}

// flag gives the command the flag --size.
func (n *newcomer) flag(cmd *cobra.Command) {
	n.size = shmsync.AreaBytes
	cmd.Flags().Var(&n.size, "size", "size of the segment if it is missing and therefore made, the last 64 KiB for the locks included")
}

// openOrMake attaches to the target's segment, whatever its size. If there is none
// it makes one.
func (t *target) openOrMake(n *newcomer) (*segment.Segment, error) {
	if n.size < shmsync.AreaBytes {
		return nil, usagef("--size %d: give %d or more: the last 64 KiB of a segment are for who uses its locks", n.size, shmsync.AreaBytes)
	}
	s, err := segment.Attach(t.segment, t.config)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, explainAttach(err)
	}
	s, made, err := segment.CreateOrAttach(t.segment, int(n.size), t.config)
	if errors.Is(err, segment.ErrSize) {
		// Somebody has made it meanwhile, of another size.
		s, err = segment.Attach(t.segment, t.config)
	}
	if made {
		fmt.Fprintf(n.stderr, "memlane: made the segment %s of %d bytes, the last %d for locks (--size for another size)\n", printable(t.path()), n.size, shmsync.AreaBytes)
	}
	return s, explainAttach(err)
}

// explainAttach adds what package segment cannot know: that looking at a
// primitive is writing.
func explainAttach(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (who uses or looks at locks writes into the segment: its mode or group must let you)", err)
	}
	return err
}

// find opens the segment of a primitive that must exist, and looks at it.
func (t *target) find() (*segment.Segment, shmsync.Info, error) {
	s, err := t.open()
	if err != nil {
		return nil, shmsync.Info{}, err
	}
	info, err := t.lookup(s)
	if err != nil {
		s.Close()
		return nil, shmsync.Info{}, err
	}
	return s, info, nil
}

// lookup looks at the primitive.
func (t *target) lookup(s *segment.Segment) (shmsync.Info, error) {
	used, err := used(s)
	if err == nil && !used {
		err = fmt.Errorf("%v: no program has used locks in this segment: %w", t, fs.ErrNotExist)
	}
	if err != nil {
		return shmsync.Info{}, err
	}
	return shmsync.Lookup(s, t.name)
}

// used is shmsync.Used; of a segment that has no room for locks it is an error, as
// locking it is.
func used(s *segment.Segment) (bool, error) {
	if shmsync.Area(s.Len()) < 0 {
		return false, fmt.Errorf("%s: %w: it has %d bytes, and locks need the last %d of a segment (choose one that is larger)", printable(s.Name()), shmsync.ErrArea, s.Len(), shmsync.AreaBytes)
	}
	return shmsync.Used(s)
}

// inUse says whether a byte of the segment in a range is not zero. The range may
// reach beyond its end.
func inUse(s *segment.Segment, from, to int) (found bool, err error) {
	err = s.View(func(b []byte) error {
		to = min(to, len(b))
		found = from < to && slices.ContainsFunc(b[from:to], func(c byte) bool { return c != 0 })
		return nil
	})
	return found, err
}

// kindOf returns what a name is the name of.
func kindOf(info shmsync.Info) string {
	switch {
	case info.Mutex != nil:
		return "mutex"
	case info.Semaphore != nil:
		return "semaphore"
	}
	return info.EventKind.String() + " event"
}

// wrongKind says that a command is not for what has the name.
func wrongKind(t *target, info shmsync.Info, fix string) error {
	return fmt.Errorf("%v: %w: %s (%s)", t, shmsync.ErrKind, kindOf(info), fix)
}

// completeTargets offers segments to the shell and, behind the colon, the names
// in one.
func completeTargets(c *segment.Config) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault // of a command and its files
		}
		colon := strings.LastIndexByte(begun, ':')
		if colon < 0 {
			segments, _ := completeSegments(c)(cmd, args, begun)
			for i := range segments {
				segments[i] += ":"
			}
			return segments, cobra.ShellCompDirectiveNoSpace
		}
		name, err := setPath(c, begun[:colon])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s, err := segment.Attach(name, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer s.Close()
		list, _ := names(s)
		var targets []string
		for _, p := range list {
			targets = append(targets, begun[:colon+1]+p.Name)
		}
		return targets, cobra.ShellCompDirectiveNoFileComp
	}
}

// patience is the flag --timeout: a duration, or a number of seconds.
type patience struct {
	limit time.Duration
	set   bool // or there is no limit
}

func (p *patience) Type() string { return "duration" }
func (p *patience) String() string {
	if !p.set {
		return ""
	}
	return p.limit.String()
}

func (p *patience) Set(text string) error {
	d, err := time.ParseDuration(text)
	if seconds, numberErr := strconv.ParseFloat(text, 64); numberErr == nil && seconds < 1e9 {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d < 0 {
		return errors.New("give a time such as 500ms, 2s or 1m30s, or seconds")
	}
	p.limit, p.set = d, true
	return nil
}

// context returns a context that ends when patience does.
func (p *patience) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if !p.set {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, p.limit, notInTime(p.limit))
}

// attempt is how long a command waits for what it wants.
type attempt struct {
	nonblock bool
	timeout  patience
}

func (a *attempt) flags(cmd *cobra.Command) {
	cmd.Flags().Var(&a.timeout, "timeout", "wait no longer than this; 0 is --nonblock")
	cmd.Flags().BoolVarP(&a.nonblock, "nonblock", "n", false, "do not wait")
	cmd.MarkFlagsMutuallyExclusive("timeout", "nonblock")
}

// try calls the one of the two functions that --nonblock asks for. ctx is that of
// timeout, which is of all that the command does before.
func (a *attempt) try(ctx context.Context, atOnce func() error, wait func(context.Context) error) error {
	if a.nonblock {
		return atOnce()
	}
	return wait(ctx)
}

// notInTime is why a wait ended that --timeout has ended. Like an attempt with
// --nonblock, it has found the primitive taken.
type notInTime time.Duration

func (n notInTime) Error() string { return "not within " + time.Duration(n).String() }

func (n notInTime) Is(target error) bool { return target == shmsync.ErrBusy }
