package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// benchFigure is a line of memlane bench -o json, as programs read it.
type benchFigure struct {
	Transport string   `json:"transport"`
	What      string   `json:"what"`
	Size      int      `json:"size"`
	Readers   int      `json:"readers"`
	Batch     int      `json:"batch"`
	N         int      `json:"n"`
	P50       float64  `json:"p50_ns"`
	P99       float64  `json:"p99_ns"`
	P999      float64  `json:"p999_ns"`
	Max       float64  `json:"max_ns"`
	Rate      float64  `json:"msgs_per_s"`
	Bytes     float64  `json:"bytes_per_s"`
	Against   string   `json:"against"`
	Ratio     float64  `json:"ratio"`
	Memory    uint64   `json:"memory_bytes"`
	Share     *float64 `json:"processor_share"`
	Allocates *float64 `json:"allocations_per_msg"`
	Machine   any      `json:"machine"`
	Note      string   `json:"note"`
}

// Every part prints figures that can be, of all who are compared. What they are is
// not for a test.
func TestBench(t *testing.T) {
	for part, tc := range map[string]struct {
		args       []string
		transports []string
	}{
		"latency":    {[]string{"--size", "1024"}, []string{"floor-line", "floor-two-lines", "floor-copy", "memlane", "memlane-loan", "uds", "uds-buffered"}},
		"throughput": {nil, []string{"memlane", "memlane-batch", "uds", "uds-buffered"}},
		"fanout":     {[]string{"--readers", "10"}, []string{"memlane"}},
		"observed":   {[]string{"--size", "40"}, []string{"memlane", "memlane-observed"}},
		"park":       {nil, []string{"floor-futex", "memlane", "uds"}},
		"compare":    {[]string{"--size", "64KiB", "--readers", "2"}, []string{"memlane", "memlane-loan", "uds", "uds-buffered"}},
	} {
		t.Run(part, func(t *testing.T) {
			folder := t.TempDir()
			duration := "2ms"
			if part == "compare" {
				duration = "2s"
			}
			cmd := exec.Command(memlane, append([]string{"bench", part, "-o", "json", "--rounds", "2", "--duration", duration}, tc.args...)...)
			cmd.Env = append(os.Environ(), "MEMLANE_DIR="+filepath.Join(folder, "private"))
			var said bytes.Buffer
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, said.String())
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "private", "bench-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			seen := map[string]bool{}
			machines := 0
			for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
				var f benchFigure
				if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
					t.Fatalf("%s: %v", lines.Text(), err)
				}
				if f.Machine != nil {
					machines++
				}
				if f.Machine != nil || f.Note != "" {
					continue
				}
				seen[f.Transport] = true
				if problem := f.problem(); problem != "" {
					t.Errorf("%s: %s", problem, lines.Text())
				}
			}
			if machines != 1 {
				t.Errorf("%d lines say what machine it is", machines)
			}
			for _, transport := range tc.transports {
				if !seen[transport] {
					t.Errorf("no figure of %s in %s", transport, out)
				}
			}
		})
	}
}

// problem says what cannot be about a figure.
func (f *benchFigure) problem() string {
	transports := []string{"memlane", "memlane-loan", "memlane-batch", "memlane-observed", "floor-line", "floor-two-lines", "floor-futex", "floor-copy", "uds", "uds-buffered"}
	switch {
	case !slices.Contains(transports, f.Transport):
		return "an unknown transport"
	case strings.HasPrefix(f.What, "rest-"):
		if f.Share == nil && (f.Memory < 64<<10 || f.Memory > 1<<20) {
			return "nobody's memory"
		}
		return ""
	case f.What == "steady-state":
		if f.Allocates == nil || *f.Allocates < 0 {
			return "no allocations"
		}
		return ""
	case f.N <= 0 || f.Size <= 0 || f.Readers <= 0 || f.Batch <= 0:
		return "nothing was sent"
	case f.P50 == 0 && f.Rate == 0:
		return "nothing was measured"
	case f.P50 != 0 && (f.P50 < 1 || f.P50 > 10e9):
		return "no such time"
	case f.P99 != 0 && f.P999 != 0 && f.P99 > f.P999 || f.P999 > 1.02*f.Max:
		return "percentiles out of order"
	case f.Rate < 0 || f.Rate > 5e9:
		return "no such rate"
	case f.Rate > 0 && f.Bytes < f.Rate*float64(f.Size)*0.99:
		return "bytes do not fit messages"
	case (f.Against == "") != (f.Ratio == 0):
		return "half a ratio"
	}
	return ""
}
