package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	lane "github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
)

// recorder starts a recorder of topics, and returns its file.
func recorder(t *testing.T, folder string, args ...string) (*process, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "recording.mcap")
	return inFolder(t, folder, append([]string{"record", "--output", file}, args...)...), file
}

// printed returns the lines of a recording, and what is said about it.
func printed(t *testing.T, code int, file string, args ...string) (lines []string, says string) {
	t.Helper()
	out, says, got := run(t, append([]string{"cat", file}, args...)...)
	if got != code {
		t.Fatalf("cat: code %d, want %d: %s", got, code, says)
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n"), says
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "message %d\n", i)
	}
	return b.String()
}

// A recorder that is killed has written all that it had received but for the last second.
// Its file says that it is not finished, and can be replayed.
func TestKilledRecorder(t *testing.T) {
	for _, args := range [][]string{{"n"}, {"n", "--zstd"}} {
		folder := t.TempDir()
		r, file := recorder(t, folder, args...)
		pub := inFolder(t, folder, "pub", "n")
		pub.write(t, numbered(10_000))
		eventually(t, "they are in the file", func() bool {
			out, _, _ := run(t, "cat", file)
			return strings.Count(out, "\n") == 10_000
		})
		pub.write(t, "and one more\n")
		r.Process.Kill()
		r.exit(t)
		lines, says := printed(t, 0, file)
		if !strings.Contains(says, "not finished") {
			t.Errorf("it says %q", says)
		}
		all := strings.Split(numbered(10_000)+"and one more", "\n")
		if n := len(lines); n < 10_000 || n > 10_001 || strings.Join(lines, "\n") != strings.Join(all[:n], "\n") {
			t.Errorf("%d lines, the last one %q", n, lines[n-1])
		}
		s := inFolder(t, folder, "sub", "n", "--count", "10000")
		replay := inFolder(t, folder, "replay", file, "--rate", "0")
		for i := range 10_000 {
			if line := s.line(t); line != all[i] {
				t.Fatalf("line %d is %q", i, line)
			}
		}
		s.wantExit(t, 0, "")
		replay.wantExit(t, 0, "messages")
	}
}

