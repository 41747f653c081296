package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// overdue is when a pair that is measured has failed.
const overdue = 30 * time.Second

// exchange runs both processes of a contender, and returns what side 0 has measured. It must
// be called on the main goroutine: processes end with the thread that starts them.
func (b *bench) exchange(c contender, t task) (*count, error) {
	folder, err := os.MkdirTemp("/dev/shm", "memlane-peers-")
	if err != nil {
		return nil, err
	}
	defer removeAllOf(folder)
	t.folder = folder
	if c.product == "floor" {
		if err := makeFile(filepath.Join(folder, floorFile), floorBytes(t)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(b.ctx, overdue+t.warm+t.length)
	defer cancel()
	if c.beside != nil {
		end, err := startBeside(ctx, c.beside(b, t))
		if err != nil {
			return nil, err
		}
		defer end()
	}
	out, err := b.runPair(ctx, c, t)
	if err != nil {
		return nil, err
	}
	return readCount(out)
}

// removeAllOf removes the folder of a task, and what workers have made beside it under
// names that begin with the folder's.
func removeAllOf(folder string) {
	names, _ := filepath.Glob(folder + "*") // the pattern is valid
	for _, name := range names {
		os.RemoveAll(name)
	}
}

func makeFile(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// startBeside starts a process that the two need; end ends it.
func startBeside(ctx context.Context, command []string) (end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd, err := start(ctx, command)
	if err != nil {
		cancel()
		return nil, err
	}
	return func() {
		cancel()
		cmd.Wait() // it was killed
	}, nil
}

func start(ctx context.Context, command []string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// What a killed process has started may keep its output open.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	return cmd, nil
}

// runPair runs both sides, and returns what side 0 prints.
func (b *bench) runPair(ctx context.Context, c contender, t task) (*bytes.Buffer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var commands []*exec.Cmd
	var failed error
	for side := range 2 {
		t.side, t.processor = side, b.processors[side]
		cmd, err := start(ctx, c.command(b, t))
		if err != nil {
			failed = err
			cancel() // the other one would wait for it
			break
		}
		commands = append(commands, cmd)
	}
	ends := make(chan error)
	for _, cmd := range commands {
		go func() { ends <- ended(ctx, cmd) }()
	}
	for range commands {
		// The first one to end badly is who is to blame, and the other one would
		// wait for it.
		if err := <-ends; err != nil && failed == nil {
			failed = err
			cancel()
		}
	}
	if b.ctx.Err() != nil {
		return nil, context.Cause(b.ctx)
	}
	if failed != nil {
		return nil, failed
	}
	return commands[0].Stdout.(*bytes.Buffer), nil
}

// ended waits for the end of a process, and returns why it failed.
func ended(ctx context.Context, cmd *exec.Cmd) error {
	err := cmd.Wait()
	if err == nil {
		return nil
	}
	name := filepath.Base(cmd.Path)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("run %s: not ended after %v", name, overdue)
	}
	said, _, _ := strings.Cut(strings.TrimSpace(cmd.Stderr.(*bytes.Buffer).String()), "\n")
	return fmt.Errorf("run %s: %w: %s", name, err, said)
}
