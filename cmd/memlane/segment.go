package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/spf13/cobra"
)

func newSegment() *cobra.Command {
	var c segment.Config
	cmd := &cobra.Command{
		Use:   "segment",
		Short: "Make, look at and remove named shared memory",
		Long: `Segments are named shared memory: files in a folder, by default in one that is
private to the user ($MEMLANE_DIR or /dev/shm/memlane-UID). With --folder
/dev/shm they are those of C's shm_open and Python's SharedMemory.

A segment is created whole: with its memory reserved and its content in place
before its name appears. Symbolic links, FIFOs and other users' files are
refused.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&c.Folder, "folder", "", "the folder of the segments (default: the user's private one)")
	cmd.PersistentFlags().IntSliceVar(&c.Owners, "owner", nil, "accept the segments of this user id too; may be repeated")
	cmd.AddCommand(newSegmentCreate(&c), newSegmentList(&c), newSegmentInfo(&c), newSegmentWrite(&c), newSegmentRead(&c),
		newSegmentDump(&c), newSegmentSync(&c), newSegmentRemove(&c))
	return cmd
}

// completeSegments offers the names of segments to the shell.
func completeSegments(c *segment.Config) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for info, err := range segment.List(c) {
			if err == nil && info.Refused == nil && !slices.Contains(args, info.Name) {
				names = append(names, info.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func newSegmentCreate(c *segment.Config) *cobra.Command {
	var from, mode string
	var size byteSize
	var huge bool
	cmd := &cobra.Command{
		Use:   "create NAME --size N | --from FILE",
		Short: "Make a segment",
		Long: `Create makes a segment of zeros, or with the content of a file, which must not be
larger than --size if that is given; the rest is zeros then. If the name is
taken, it ends with code 4 and changes nothing.`,
		Args: createArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			bits, err := strconv.ParseUint(mode, 8, 32)
			if err != nil || bits > 0o777 || bits == 0 {
				return usagef("--mode %s: give permissions in octal, such as 0600", mode)
			}
			c.Mode = fs.FileMode(bits)
			if from != "" {
				limit := int64(-1)
				if cmd.Flags().Changed("size") {
					limit = int64(size)
				}
				content, err := readInput(cmd.Context(), from, limit, "use more --size, or leave it out")
				if err != nil {
					return err
				}
				if size == 0 {
					size = byteSize(len(content))
				}
				c.Fill = func(b []byte) error { copy(b, content); return nil }
			} else if !cmd.Flags().Changed("size") {
				return usagef("give --size, or --from a file whose content it shall have")
			}
			if huge {
				c.HugePages = mmap.HugeTransparent
			}
			s, err := segment.Create(args[0], int(size), c)
			if err != nil {
				return err
			}
			if _, why := s.HugePages(); why != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "memlane: ordinary pages:", why)
			}
			return s.Close()
		},
	}
	cmd.Flags().Var(&size, "size", "size of the memory; 64KiB, 1MiB and the like work too")
	cmd.Flags().StringVar(&from, "from", "", "fill it with this file, - for standard input")
	cmd.Flags().StringVar(&mode, "mode", "0600", "permissions, in octal; the umask does not apply")
	cmd.Flags().StringVar(&c.Group, "group", "", "the group that it belongs to")
	cmd.Flags().BoolVar(&huge, "huge", false, "use huge pages where the folder's file system has them")
	cmd.Flags().BoolVar(&c.Prefault, "prefault", false, "touch all of it at once")
	return cmd
}

// segmentJSON is how -o json shows a segment.
type segmentJSON struct {
	Name     string     `json:"name"`
	Path     string     `json:"path"`
	Size     int64      `json:"size_bytes"`
	InUse    int64      `json:"in_use_bytes"`
	Mode     string     `json:"mode"`
	UID      int        `json:"uid"`
	GID      int        `json:"gid"`
	Created  *time.Time `json:"created,omitempty"`
	Modified time.Time  `json:"modified"`
	Users    []userJSON `json:"users"`
	Hidden   int        `json:"processes_not_readable"`
	Unknown  bool       `json:"users_unknown,omitempty"` // /proc does not show other users' processes at all
	Refused  string     `json:"refused,omitempty"`
}

type userJSON struct {
	PID      int    `json:"pid"`
	Command  string `json:"command"`
	Writable bool   `json:"writable"`
}

func toJSON(info segment.Info) segmentJSON {
	j := segmentJSON{
		Name: info.Name, Path: info.Path, Size: info.Size, InUse: info.InUse, Mode: fmt.Sprintf("%#o", info.Mode.Perm()),
		UID: info.UID, GID: info.GID, Modified: info.Modified, Users: []userJSON{}, Hidden: info.Hidden, Unknown: info.Unknown,
	}
	if !info.Created.IsZero() {
		j.Created = &info.Created
	}
	for _, u := range info.Users {
		j.Users = append(j.Users, userJSON(u))
	}
	if info.Refused != nil {
		j.Refused = message(info.Refused)
	}
	return j
}

func newSegmentList(c *segment.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the segments of the folder",
		Args:    cobra.NoArgs,
	}
	o := format("table")
	o.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		infos := []segmentJSON{}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tSIZE\tIN USE\tMODE\tOWNER\tUSERS\tMODIFIED\tNOTE")
		for info, err := range segment.List(c) {
			if err != nil {
				return err
			}
			infos = append(infos, toJSON(info))
			note := ""
			if info.Refused != nil {
				note = message(info.Refused)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", printable(info.Name), humanize.IBytes(uint64(info.Size)), humanize.IBytes(uint64(info.InUse)),
				info.Mode, owner(info.UID), len(info.Users), info.Modified.Format(time.DateTime), note)
		}
		if o.json() {
			return writeJSON(cmd.OutOrStdout(), infos)
		}
		return w.Flush()
	}
	return cmd
}

func newSegmentInfo(c *segment.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "info NAME",
		Short:             "Show what is known about a segment, and who has it mapped",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSegments(c),
	}
	o := format("table")
	o.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		info, err := segment.Stat(args[0], c)
		if err != nil {
			return err
		}
		if o.json() {
			return writeJSON(cmd.OutOrStdout(), toJSON(info))
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		row := func(what, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", what, fmt.Sprintf(format, args...)) }
		row("Path", "%s", printable(info.Path))
		row("Size", "%d bytes (%s)", info.Size, humanize.IBytes(uint64(info.Size)))
		row("In use", "%d bytes (%s)", info.InUse, humanize.IBytes(uint64(info.InUse)))
		row("Mode", "%v", info.Mode)
		row("Owner", "%s, group %d", owner(info.UID), info.GID)
		if !info.Created.IsZero() {
			row("Created", "%s", info.Created.Format(time.RFC3339Nano))
		}
		row("Modified", "%s", info.Modified.Format(time.RFC3339Nano))
		if info.Refused != nil {
			row("Refused", "%v", info.Refused)
		}
		row("Mapped by", "%d processes", len(info.Users))
		for _, u := range info.Users {
			access := "for reading"
			if u.Writable {
				access = "for writing"
			}
			row("", "%d %s, %s", u.PID, printable(u.Command), access)
		}
		if info.Unknown {
			row("", "and processes that /proc does not show (hidepid)")
		}
		if info.Hidden > 0 {
			row("", "%d processes of other users may not be looked at", info.Hidden)
		}
		return w.Flush()
	}
	return cmd
}

// span is a range of a segment, as the flags say.
type span struct{ at, length int64 }

func (r *span) flags(cmd *cobra.Command, length string) {
	cmd.Flags().Int64Var(&r.at, "at", 0, "offset in bytes")
	if length != "" {
		cmd.Flags().Int64Var(&r.length, "length", -1, length)
	}
}

// of checks the range against a segment, and gives an open length its end.
func (r *span) of(s *segment.Segment) (at, length int, err error) {
	size := int64(s.Len())
	n := r.length
	if n < 0 {
		n = size - r.at
	}
	if r.at < 0 || r.at > size || n > size-r.at || n < 0 {
		return 0, 0, usagef("%d bytes from offset %d are not inside the segment, which has %d", n, r.at, size)
	}
	return int(r.at), int(n), nil
}

func newSegmentWrite(c *segment.Config) *cobra.Command {
	var r span
	var from string
	cmd := &cobra.Command{
		Use:   "write NAME [TEXT] [--at OFFSET]",
		Short: "Store a text, a file or standard input into a segment",
		Long: `Write stores TEXT, or the content of --from, at an offset. What does not fit is
not stored at all. Bytes around it stay as they are, and no zero byte is added.
Who reads at the same time may see a part of it.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeSegments(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 2) == (from != "") {
				return usagef("give either a text or --from")
			}
			s, err := segment.Attach(args[0], c)
			if err != nil {
				return err
			}
			defer s.Close()
			at, room, err := r.of(s)
			if err != nil {
				return err
			}
			content := []byte(nil)
			if from != "" {
				if content, err = readInput(cmd.Context(), from, int64(room), "there is no more room from that offset"); err != nil {
					return err
				}
			} else {
				content = []byte(args[1])
			}
			if len(content) > room {
				return usagef("%d bytes do not fit: from offset %d there are %d", len(content), at, room)
			}
			_, err = s.WriteAt(content, int64(at))
			return err
		},
	}
	r.length = -1
	r.flags(cmd, "")
	cmd.Flags().StringVar(&from, "from", "", "store this file, - for standard input")
	return cmd
}

