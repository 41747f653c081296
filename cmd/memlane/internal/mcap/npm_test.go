//go:build npm

package mcap

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var packages = flag.String("npm", "", "the folder in which npm has installed @mcap/core")

func node(t *testing.T, script string, args ...string) []byte {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", append([]string{path}, args...)...)
	cmd.Dir, cmd.Stderr = *packages, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return out
}

// What @mcap/core writes is read here.
func TestNPMWrites(t *testing.T) {
	folder := t.TempDir()
	node(t, "write.mjs", folder)
	files, err := filepath.Glob(filepath.Join(folder, "*.mcap"))
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wantOthers(t, filepath.Base(path[:len(path)-len(".mcap")]), file)
	}
}

// theirs is what testdata/read.mjs prints of a file.
type theirs struct {
	Done     bool
	Streamed int
	Library  string
	Messages []struct {
		Channel, Sequence  int
		Log, Publish, Data string
	}
	Statistics struct{ MessageCount, MessageStartTime, MessageEndTime string }
	Channels   []struct {
		ID, SchemaID           int
		Topic, MessageEncoding string
		Metadata               map[string]string
	}
	Schemas []struct {
		ID                   int
		Name, Encoding, Data string
	}
	Metadata []struct {
		Name     string
		Metadata map[string]string
	}
}

// What is written here @mcap/core reads: by the index, and from the beginning with all
// checksums.
func TestNPMReads(t *testing.T) {
	for _, zstd := range []bool{false, true} {
		w := write(t, WriterConfig{Zstd: zstd}, 1000)
		path := filepath.Join(t.TempDir(), "ours.mcap")
		if err := os.WriteFile(path, w.file, 0o600); err != nil {
			t.Fatal(err)
		}
		var got theirs
		if err := json.Unmarshal(node(t, "read.mjs", path), &got); err != nil {
			t.Fatal(err)
		}
		if !got.Done || got.Streamed != 1000 || len(got.Messages) != 1000 || got.Library != "test" {
			t.Errorf("%d messages by the index, %d from the beginning, done: %v, by %q", len(got.Messages), got.Streamed, got.Done, got.Library)
		}
		for i, m := range got.Messages {
			data, err := base64.StdEncoding.DecodeString(m.Data)
			is := fmt.Sprint(m.Channel, m.Sequence, m.Log, m.Publish, string(data), err)
			o := w.messages[i]
			if want := fmt.Sprint(o.Channel, o.Sequence, fmt.Sprint(o.LogTime), fmt.Sprint(o.PublishTime), string(o.Data), nil); is != want {
				t.Fatalf("message %d: %s; want %s", i, is, want)
			}
		}
		if is := fmt.Sprint(got.Statistics); is != "{1000 1000000000000000000 1000000000000000333}" {
			t.Errorf("statistics %s", is)
		}
		for i, c := range got.Channels {
			o := w.channels[i]
			if fmt.Sprint(c) != fmt.Sprint(o) {
				t.Errorf("channel %v; want %v", c, o)
			}
		}
		if len(got.Channels) != 2 || fmt.Sprint(got.Schemas) != `[{1 Price jsonschema {"type":"object"}}]` {
			t.Errorf("%d channels, schemas %v", len(got.Channels), got.Schemas)
		}
		if fmt.Sprint(got.Metadata) != fmt.Sprint(w.metadata) {
			t.Errorf("metadata %v", got.Metadata)
		}
	}
}
