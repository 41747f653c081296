package machine_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/memlane/memlane/bench/internal/machine"
)

// Who reads the JSON of a run finds these keys, and no others.
func TestJSON(t *testing.T) {
	m := machine.This()
	if m.CPU == "" || m.Kernel == "" || m.Go == "" || m.Load == "" {
		t.Errorf("not all is known of the machine: %+v", m)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	want := []string{"clock_source", "cpu", "go", "kernel", "load", "processors", "virtual"}
	if got := slices.Sorted(maps.Keys(values)); !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}

func TestFirstOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpuinfo")
	if err := os.WriteFile(file, []byte("model name\t: one\nflags : a b\nmodel name\t: two\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"model name": "one", "flags": "a b", "model": "", "end": ""} {
		if got := machine.FirstOf(file, key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
	if got := machine.FirstOf(file+"-none", "flags"); got != "" {
		t.Errorf("of a file that is not there: %q", got)
	}
}

func TestNumbers(t *testing.T) {
	for list, want := range map[string][]int{"0-2,5": {0, 1, 2, 5}, "3": {3}, "": nil, "x": nil, "1,x": nil, "1-": nil} {
		if got := machine.Numbers(list); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", list, got, want)
		}
	}
}
