package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what spec/layout.json says: run make generate", path)
		}
	}
}

// A specification that no machine could follow is refused.
func TestParseRefuses(t *testing.T) {
	const good = `{"package": "p", "structures": [{"name": "S", "bytes": 16, "align": 8, "fields": [
		{"name": "A", "type": "u32", "offset": 0}, {"name": "B", "type": "u64", "offset": 8, "bits": [{"name": "C", "from": 0, "to": 31}, {"name": "D", "from": 32, "to": 32}]}]}],
		"constants": [{"name": "K", "value": "0x10"}]}`
	if _, err := parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ from, to, want string }{
		"overlap":         {`"u32"`, `"u64", "count": 2`, "overlaps"},
		"no alignment":    {`"offset": 8`, `"offset": 4`, "not aligned"},
		"outside":         {`"bytes": 16`, `"bytes": 8`, "ends at 16"},
		"no type":         {`"u32"`, `"f32"`, "no type f32"},
		"field twice":     {`"name": "B"`, `"name": "A"`, "SAAt is named twice"},
		"bits overlap":    {`"from": 32`, `"from": 31`, "bits 31 to 32"},
		"bits outside":    {`"to": 32`, `"to": 64`, "bits 32 to 64"},
		"no number":       {`"0x10"`, `"ten"`, "no number"},
		"unknown word":    {`"package"`, `"packet"`, "unknown field"},
		"odd size":        {`"bytes": 16`, `"bytes": 20`, "no multiple"},
		"name of another": {`"name": "K"`, `"name": "S"`, "S is named twice"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, tc.from, tc.to, 1)
			if bad == good {
				t.Fatal("nothing changed")
			}
			if _, err := parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v; want %q", err, tc.want)
			}
		})
	}
}
