package logtopic_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/logtopic"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/pubsub"
)

// eventually waits until it is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

// ledger is a file of one number, which outlives who writes it.
func ledger(path string) (*atomic.Uint64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(8); err != nil {
		return nil, err
	}
	m, err := mmap.Map(f, 8, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return nil, err
	}
	return mmap.At[atomic.Uint64](m, 0)
}

// text follows from a record's number; of every 16th it does not fit into a slot.
func text(i uint64) string {
	n := i % 50
	if i%16 == 0 {
		n = 200 + i%500
	}
	return strings.Repeat(strconv.FormatUint(i%10, 10), int(n))
}

// logForEver is a process that logs numbers until it is killed. It writes into the ledger
// how many it knows to be logged. Args: the folder, the ledger.
func logForEver(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	logged, err := ledger(args[1])
	if err != nil {
		return err
	}
	h, err := logtopic.NewHandler(d, "logs", nil)
	if err != nil {
		return err
	}
	go func() { // it ends with the test
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	fmt.Println("logging")
	log := slog.New(h)
	for i := uint64(0); ; i++ {
		log.Info(text(i), "number", i)
		logged.Store(i + 1)
	}
}

// A process is killed, at any moment. Whatever it had logged before, and what Handle had
// returned from, is received, whole and in order, or told as lost, by number.
func TestKilled(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	s, err := pubsub.Subscribe(d, "logs", nil)
	if err != nil {
		t.Fatal(err)
	}
	var all, allLost uint64
	for round := range 10 {
		path := filepath.Join(t.TempDir(), "ledger")
		logged, err := ledger(path)
		if err != nil {
			t.Fatal(err)
		}
		p := proctest.Start(t, nil, "log", folder, path)
		if line := p.Line(); line != "logging" {
			t.Fatal(line)
		}
		eventually(t, "there", func() bool { return s.Publishers() == 1 })
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			until := rand.Uint64N(20_000)
			for logged.Load() < until {
				runtime.Gosched()
			}
			p.Kill()
		}()
		var want, lost uint64
		for end := false; !end; {
			m, err := s.TryReceive()
			var lagged *pubsub.LaggedError
			switch {
			case err == pubsub.ErrEmpty:
				select {
				case <-killed:
					end = s.Publishers() == 0
				default:
				}
				continue
			case errors.As(err, &lagged):
				want += lagged.Lost
				lost += lagged.Lost
				continue
			case err != nil:
				t.Fatalf("round %d: %v", round, err)
			}
			var r struct {
				Msg    string
				Number uint64
				PID    int
			}
			if err := json.Unmarshal(m.Data, &r); err != nil || r.Number != want || r.Msg != text(want) || r.PID != p.PID() || m.Sequence != want {
				t.Fatalf("round %d: %v: %s; want number %d of process %d", round, err, m.Data, want, p.PID())
			}
			want++
		}
		if n := logged.Load(); want != n && want != n+1 {
			t.Errorf("round %d: %d records are accounted for, and %d were logged", round, want, n)
		}
		all, allLost = all+want, allLost+lost
	}
	t.Logf("%d records, %d of them lost", all, allLost)
	if all == allLost {
		t.Error("none was received")
	}
}

// logAndDrop is a process that logs so many records, of which some are too large, by lot,
// and says before the last one how many were dropped. Args: the folder, the number.
func logAndDrop(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	h, err := logtopic.NewHandler(d, "logs", &logtopic.Config{ArenaLimit: 64 << 10, Slots: 64})
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(args[1])
	large := strings.Repeat("x", 64<<10)
	log := slog.New(h)
	for i := range n {
		if rand.IntN(3) == 0 {
			log.Info(large)
		} else {
			log.Info("fits", "number", i)
		}
	}
	fmt.Println(h.Dropped())
	log.Info("last")
	return h.Close()
}

// A reader in another process knows of each record that was logged whether it was received,
// dropped or lost, though it loses many of those that say how many were dropped.
func TestDropsAreTold(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	s, err := pubsub.Subscribe(d, "logs", nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	p := proctest.Start(t, nil, "drop", folder, strconv.Itoa(n))
	var received, lost, dropped uint64
	soon := soon(t)
	for last := false; !last; {
		m, err := s.Receive(soon)
		var lagged *pubsub.LaggedError
		if errors.As(err, &lagged) {
			lost += lagged.Lost
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		received++
		var r struct {
			Msg     string
			Dropped uint64 `json:"!dropped"`
		}
		if err := json.Unmarshal(m.Data, &r); err != nil || r.Dropped < dropped {
			t.Fatalf("%v: %s", err, m.Data)
		}
		dropped, last = r.Dropped, r.Msg == "last"
	}
	if line := p.Line(); line != strconv.FormatUint(dropped, 10) || received+lost+dropped != n+1 {
		t.Errorf("%d received, %d lost, %d dropped, of %d; it says %s", received, lost, dropped, n+1, line)
	}
	if dropped == 0 {
		t.Error("none was dropped")
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// read is a process that reads until a record says that it is the last, and says how many
// were received and lost. Args: the folder.
func read(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := pubsub.Subscribe(d, "logs", nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var received, lost uint64
	for {
		m, err := s.Receive(background)
		var lagged *pubsub.LaggedError
		if errors.As(err, &lagged) {
			lost += lagged.Lost
			continue
		}
		if err != nil {
			return err
		}
		received++
		if strings.Contains(string(m.Data), `"msg":"last"`) {
			fmt.Println(received, lost)
			return nil
		}
	}
}

// A reader is stopped. Who logs does not wait for it, also where the memory has to grow, and
// the reader is told what it has lost when it goes on.
func TestStoppedReader(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	h, err := logtopic.NewHandler(d, "logs", &logtopic.Config{Slots: 64})
	if err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, nil, "read", folder)
	if line := p.Line(); line != "ready" {
		t.Fatal(line)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		_, state, _ := strings.Cut(string(stat), ") ")
		return err == nil && strings.HasPrefix(state, "T")
	})
	const n = 10_000
	log := slog.New(h)
	for i := range n {
		log.Info(strings.Repeat("x", i%3000))
	}
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	log.Info("last")
	var received, lost uint64
	line := p.Line()
	if _, err := fmt.Sscan(line, &received, &lost); err != nil || received+lost != n+1 || lost < n-2*64 || h.Dropped() != 0 {
		t.Errorf("it says %q; %d dropped", line, h.Dropped())
	}
}