func newSegmentRead(c *segment.Config) *cobra.Command {
	var r span
	cmd := &cobra.Command{
		Use:               "read NAME [--at OFFSET] [--length N]",
		Short:             "Print the bytes of a segment as they are",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSegments(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			return readSegment(cmd.Context(), c, args[0], &r, cmd.OutOrStdout())
		},
	}
	r.flags(cmd, "how many bytes (default: to the end)")
	return cmd
}

// readSegment copies a range of a segment to w. It goes through a buffer, so that
// a file that is cut short meanwhile is a fault of ReadAt, which says so, and not
// an unexplained failure of w.
func readSegment(ctx context.Context, c *segment.Config, name string, r *span, w io.Writer) error {
	c.ReadOnly = true
	s, err := segment.Attach(name, c)
	if err != nil {
		return err
	}
	defer s.Close()
	at, length, err := r.of(s)
	if err != nil {
		return err
	}
	buffer := make([]byte, min(length, 1<<20))
	for done := 0; done < length; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := buffer[:min(len(buffer), length-done)]
		if _, err := s.ReadAt(part, int64(at+done)); err != nil {
			return err
		}
		// Whoever reads w may be slow, or stopped: Ctrl-C is to end it too.
		written := make(chan error, 1)
		go func() {
			_, err := w.Write(part)
			written <- err
		}()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-written:
			if err != nil {
				return err
			}
		}
		done += len(part)
	}
	return nil
}

