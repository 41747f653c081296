package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/logtopic"
	"github.com/memlane/memlane/pubsub"
)

// published returns what a record is as a message, but for whose it is.
func published(t *testing.T, log func(*slog.Logger)) []byte {
	t.Helper()
	d, err := memlane.Open("test", &memlane.Config{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	h, err := logtopic.NewHandler(d, "logs", &logtopic.Config{Program: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	log(slog.New(h))
	s, err := pubsub.Subscribe(d, "logs", &pubsub.SubscriberConfig{History: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Receive(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(m.Data)
}

// The line of a record is what slog's TextHandler makes of it, behind whose it is.
func TestRecordText(t *testing.T) {
	for _, args := range [][]any{
		{},
		{"a", 1, "b", true, "c", -0.5, "d", "text"},
		{"empty", "", "spaces", "a b", "equal", "a=b", "quote", `a"b`, "back", `a\b`},
		{"control", "a\x1b[31m\n\t\x00\x7f", "languages", "größer 日本", "joined", "a\u202eb\u00a0", "bad", "a\xff"},
		{"key with space", 1, "größe", 2, `q"k`, 3},
		{slog.Group("g", "a", 1, slog.Group("h", "b c", "x")), "after", 2},
		{"program", "mine", "pid", 1, "level", "x", "time", "y", "msg", "z"},
	} {
		log := func(l *slog.Logger) { l.Info("it's a message", args...) }
		var r recordText
		message := published(t, log)
		if err := r.read(message); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		log(slog.New(slog.NewTextHandler(&text, nil)))
		_, want, _ := strings.Cut(strings.TrimSuffix(text.String(), "\n"), " msg=")
		before, got, _ := strings.Cut(string(r.line), " msg=")
		want = strings.ReplaceAll(want, `a\xff`, "a\ufffd") // JSON has nothing else for it
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if _, after, _ := strings.Cut(before, " "); !strings.HasPrefix(before, "time=2") || !strings.HasPrefix(after, "level=INFO program=shop pid=") {
			t.Errorf("it is %q", before)
		}
		level, ok := r.level()
		if at, timed := r.time(); level != slog.LevelInfo || !ok || !timed || time.Since(at).Abs() > time.Hour || !strings.HasPrefix(r.process(1), "shop[") {
			t.Errorf("level %v, at %v, of %s", level, at, r.process(1))
		}
	}
}

// What other programs publish are records too, if it is JSON.
func TestForeignRecords(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "",
		` { "msg" : "a" , "x" : [ 1, "]" , {"y":2} ] , "n":null } `: `msg=a x="[ 1, \"]\" , {\"y\":2} ]" n=null`,
		`{"a":{},"b":{ },"c":{"d":{"e":[]}}}`:                       `a={} b="{ }" c.d.e=[]`,
		`{"a\u0020b":"\u00e9\ud83d\ude00"}`:                         `"a b"=é😀`,
		`{"x":-1.5e3,"y":false}`:                                    "x=-1.5e3 y=false",
		`{"!dropped":"x","msg":"m"}`:                                "msg=m",
	} {
		var r recordText
		if err := r.read([]byte(text)); err != nil || string(r.line) != want {
			t.Errorf("%s is %s, %v; want %s", text, r.line, err, want)
		}
		if r.process(0xab) != "publisher 00000000000000ab" {
			t.Errorf("of %s", r.process(0xab))
		}
	}
	for _, text := range []string{"", " ", "[]", "1", "{", "{}x", "text", `{"a":"` + "\n" + `"}`} {
		if err := new(recordText).read([]byte(text)); err == nil {
			t.Errorf("%q is a record", text)
		}
	}
}

func TestRecordMatches(t *testing.T) {
	const text = `{"level":"WARN","msg":"a b","http":{"status":500,"path":"/x=1"},"ok":true}`
	for want, matches := range map[bool][][]string{
		true:  {{}, {"msg=a b"}, {"http.status=500", "ok=true"}, {"http.path=/x=1"}, {"level=WARN"}},
		false: {{"msg=a"}, {"status=500"}, {"http.status=500", "ok=false"}, {"http=500"}},
	} {
		for _, m := range matches {
			var f matchFlag
			for _, one := range m {
				if err := f.Set(one); err != nil {
					t.Fatal(err)
				}
			}
			r := recordText{matches: f}
			if err := r.read([]byte(text)); err != nil || r.matched() != want {
				t.Errorf("%q: %v, %v", m, r.matched(), err)
			}
		}
	}
}

// A line is bounded, however long the names of groups are that a record has, and however
// many of them are within each other.
func TestHostileRecords(t *testing.T) {
	long := `{"` + strings.Repeat("k", 1<<20) + `":{` + strings.Repeat(`"a":1,`, 1000) + `"b":2}}`
	r := new(recordText)
	if err := r.read([]byte(long)); err == nil || len(r.line) > 2*lineMost {
		t.Errorf("%v, %d bytes", err, len(r.line))
	}
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	if err := r.read([]byte(deep)); err != nil || strings.Count(string(r.line), "a.") != depthMost {
		t.Errorf("%v: %.100s", err, r.line)
	}
}

// Whatever is published, reading it does not panic, and nothing of it steers the terminal.
func FuzzRecordText(f *testing.F) {
	var r recordText
	proctest.Fuzz(f, [][]byte{
		[]byte(`{"time":"2026-01-02T03:04:05Z","level":"INFO","program":"a","pid":1,"msg":"m\u001b\n","g":{"a":[{"b":"]"}],"c":{}},"!dropped":3}`),
		[]byte(` { "a" : "\\\"" , "b" : -1e9 } `), []byte("{\"\u009b\":\"\xff\"}"), []byte("[]"),
	}, func(b []byte) error {
		err := r.read(b)
		var object map[string]any
		if valid := json.Unmarshal(b, &object) == nil && object != nil; valid != (err == nil) {
			return fmt.Errorf("valid is %v: %w", valid, err)
		}
		if text := string(r.line); err == nil && graphic(text) != text {
			return fmt.Errorf("the line is %q", text)
		}
		return nil
	})
}

// printed is a printer of records, and what it prints and says.
func printed() (r *records, out, said *strings.Builder) {
	out, said = &strings.Builder{}, &strings.Builder{}
	l := &logs{sub: sub{stderr: said}}
	l.out = bufio.NewWriterSize(out, 1)
	return &records{topic: &topic{sub: &l.sub, name: "logs"}, logs: l, processes: map[uint64]*logging{}}, out, said
}

// What there is at first is printed in the order of time, but for a process whose clock was
// set back: its records stay in order.
func TestRecordsBegin(t *testing.T) {
	r, out, said := printed()
	for _, m := range []struct {
		publisher uint64
		second    int
		msg       string
	}{{1, 1, "a"}, {1, 5, "d"}, {1, 3, "e"}, {2, 2, "b"}, {2, 4, "c"}, {2, 6, "f"}} {
		text := fmt.Sprintf(`{"time":"2026-01-01T00:00:0%dZ","msg":"%s"}`, m.second, m.msg)
		if err := r.print(pubsub.Message{Publisher: m.publisher, Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() > 0 {
		t.Errorf("too early: %s", out)
	}
	if err := r.idle(); err != nil {
		t.Fatal(err)
	}
	if err := r.print(pubsub.Message{Publisher: 1, Data: []byte(`{"msg":"g"}`)}); err != nil {
		t.Fatal(err)
	}
	r.out.Flush()
	order := ""
	for line := range strings.Lines(out.String()) {
		_, msg, _ := strings.Cut(line, "msg=")
		order += strings.TrimSpace(msg)
	}
	if order != "abcdefg" || said.Len() > 0 {
		t.Errorf("%s; it says %s", order, said)
	}
}

// What there is at first is not kept without a bound.
func TestRecordsBeginBounded(t *testing.T) {
	r, out, _ := printed()
	text := []byte(`{"msg":"` + strings.Repeat("x", earlyMost/8) + `"}`)
	for n := range 20 {
		if err := r.print(pubsub.Message{Publisher: 1, Data: text}); err != nil {
			t.Fatal(err)
		}
		if kept := n < 7; kept != (out.Len() == 0) || kept != (len(r.early) == n+1) {
			t.Fatalf("after %d records %d bytes are printed, %d records are kept", n+1, out.Len(), len(r.early))
		}
	}
}

// Losses are told once, by the name of the process as soon as it is known; without one at
// last. Of what was dropped the difference is told.
func TestRecordsLost(t *testing.T) {
	r, _, said := printed()
	says := func(want string) {
		t.Helper()
		if got := said.String(); got != want {
			t.Errorf("it says %q; want %q", got, want)
		}
		said.Reset()
	}
	record := func(publisher uint64, dropped int) {
		t.Helper()
		text := fmt.Sprintf(`{"program":"shop","pid":%d,"msg":"m","!dropped":%d}`, publisher, dropped)
		if err := r.print(pubsub.Message{Publisher: publisher, Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	r.lost(&pubsub.LaggedError{Lost: 5, Publisher: 1})
	r.lost(&pubsub.LaggedError{Lost: 6, Publisher: 2})
	says("")
	record(1, 3)
	says("memlane: lost 5 records of shop[1]: too slow\nmemlane: shop[1] dropped 3 records, which it could not publish\n")
	record(1, 3)
	says("")
	record(1, 10)
	says("memlane: shop[1] dropped 7 records, which it could not publish\n")
	r.lost(&pubsub.LaggedError{Lost: 7, Publisher: 1})
	says("memlane: lost 7 records of shop[1]: too slow\n")
	if err := r.idle(); err != nil {
		t.Fatal(err)
	}
	says("memlane: lost 6 records of publisher 0000000000000002: too slow\n")
	record(2, 0)
	says("")
	for range unnamedMost {
		r.lost(&pubsub.LaggedError{Lost: 1, Publisher: 3})
	}
	says(strings.Repeat("memlane: lost 1 records of publisher 0000000000000003: too slow\n", unnamedMost))
}
