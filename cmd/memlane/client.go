package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/memlane/memlane/mmap"
	"github.com/spf13/cobra"
)

// pollEvery is how often --wait and --follow look again: raw memory tells
// nobody that it has changed.
const pollEvery = 10 * time.Millisecond

// errNoText: the file is there, but nothing to read is in it yet. It counts as
// not there.
var errNoText = fmt.Errorf("it is empty: no server has written it yet: %w", fs.ErrNotExist)

func newClient() *cobra.Command {
	var c client
	var size byteSize
	var sync bool
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Read the text that server wrote into a mapped file",
		Long: `Client maps the file that server wrote and prints the text in it, up to the first
zero byte. It reads the memory itself: what it prints is what is there at that
moment.

With --follow it prints the text whenever it has changed, until Ctrl-C. The
memory is raw and has no lock: a text that is being written while client reads
it may be shown half old and half new, and texts that follow each other faster
than client looks are not all seen.

With --sync it reads what server --sync has written, while it holds the same lock,
and with --follow sleeps until a server says that there is a new text. It never
shows half of one. It needs to write to the file, for the lock.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.size, c.out = int(size), cmd.OutOrStdout()
			if cmd.Flags().Changed("file") && c.path == "" {
				return usagef("--file is empty: name a file, or leave it out")
			}
			if c.path == "" {
				var err error
				if c.path, err = seedFile(); err != nil {
					return err
				}
			}
			if sync {
				return c.runSynced(cmd.Context())
			}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&c.path, "file", "", "the file to read (default: seed in the private folder, $MEMLANE_DIR or /dev/shm/memlane-UID)")
	cmd.Flags().Var(&size, "size", "map only so many bytes (default: the whole file)")
	cmd.Flags().BoolVar(&c.wait, "wait", false, "wait until there is a text")
	cmd.Flags().BoolVar(&c.follow, "follow", false, "print the text again whenever it has changed; without --sync, perhaps half of it")
	cmd.Flags().BoolVar(&c.raw, "raw", false, "print all bytes of the memory as they are, and nothing else")
	cmd.Flags().BoolVar(&sync, "sync", false, "lock the text while it is read, as server --sync does; never half a text")
	return cmd
}

type client struct {
	path              string
	size              int // bytes; 0: the whole file
	wait, follow, raw bool
	out               io.Writer
}

func (c *client) run(ctx context.Context) error {
	text, m, err := c.first(ctx)
	if err != nil {
		return err
	}
	if c.raw && !c.follow {
		defer m.Close()
		_, err := io.Copy(c.out, io.NewSectionReader(m, 0, int64(m.Len())))
		return err
	}
	defer func() { m.Close() }() // of the last mapping
	if err := c.print(text); err != nil || !c.follow {
		return err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil // how following ends
		case <-tick.C:
		}
		now, err := c.read(m)
		if err != nil || c.replaced(m) {
			// The file was cut short, or another one has its name now.
			c.wait = true
			next, again, err := c.first(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			m.Close()
			now, m = next, again
		}
		if bytes.Equal(now, text) {
			continue
		}
		text = now
		if err := c.print(text); err != nil {
			return err
		}
	}
}

// first maps the file and reads the text, and waits for both if asked to.
func (c *client) first(ctx context.Context) ([]byte, *mapped, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		m, err := c.open()
		if err == nil {
			var text []byte
			text, err = c.read(m)
			if err == nil && c.wait && !c.raw && (len(text) == 0 || text[0] == 0) {
				err = errNoText
			}
			if err == nil {
				return text, m, nil
			}
			m.Close()
		}
		again := c.wait && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, mmap.ErrFault) || errors.Is(err, mmap.ErrBeyondEOF))
		if !again {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w (run \"memlane server\" first, or add --wait)", err)
			}
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// mapped is a mapping and the file it is of.
type mapped struct {
	*mmap.Mapping
	file fs.FileInfo
}

func (c *client) open() (*mapped, error) {
	// O_NONBLOCK: opening a FIFO would wait for a writer.
	f, err := os.OpenFile(c.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file, and only those can be shared (choose another --file)", c.path)
	case st.Size() == 0:
		return nil, &fs.PathError{Op: "read", Path: c.path, Err: errNoText}
	case int64(c.size) > st.Size():
		return nil, fmt.Errorf("%s has %d bytes, --size is %d: %w (use less --size, or none)", c.path, st.Size(), c.size, mmap.ErrBeyondEOF)
	}
	length := c.size
	if length == 0 {
		length = int(st.Size())
	}
	m, err := mmap.Map(f, length, mmap.Read, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	return &mapped{m, st}, nil
}

// replaced reports whether the name no longer is the mapped file's, or the
// file's size is another: then it must be mapped again.
func (c *client) replaced(m *mapped) bool {
	now, err := os.Stat(c.path)
	return err != nil || !os.SameFile(now, m.file) || now.Size() != m.file.Size()
}

// read copies the text out of the memory.
func (c *client) read(m *mapped) (text []byte, err error) {
	err = m.View(func(b []byte) error {
		end := bytes.IndexByte(b, 0)
		if end < 0 || (c.raw && c.follow) {
			end = len(b)
		}
		text = bytes.Clone(b[:end])
		return nil
	})
	return text, err
}

func (c *client) print(text []byte) error {
	if c.raw {
		_, err := c.out.Write(text)
		return err
	}
	_, err := fmt.Fprintf(c.out, "ipc client get: %s\n", text)
	return err
}