func newSegmentDump(c *segment.Config) *cobra.Command {
	var r span
	cmd := &cobra.Command{
		Use:               "dump NAME [--at OFFSET] [--length N]",
		Short:             "Show the bytes of a segment like hexdump -C",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSegments(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &dumper{w: cmd.OutOrStdout(), offset: r.at}
			if err := readSegment(cmd.Context(), c, args[0], &r, d); err != nil {
				return err
			}
			return d.Close()
		},
	}
	r.flags(cmd, "how many bytes (default: to the end)")
	return cmd
}

// dumper prints what is written to it as hexdump -C does: 16 bytes a line, lines
// that repeat the one before them as a single *, and the offset of the end.
type dumper struct {
	w       io.Writer
	offset  int64 // of the first byte in pending
	pending []byte
	last    []byte // the line before; nil at the beginning
	starred bool
	err     error
}

func (d *dumper) Write(b []byte) (int, error) {
	d.pending = append(d.pending, b...)
	n := len(d.pending) &^ 15
	for line := range slices.Chunk(d.pending[:n], 16) {
		d.line(line)
	}
	d.pending = append(d.pending[:0], d.pending[n:]...)
	return len(b), d.err
}

func (d *dumper) line(b []byte) {
	if len(b) == 16 && bytes.Equal(b, d.last) {
		if !d.starred {
			d.print("*\n")
		}
		d.starred = true
		d.offset += 16
		return
	}
	d.starred = false
	d.last = append(d.last[:0], b...)
	hex := ""
	for i := range 16 {
		if i%8 == 0 {
			hex += " "
		}
		if i < len(b) {
			hex += fmt.Sprintf("%02x ", b[i])
		} else {
			hex += "   "
		}
	}
	text := bytes.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '.'
		}
		return r
	}, latin1(b))
	d.print("%08x %s |%s|\n", d.offset, hex, text)
	d.offset += int64(len(b))
}

// latin1 makes each byte a rune of its own.
func latin1(b []byte) []byte {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return []byte(s.String())
}

func (d *dumper) print(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

// Close prints what is left, and the offset of the end.
func (d *dumper) Close() error {
	if len(d.pending) > 0 {
		d.line(d.pending)
	}
	if d.offset > 0 { // hexdump too prints nothing at all for nothing
		d.print("%08x\n", d.offset)
	}
	return d.err
}

func newSegmentSync(c *segment.Config) *cobra.Command {
	var async bool
	cmd := &cobra.Command{
		Use:   "sync NAME",
		Short: "Write a segment to its disk, and wait until it is there",
		Long: `Sync matters for segments in a folder on a disk, and for a crash of the machine:
other programs see what was stored without it. In /dev/shm it does nothing.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSegments(c),
		RunE: func(_ *cobra.Command, args []string) error {
			c.ReadOnly = true
			s, err := segment.Attach(args[0], c)
			if err != nil {
				return err
			}
			defer s.Close()
			how := mmap.SyncWait
			if async {
				how = mmap.SyncAsync
			}
			return s.Sync(0, s.Len(), how)
		},
	}
	cmd.Flags().BoolVar(&async, "async", false, "do not wait (MS_ASYNC, which on Linux starts nothing)")
	return cmd
}

func newSegmentRemove(c *segment.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NAME…",
		Aliases: []string{"remove"},
		Short:   "Take the names of segments away",
		Long: `Rm removes names. Programs that have a segment mapped keep it; its memory is free
when the last has let go.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeSegments(c),
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				errs = append(errs, segment.Remove(name, c))
			}
			return errors.Join(errs...)
		},
	}
	return cmd
}
