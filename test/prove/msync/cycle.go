package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxAcks  = 400                  // acknowledged records before the power goes
	maxAfter = 2 * time.Millisecond // how long after the last of them
)

// cycle lets a writer work on the volume, cuts the power at a moment that the
// seed chooses, and judges what is left.
func cycle(ctx context.Context, v *volume, seed uint64, mutant bool) (verdict, error) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	if err := v.mount(); err != nil {
		return verdict{}, err
	}
	path := filepath.Join(v.root, "shared")
	w, err := startWriter(path, seed, mutant, 1+rnd.IntN(maxAcks))
	if err != nil {
		return verdict{}, fmt.Errorf("start the writer: %w", err)
	}
	defer w.kill()

	// Not with the acknowledgement itself: then the power would always go at
	// the beginning of what the writer does next.
	after := time.Duration(rnd.Int64N(int64(maxAfter)))
	var cut <-chan time.Time
	for enough := w.enough; enough != nil || cut != nil; {
		select {
		case <-enough:
			enough, cut = nil, time.After(after)
		case <-cut:
			cut = nil
		case <-w.ended:
			return verdict{}, fmt.Errorf("the writer ended before the power went: %w", w.kill())
		case <-ctx.Done():
			return verdict{}, context.Cause(ctx)
		}
	}
	if err := v.shutdown(w.mark); err != nil {
		return verdict{}, err
	}
	w.kill()
	if w.reportErr != nil {
		return verdict{}, w.reportErr
	}

	if err := v.unmount(); err != nil {
		return verdict{}, err
	}
	if err := v.mount(); err != nil {
		return verdict{}, err
	}
	file, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // not there is lost
		return verdict{}, err
	}
	if err := v.unmount(); err != nil {
		return verdict{}, err
	}
	return judge(file, seed, &w.stored), nil
}

// A writer is the process that stores, as the conductor sees it.
type writer struct {
	cmd    *exec.Cmd
	out    *os.File // the end of the pipe that the process writes its reports to
	stderr bytes.Buffer
	enough chan struct{} // closed after the acknowledgements that were asked for

	ended chan struct{} // closed when the process is gone
	err   error         // how it ended; after ended

	read      chan struct{} // closed at the end of the pipe
	stored    ledger        // what was reported; after read
	reportErr error         // a report that makes no sense; after read
}

// startWriter starts the process; it works until kill.
func startWriter(path string, seed uint64, mutant bool, acks int) (*writer, error) {
	r, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	w := &writer{out: out, enough: make(chan struct{}), ended: make(chan struct{}), read: make(chan struct{})}
	w.cmd = exec.Command("/proc/self/exe", "writer", path, strconv.FormatUint(seed, 10), strconv.FormatBool(mutant))
	w.cmd.Stdout, w.cmd.Stderr = out, &w.stderr
	// Ctrl-C is for the conductor alone, and if that is killed, so is the
	// writer; the thread that starts it lives as long as the conductor.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err = w.cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), out.Close())
	}
	go func() {
		defer close(w.ended)
		w.err = w.cmd.Wait()
		if text := strings.TrimSpace(w.stderr.String()); text != "" {
			w.err = errors.New(text)
		}
	}()
	go func() {
		defer close(w.read)
		defer r.Close()
		if w.reportErr = w.readReports(bufio.NewScanner(r), acks); w.reportErr != nil {
			w.cmd.Process.Kill()
		}
	}()
	return w, nil
}

// powerCut is the line that mark puts between the reports.
const powerCut = "power cut"

// mark divides the reports that the writer has made from those that it will
// make. That both go through one pipe puts them in order; no clock could.
func (w *writer) mark() error {
	if _, err := fmt.Fprintln(w.out, powerCut); err != nil {
		return fmt.Errorf("mark the power cut: %w", err)
	}
	return nil
}

// readReports enters the reports into the ledger until there are no more.
func (w *writer) readReports(lines *bufio.Scanner, acks int) error {
	acknowledged := onTime
	for lines.Scan() {
		if lines.Text() == powerCut {
			acknowledged = late
			continue
		}
		var page, slot int
		var synced bool
		_, err := fmt.Sscan(lines.Text(), &page, &slot, &synced)
		if err == nil && (page < 0 || page >= pages || slot != len(w.stored[page])) {
			err = errors.New("not the next slot of a page")
		}
		if err != nil {
			return fmt.Errorf("the writer reported %q: %w", lines.Text(), err)
		}
		how := unsynced
		if synced {
			how = acknowledged
			if acks--; acks == 0 {
				close(w.enough)
			}
		}
		w.stored[page] = append(w.stored[page], how)
	}
	return lines.Err()
}

// kill ends the writer, if it has not ended, waits until it is gone and all its
// reports are read, and returns how it ended, or what was wrong with a report.
func (w *writer) kill() error {
	w.cmd.Process.Kill()
	<-w.ended
	w.out.Close()
	<-w.read
	if w.reportErr != nil {
		return w.reportErr
	}
	return w.err
}
