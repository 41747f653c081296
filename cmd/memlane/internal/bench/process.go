package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/pubsub"
)

// Transports, as they are called in figures.
const (
	laneTransport     = "memlane"
	loanTransport     = "memlane-loan"
	batchTransport    = "memlane-batch"
	packetTransport   = "uds"
	bufferedTransport = "uds-buffered"
)

// floorFile is the floors' memory, in the folder of a task.
const floorFile = "floor.shm"

func openPair(t *task) (pair, error) {
	switch t.Transport {
	case laneTransport, loanTransport:
		l, err := openLane(t, pubsub.DropOldest)
		if err != nil {
			return pair{}, err
		}
		if t.Transport == loanTransport {
			return l.loaned(), nil
		}
		return l.copied(), nil
	case packetTransport, bufferedTransport:
		return openSocket(t, socketAt).pair(), nil
	}
	f, err := openFloor(t)
	if err != nil {
		return pair{}, err
	}
	return f.pair()
}

func openStream(t *task) (stream, error) {
	switch t.Transport {
	case laneTransport, loanTransport, batchTransport:
		l, err := openLane(t, pubsub.Block)
		if err != nil {
			return stream{}, err
		}
		return l.oneWay(), nil
	case packetTransport, bufferedTransport:
		return openSocket(t, socketAt).oneWay(), nil
	}
	return stream{}, fmt.Errorf("there is no %s in Go", t.Transport)
}

// overdue is when a process that is measured has failed.
const overdue = 2 * time.Minute

// start returns the command of one side. Side 0 of every task measures.
func (b *bench) start(ctx context.Context, t *task, files []*os.File) (*exec.Cmd, error) {
	argument, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	command := append(b.config.Command, string(argument))
	if strings.HasPrefix(t.Transport, "floor-") && b.floor != "" {
		name := t.Transport
		if t.Part == "one way" {
			name = "floor-ring"
		}
		ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
		command = []string{b.floor, name, strconv.Itoa(t.Side), filepath.Join(t.Folder, floorFile), strconv.Itoa(t.Processor),
			strconv.Itoa(t.Size), strconv.Itoa(t.Batch), strconv.Itoa(t.Group), ms(t.Warm), ms(t.Length)}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if t.Park {
		// Package wait leaves one processor to other goroutines: so it does not look
		// for a while before it sleeps.
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	return cmd, nil
}

// run runs both sides of a task, or more, and returns what side 0 has measured. It
// must be called on the main goroutine: processes end with the thread that starts them.
func (b *bench) run(t task, others ...task) (*count, error) {
	folder, err := os.MkdirTemp(b.folder, "run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithTimeout(b.ctx, overdue+t.Warm+t.Length)
	defer cancel()
	all := append([]task{t}, others...)
	files, err := b.share(folder, all)
	if err != nil {
		return nil, err
	}
	commands := make([]*exec.Cmd, len(all))
	for i := range all {
		all[i].Folder = folder
		if err == nil {
			commands[i], err = b.start(ctx, &all[i], files[i])
		}
	}
	for _, list := range files {
		for _, f := range list {
			f.Close()
		}
	}
	ends := make(chan error)
	for _, cmd := range commands {
		if cmd == nil {
			cancel()
			continue
		}
		go func() {
			err := cmd.Wait()
			if err != nil {
				// The others would wait for it.
				cancel()
				err = fmt.Errorf("%q: %w: %s", cmd.Args, err, strings.TrimSpace(cmd.Stderr.(*bytes.Buffer).String()))
			}
			ends <- err
		}()
	}
	for _, cmd := range commands {
		if cmd == nil {
			continue
		}
		// The first one to end badly is who is to blame.
		if end := <-ends; err == nil {
			err = end
		}
	}
	if b.ctx.Err() != nil {
		return nil, context.Cause(b.ctx)
	}
	if err != nil {
		return nil, err
	}
	return readCount(commands[0].Stdout.(*bytes.Buffer))
}

// share makes what the sides have in common before they start: the floors' memory,
// or sockets. Side 0 has one to each of the others.
func (b *bench) share(folder string, all []task) ([][]*os.File, error) {
	files := make([][]*os.File, len(all))
	t := &all[0]
	switch {
	case strings.HasPrefix(t.Transport, "floor-"):
		f, err := os.Create(filepath.Join(folder, floorFile))
		if err == nil {
			err = errors.Join(f.Truncate(floorBytes(t)), f.Close())
		}
		return files, err
	case t.Transport == packetTransport || t.Transport == bufferedTransport:
		for i := 1; i < len(all); i++ {
			fds, err := socketPair(t.Transport)
			if err != nil {
				return files, err
			}
			files[0] = append(files[0], os.NewFile(uintptr(fds[0]), "socket"))
			files[i] = append(files[i], os.NewFile(uintptr(fds[1]), "socket"))
		}
	}
	return files, nil
}

// pairOf returns both sides of a task, side 1 on another processor unless both are
// to be on the same.
func (b *bench) pairOf(t task, same bool) (side0, side1 task) {
	t.Warm, t.Length = b.config.Duration/5, b.config.Duration
	t.Batch, t.Group = max(t.Batch, 1), max(t.Group, 1)
	side0, side1 = t, t
	side1.Side = 1
	side0.Processor, side1.Processor = b.processors[0], b.processors[1]
	if same {
		side1.Processor = side0.Processor
	}
	return side0, side1
}
