package demo_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memlane/memlane/cmd/memlane/internal/demo"
	"github.com/memlane/memlane/mmap"
)

// rogue is a peer's input that has the peer break the rule of part 2: it changes the
// guarded message all the time, without the permit.
type rogue struct {
	lines   *bufio.Reader
	pending []byte
}

func (r *rogue) Read(b []byte) (int, error) {
	if len(r.pending) == 0 {
		line, err := r.lines.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		if err := breakRule(line); err != nil {
			return 0, err
		}
		r.pending = line
	}
	n := copy(b, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}

func breakRule(line []byte) error {
	var order struct{ Op, Path string }
	if err := json.Unmarshal(line, &order); err != nil || order.Op != "guard" {
		return err
	}
	f, err := os.OpenFile(order.Path, os.O_RDWR, 0)
	if os.IsNotExist(err) {
		return nil // the peer that makes it keeps the rule
	}
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := mmap.Map(f, 4096, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		return err
	}
	go func() {
		for b := m.Bytes(); ; b[512]++ {
		}
	}()
	return nil
}

// The demo can fail: it does if guarded reads are torn, and says so.
func TestTornGuardedReadsAreAFailure(t *testing.T) {
	folder := t.TempDir()
	input := filepath.Join(folder, "input")
	if err := os.WriteFile(input, []byte("some input"), 0o600); err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	err := demo.Run(t.Context(), demo.Config{Input: input, Folder: folder, Out: &shown, Command: []string{"/proc/self/exe", "rogue"}})
	if err == nil || !strings.Contains(err.Error(), "guarded reads were torn") {
		t.Errorf("got %v\n%s", err, shown.String())
	}
}

func runRogue(in io.Reader, out io.Writer) error {
	return demo.Peer(&rogue{lines: bufio.NewReader(in)}, out)
}
