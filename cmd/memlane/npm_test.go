//go:build npm

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/memlane/memlane/cmd/memlane/internal/mcap"
	"github.com/memlane/memlane/schema"
)

var packages = flag.String("npm", "", "the folder in which npm has installed @mcap/core")

// Values in a recording are decoded by packages for ROS 1, which know nothing of memlane, as
// here.
func TestNPMDecodesValues(t *testing.T) {
	type inner struct {
		Small uint8
		Large int64
	}
	type value struct {
		A      uint8
		B      float64
		C      [2]inner
		Matrix [3][2]int16
		D      float32
		E      uint64
		F      [3]uint8
	}
	s, err := schema.Of[value]()
	if err != nil {
		t.Fatal(err)
	}
	text, ok := rosMessage(s)
	if !ok {
		t.Fatal("not to be described")
	}
	var file bytes.Buffer
	w, err := mcap.NewWriter(&file, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.AddSchema("memlane/S"+s.ID(), "ros1msg", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	channel, err := w.AddChannel(mcap.Channel{SchemaID: id, Topic: "values", MessageEncoding: "ros1"})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 100 {
		v := value{uint8(i), 1 / float64(i+1), [2]inner{{uint8(i), math.MinInt64}, {7, int64(i) << 40}}, [3][2]int16{{1, 2}, {3, 4}, {5, int16(-i)}},
			float32(i) / 4, math.MaxUint64 - uint64(i), [3]uint8{1, 2, uint8(i)}}
		var fields bytes.Buffer
		if err := binary.Write(&fields, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
		data := placed(s, fields.Bytes())
		if err := w.Write(&mcap.Message{Channel: channel, LogTime: uint64(i), Data: data}); err != nil {
			t.Fatal(err)
		}
		decoded, err := s.AppendJSON(nil, data)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, plain(t, decoded))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "values.mcap")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("internal/mcap/testdata/read.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script, path)
	cmd.Dir, cmd.Stderr = *packages, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Messages []struct{ Values json.RawMessage }
	}
	if err := json.Unmarshal(out, &got); err != nil || len(got.Messages) != len(want) {
		t.Fatal(err, len(got.Messages))
	}
	for i, m := range got.Messages {
		if is := plain(t, m.Values); is != want[i] {
			t.Fatalf("message %d: %s; want %s", i, is, want[i])
		}
	}
}

// placed puts fields, which are one directly behind the other, where the schema has them.
func placed(s *schema.Schema, fields []byte) []byte {
	var l layout
	if err := json.Unmarshal([]byte(s.String()), &l); err != nil {
		panic(err)
	}
	message := bytes.Repeat([]byte{0xee}, s.Size())
	var put func(l *layout, at int)
	put = func(l *layout, at int) {
		switch {
		case l.number != "":
			n := copy(message[at:at+l.bytes()], fields)
			fields = fields[n:]
		case l.Of != nil:
			for i := range l.Count {
				put(l.Of, at+i*l.Of.bytes())
			}
		default:
			for _, f := range l.Fields {
				put(f.Type, at+f.Offset)
			}
		}
	}
	put(&l, 0)
	return message
}

// plain writes a value without padding, and all numbers alike; a struct that is there for an
// array of arrays is that.
func plain(t *testing.T, text []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var clean func(any) any
	clean = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				if strings.HasPrefix(k, "padding") {
					delete(v, k)
					continue
				}
				v[k] = clean(v[k])
			}
			if inner, is := v["value"]; is && len(v) == 1 {
				return inner
			}
		case []any:
			for i := range v {
				v[i] = clean(v[i])
			}
		case json.Number:
			if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
				return v.String()
			}
			f, err := v.Float64()
			if err != nil || f == math.Trunc(f) {
				return v.String()
			}
			return fmt.Sprint(f)
		}
		return v
	}
	out, err := json.Marshal(clean(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