// What was recorded is published again as it was: the bytes, in order, their schema and
// their content type.
func TestReplay(t *testing.T) {
	folder := t.TempDir()
	r, file := recorder(t, folder, "orders", "texts", "bytes", "--until-end")
	d, err := lane.Open("default", &lane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	values, err := schema.Of[order]()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	topics := map[string]struct {
		config   pubsub.PublisherConfig
		messages [][]byte
		encoding string
	}{
		"orders": {config: pubsub.PublisherConfig{Schema: values}, encoding: "ros1"},
		"texts":  {config: pubsub.PublisherConfig{ContentType: "application/json"}, encoding: "json"},
		"bytes":  {},
	}
	var publishers []*pubsub.Publisher
	for name, topic := range topics {
		for i := range 300 {
			switch name {
			case "orders":
				topic.messages = append(topic.messages, bytes.Repeat([]byte{byte(i)}, values.Size()))
			case "texts":
				topic.messages = append(topic.messages, fmt.Appendf(nil, `{"n":%d}`, i))
			default: // of all sizes, none too
				topic.messages = append(topic.messages, bytes.Repeat([]byte{byte(i), 0xff}, i*i*i/50))
			}
		}
		topics[name] = topic
		topic.config.Policy = pubsub.Block
		p, err := pubsub.Publish(d, name, &topic.config)
		if err == nil {
			err = p.WaitSubscribers(ctx, 1)
		}
		for _, m := range topic.messages {
			if err == nil {
				err = p.Publish(ctx, m)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		publishers = append(publishers, p)
	}
	for _, p := range publishers {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r.wantExit(t, 0, "900 messages")

	subscribers := map[string]*pubsub.Subscriber{}
	for name := range topics {
		s, err := pubsub.Subscribe(d, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		subscribers[name] = s
	}
	again := inFolder(t, folder, "replay", file, "--rate", "1000x")
	for name, topic := range topics {
		s := subscribers[name]
		for i, want := range topic.messages {
			m, err := s.Receive(ctx)
			if err != nil || !bytes.Equal(m.Data, want) {
				t.Fatalf("%s: message %d: %d bytes, %v; want %d", name, i, len(m.Data), err, len(want))
			}
			if i > 0 {
				continue
			}
			got, contentType := s.Format(m.Publisher)
			if fmt.Sprint(got) != fmt.Sprint(topic.config.Schema) || contentType != topic.config.ContentType {
				t.Errorf("%s: schema %v, content type %q", name, got, contentType)
			}
		}
	}
	again.wantExit(t, 0, "900 messages")

	// Cat tells what each is.
	for name, topic := range topics {
		lines, _ := printed(t, 0, file, "--topics", name, "-o", "json")
		var first struct {
			Topic, Encoding, Publisher string
			Value                      json.RawMessage
		}
		if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || len(lines) != 300 {
			t.Fatalf("%s: %d lines, %v", name, len(lines), err)
		}
		if first.Topic != name || first.Encoding != topic.encoding || len(first.Publisher) != 16 || (first.Value == nil) != (name == "bytes") {
			t.Errorf("%s: %s", name, lines[0])
		}
	}
	lines, _ := printed(t, 0, file, "--topics", "orders", "--json")
	if want, err := values.AppendJSON(nil, topics["orders"].messages[7]); err != nil || lines[7] != string(want) {
		t.Errorf("%s; want %s, %v", lines[7], want, err)
	}
}

// What a recorder has lost is said, and is in the file: with what it has recorded, that is
// all.
func TestRecorderTellsLosses(t *testing.T) {
	folder := t.TempDir()
	r, file := recorder(t, folder, "n", "--until-end")
	d, err := lane.Open("default", &lane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p, err := pubsub.Publish(d, "n", &pubsub.PublisherConfig{Slots: 16})
	if err == nil {
		err = p.WaitSubscribers(context.Background(), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Process.Signal(syscall.SIGSTOP)
	eventually(t, "it is stopped", func() bool {
		out, _, _ := run(t, "ps", "--folder", folder)
		return strings.Contains(out, "stopped")
	})
	for i := range 1000 {
		if err := p.Publish(context.Background(), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	r.Process.Signal(syscall.SIGCONT)
	p.Close()
	r.wantExit(t, 0, "messages were lost")
	lines, says := printed(t, 0, file)
	lost := 1000 - len(lines)
	if !strings.Contains(says, fmt.Sprintf("the recorder has lost %d messages of \"n\"", lost)) {
		t.Errorf("cat says %q", says)
	}
	if !strings.Contains(r.stderr.String(), fmt.Sprintf("%d messages were lost", lost)) {
		t.Errorf("%d of 1000 are there; it says %s", len(lines), r.stderr.String())
	}
}

// With --all topics that come later are recorded too, from their first message.
func TestRecordAll(t *testing.T) {
	folder := t.TempDir()
	r, file := recorder(t, folder, "--all")
	first := inFolder(t, folder, "pub", "first", "--no-wait")
	subscribed(t, folder, "first", 1)
	first.write(t, "one\n")
	later := inFolder(t, folder, "pub", "later", "--no-wait")
	later.write(t, "two\n")
	subscribed(t, folder, "later", 1)
	later.write(t, "three\n")
	eventually(t, "all is recorded", func() bool {
		out, _, _ := run(t, "cat", file)
		return strings.Count(out, "\n") == 3
	})
	r.Process.Signal(syscall.SIGINT)
	r.wantExit(t, 0, "3 messages")
	lines, says := printed(t, 0, file, "--topics", "later")
	if says != "" || strings.Join(lines, " ") != "two three" {
		t.Errorf("%q, %s", lines, says)
	}
}

// A recording that is cut, or that a byte of is another one, is read as far as it goes, and
// it is said what is wrong. The end of its time is kept to.
func TestDamagedRecordings(t *testing.T) {
	folder := t.TempDir()
	r, file := recorder(t, folder, "n", "--count", "1000")
	pub := inFolder(t, folder, "pub", "n")
	pub.write(t, numbered(1000))
	r.wantExit(t, 0, "1,000 messages")
	if lines, says := printed(t, 0, file); says != "" || len(lines) != 1000 {
		t.Fatalf("%d lines; it says %q", len(lines), says)
	}
	if lines, _ := printed(t, 0, file, "--to", "0"); len(lines) != 1 || lines[0] != "" {
		t.Errorf("%q before the beginning", lines)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "damaged.mcap")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := bytes.Index(whole, []byte("message 500"))
	lines, says := printed(t, 0, damaged(whole[:at]))
	if len(lines) != 500 || !strings.Contains(says, "not finished") {
		t.Errorf("cut before message 500: %d lines; it says %q", len(lines), says)
	}
	changed := bytes.Clone(whole)
	changed[at] = 'M'
	out, says, code := run(t, "cat", damaged(changed))
	if code != 1 || strings.Contains(out, "Message") || !strings.Contains(says, "checksum") {
		t.Errorf("a changed byte: code %d; it says %q", code, says)
	}
	for _, command := range []string{"cat", "replay"} {
		want(t, 1, "not an MCAP file", command, damaged([]byte("no recording")))
		want(t, 1, "not an MCAP file", command, damaged(nil))
		want(t, 1, "it is no file", command, t.TempDir())
		want(t, 3, "no such file", command, filepath.Join(t.TempDir(), "none"))
		want(t, 3, "no topic \"m\" in it", command, file, "--topics", "m")
	}
	want(t, 4, "file exists", "record", "n", "--output", file, "--folder", folder)
}

// When there is no more room, the recorder says so and ends, and what it had written is read.
func TestRecorderWithoutRoom(t *testing.T) {
	if out, err := exec.Command("unshare", "-Urm", "true").CombinedOutput(); err != nil {
		t.Skipf("no mount namespace of one's own: %v: %s", err, out)
	}
	folder := t.TempDir()
	r := startCommand(t, exec.Command("unshare", "-Urm", "sh", "-c", `mount -t tmpfs -o size=1M none "$1"
		"$0" record n --folder "$2" --output "$1/recording.mcap" >&2; echo code $?; "$0" cat "$1/recording.mcap"`, memlane, t.TempDir(), folder))
	pub := inFolder(t, folder, "pub", "n")
	all := numbered(100_000)
	go func() {
		io.WriteString(pub.in.(io.Writer), all)
		pub.in.Close()
	}()
	if line := r.line(t); line != "code 1" {
		t.Error(line)
	}
	n := 0
	for want := range strings.Lines(all) {
		if !r.out.Scan() {
			break
		}
		if n++; r.out.Text()+"\n" != want {
			t.Fatalf("line %d is %q", n, r.out.Text())
		}
	}
	r.wantExit(t, 0, "not finished")
	if !strings.Contains(r.stderr.String(), "no space left on device") || n < 1000 || n > 50_000 {
		t.Errorf("%d lines; it says %s", n, r.stderr.String())
	}
}

// Messages are as far apart as they were, or as the rate says; with --loop they come again.
func TestReplayKeepsTheTime(t *testing.T) {
	folder := t.TempDir()
	r, file := recorder(t, folder, "n", "--until-end")
	pub := inFolder(t, folder, "pub", "n", "--rate", "100")
	pub.write(t, numbered(20))
	pub.in.Close()
	r.wantExit(t, 0, "20 messages")
	lines, _ := printed(t, 0, file, "-o", "json")
	var first, last struct{ Time time.Time }
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &first), json.Unmarshal([]byte(lines[19]), &last)); err != nil {
		t.Fatal(err)
	}
	span := last.Time.Sub(first.Time)
	if half, _ := printed(t, 0, file, "--from", (span / 2).String()); len(half) < 1 || len(half) > 19 || half[len(half)-1] != "message 19" {
		t.Errorf("%q in the second half", half)
	}
	for rate, least := range map[string]time.Duration{"1": span, "0.5x": 2 * span} {
		begun := time.Now()
		want(t, 0, "20 messages", "replay", file, "--no-wait", "--rate", rate, "--folder", folder)
		if took := time.Since(begun); took < least {
			t.Errorf("%s: it took %v; want %v at least", rate, took, least)
		}
	}
	loop := inFolder(t, folder, "replay", file, "--loop", "--rate", "0")
	s := inFolder(t, folder, "sub", "n", "--count", "50")
	for i := range 50 {
		if line := s.line(t); line != fmt.Sprintf("message %d", i%20) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	s.wantExit(t, 0, "")
	loop.Process.Signal(syscall.SIGINT)
	loop.wantExit(t, 0, "messages")
}
