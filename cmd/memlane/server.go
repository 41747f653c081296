package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
	"github.com/spf13/cobra"
)

const (
	defaultSize    = 1024 // bytes
	defaultMessage = "hello share memory ipc! i'm server."
	inputLimit     = 1 << 30 // bytes of --from - that are taken without a --size
)

// byteSize is a flag for a number of bytes, with units if one likes.
type byteSize int64

func (s *byteSize) String() string { return fmt.Sprint(int64(*s)) }
func (s *byteSize) Type() string   { return "bytes" }
func (s *byteSize) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	_, whole := strconv.ParseFloat(text, 64)
	if err != nil || n == 0 || n > 1<<62 || (whole == nil && strings.Contains(text, ".")) {
		return errors.New("give a number of bytes, such as 1024, 64KiB or 1MiB")
	}
	*s = byteSize(n)
	return nil
}

func newServer() *cobra.Command {
	var file, message, from string
	var hold, sync bool
	size := byteSize(defaultSize)
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Write a text into a mapped file, for client to read",
		Long: `Server opens a file, gives it a size, maps it, writes a text and a zero byte into
the mapping, and exits. The text stays in the file: "memlane client", or any
program that maps or reads it, finds it there.

A file that is shorter than --size is made longer; one that is longer keeps its
size, because cutting it would crash whoever has mapped the rest. Of the first
--size bytes, those behind the text are set to zero. They are reserved, so that a
full file system is an error here and not a crash later.

The memory is raw: nothing keeps a reader from seeing half of a text that is
being written.

With --sync, the last 64 KiB of the file, which is made longer by that, are for a
semaphore and an event. Server holds the semaphore's permit while it writes, and
sets the event then; client --sync does the like. The text stays where it was, for
programs that know nothing of this. A server that is killed gives its permit back,
and half of its text is not shown. The file has mode 0600 if it is new, because who
reads with --sync also writes. Use --sync on both sides, and with every server.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := []byte(message)
			if cmd.Flags().Changed("file") && file == "" {
				return usagef("--file is empty: name a file, or leave it out")
			}
			if cmd.Flags().Changed("from") {
				limit := int64(-1)
				if cmd.Flags().Changed("size") {
					limit = int64(size) - 1
				}
				var err error
				if text, err = readInput(cmd.Context(), from, limit, "the text needs a zero byte behind it: use more --size"); err != nil {
					return err
				}
				if limit < 0 {
					size = byteSize(max(int64(len(text))+1, defaultSize))
				}
			}
			if int64(len(text)) >= int64(size) {
				return usagef("the text has %d bytes and needs a zero byte behind it, --size is %d: use --size %d", len(text), size, len(text)+1)
			}
			if file == "" {
				var err error
				if file, err = seedFile(); err != nil {
					return err
				}
			}
			var m interface {
				Addr() uintptr
				Close() error
			}
			var err error
			if sync {
				m, err = serveSynced(cmd.Context(), file, int64(size), text)
			} else {
				m, err = serve(file, int64(size), text)
			}
			if err != nil {
				return err
			}
			if hold {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is mapped at %#x in process %d; Ctrl-C ends\n", file, m.Addr(), os.Getpid())
				<-cmd.Context().Done()
			}
			return m.Close()
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "the file to share (default: seed in the private folder, $MEMLANE_DIR or /dev/shm/memlane-UID)")
	cmd.Flags().Var(&size, "size", "size of the memory; 64KiB, 1MiB and the like work too")
	cmd.Flags().StringVar(&message, "message", defaultMessage, "the text to write")
	cmd.Flags().StringVar(&from, "from", "", "read the text from this file, - for standard input; without --size the memory is as large as it needs")
	cmd.Flags().BoolVar(&hold, "hold", false, "stay and keep the file mapped until Ctrl-C")
	cmd.Flags().BoolVar(&sync, "sync", false, "lock the text while it is written, for client --sync")
	cmd.MarkFlagsMutuallyExclusive("message", "from")
	return cmd
}

// seedFile returns the file that server and client meet at if no --file says
// otherwise.
func seedFile() (string, error) {
	dir, err := segment.DefaultFolder()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "seed"), nil
}

// serve does the seed's four steps: open, size, map, write. The mapping is the
// caller's to close.
func serve(path string, size int64, text []byte) (*mmap.Mapping, error) {
	_, before := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file, and only those can be shared (choose another --file)", path)
	}
	if err := keepLocks(path, size); err != nil {
		return nil, err
	}
	if err := mmap.Reserve(f, size); err != nil {
		if errors.Is(before, fs.ErrNotExist) {
			os.Remove(path) // we have made it, and it is good for nothing
		}
		return nil, err
	}
	m, err := mmap.Map(f, int(size), mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	err = m.View(func(b []byte) error {
		clear(b[copy(b, text):])
		return nil
	})
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// keepLocks fails if a text of size bytes would reach into the locks at the end of the
// file, or make it longer, so that who comes later looks for them elsewhere.
func keepLocks(path string, size int64) error {
	c, name := segmentAt(path)
	c.ReadOnly = true // or a file with holes would be filled
	s, err := segment.Attach(name, c)
	if err != nil {
		return nil // none that could have any
	}
	defer s.Close()
	room := int64(shmsync.Area(s.Len()))
	if has, err := hasLocks(s); err != nil || !has || size <= room {
		return err
	}
	return fmt.Errorf("%s has %d bytes before its locks, and %d are wanted (use --size %d or --sync, or remove the file when nobody uses it)", path, room, size, room)
}

// readInput reads the file, or standard input for "-". With a limit of 0 or
// more it fails if there is more than that, and says the fix. Reading a pipe or a terminal can
// take for ever, so it is left behind when ctx ends.
func readInput(ctx context.Context, name string, limit int64, fix string) ([]byte, error) {
	most := limit
	if most < 0 {
		most = inputLimit
	}
	var text []byte
	var err error
	done := make(chan struct{})
	go func() { // opening a FIFO waits too
		defer close(done)
		in := os.Stdin
		if name != "-" {
			if in, err = os.Open(name); err != nil {
				return
			}
			defer in.Close()
		}
		text, err = io.ReadAll(io.LimitReader(in, most+1))
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-done:
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the text: %w", err)
	case int64(len(text)) > most && limit < 0:
		return nil, usagef("%s has more than %d bytes: give --size", name, most)
	case int64(len(text)) > most:
		return nil, usagef("%s has more than the %d bytes that fit: %s", name, most, fix)
	}
	return text, nil
}
