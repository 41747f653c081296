package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// The format of an initramfs, cpio's newc: Documentation/driver-api/early-userspace/buffer-format.rst
// in the kernel's source.

// What a file is, in its mode.
const (
	folder  = 0o040000
	device  = 0o020000 // of characters
	regular = 0o100000
)

// file is one in the archive. Folders come before what is in them.
type file struct {
	name         string // without a slash at its beginning
	mode         int
	major, minor int    // of a device
	text         string // what is in it, if path is empty
	path         string // what it is a copy of
}

// writeArchive writes an archive, all of whose files are root's.
func writeArchive(path string, files []file) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	written := 0
	// Headers and contents begin at multiples of 4.
	pad := func(n int) {
		written += n
		for ; written%4 != 0; written++ {
			w.WriteByte(0)
		}
	}
	for i, file := range append(files, file{name: "TRAILER!!!"}) {
		var content io.Reader = strings.NewReader(file.text)
		size := len(file.text)
		if file.path != "" {
			original, err := os.Open(file.path)
			if err != nil {
				return err
			}
			defer original.Close()
			st, err := original.Stat()
			if err != nil {
				return err
			}
			content, size = original, int(st.Size())
		}
		n, _ := fmt.Fprintf(w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			i+1, file.mode, 0, 0, 1, 0, size, 0, 0, file.major, file.minor, len(file.name)+1, 0, file.name)
		pad(n)
		copied, err := io.Copy(w, content)
		if err != nil {
			return err
		}
		pad(int(copied))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
