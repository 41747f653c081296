package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// lineBytes is how much is read at once.
const lineBytes = 64 << 10

// input is files that are read one after the other, - being standard input. Reading a
// pipe or a terminal can take for ever, so it happens in a goroutine that is left
// behind when it is not needed any more.
type input struct {
	pieces chan piece
	free   chan []byte
	ended  chan struct{} // closed by close
}

// piece is what was read at once; the last one of a file has its end.
type piece struct {
	bytes []byte
	err   error // io.EOF: the file has ended
	over  bool  // and there is no other
}

func openInput(names []string) *input {
	in := &input{pieces: make(chan piece), free: make(chan []byte, 2), ended: make(chan struct{})}
	in.free <- make([]byte, lineBytes)
	in.free <- make([]byte, lineBytes)
	if len(names) == 0 {
		names = []string{"-"}
	}
	go func() {
		for i, name := range names {
			if !in.read(name, i == len(names)-1) {
				return
			}
		}
	}()
	return in
}

// read reads one file, and says whether to go on with the next one.
func (in *input) read(name string, last bool) bool {
	file := os.Stdin
	if name != "-" {
		var err error
		if file, err = os.Open(name); err != nil {
			in.send(piece{err: err, over: true})
			return false
		}
		defer file.Close()
	}
	for {
		var b []byte
		select {
		case b = <-in.free:
		case <-in.ended:
			return false
		}
		n, err := file.Read(b)
		if err != nil && err != io.EOF {
			err = fmt.Errorf("read the input: %w", err)
		}
		over := err != nil && (last || err != io.EOF)
		if !in.send(piece{b[:n], err, over}) || over {
			return false
		}
		if err != nil {
			return true
		}
	}
}

func (in *input) send(p piece) bool {
	select {
	case in.pieces <- p:
		return true
	case <-in.ended:
		return false
	}
}

// close lets the goroutine end, when it is not reading any more.
func (in *input) close() { close(in.ended) }

// lines calls fn with all whole lines that have come, as soon as they have come and
// without their ends. They are good until fn returns. The last line of a file
// needs no end.
func (in *input) lines(ctx context.Context, fn func([][]byte) error) error {
	var begun []byte // of a line whose end has not come
	var lines [][]byte
	for {
		p, err := in.next(ctx)
		if err != nil {
			return err
		}
		lines = lines[:0]
		rest := p.bytes
		for {
			line, after, found := bytes.Cut(rest, []byte{'\n'})
			if !found {
				break
			}
			if len(begun) > 0 {
				line = append(begun, line...)
				begun = nil
			}
			lines = append(lines, line)
			rest = after
		}
		begun = append(begun, rest...)
		if p.err != nil && len(begun) > 0 {
			lines = append(lines, begun)
			begun = nil
		}
		if len(lines) > 0 {
			if err := fn(lines); err != nil {
				return err
			}
		}
		in.done(p)
		switch {
		case p.err != nil && !errors.Is(p.err, io.EOF):
			return p.err
		case p.over:
			return nil
		}
	}
}

// whole calls fn with the whole of each file.
func (in *input) whole(ctx context.Context, fn func([]byte) error) error {
	var content []byte
	for {
		p, err := in.next(ctx)
		if err != nil {
			return err
		}
		content = append(content, p.bytes...)
		in.done(p)
		if p.err == nil {
			continue
		}
		if !errors.Is(p.err, io.EOF) {
			return p.err
		}
		if err := fn(content); err != nil {
			return err
		}
		if p.over {
			return nil
		}
		content = content[:0]
	}
}

func (in *input) next(ctx context.Context) (piece, error) {
	select {
	case p := <-in.pieces:
		return p, nil
	case <-ctx.Done():
		return piece{}, context.Cause(ctx)
	}
}

func (in *input) done(p piece) {
	if p.bytes != nil {
		in.free <- p.bytes[:cap(p.bytes)]
	}
}
