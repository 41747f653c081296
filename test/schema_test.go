package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	lane "github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
)

// order is the struct of testdata/peers/schema.c.
type order struct {
	Kind   uint8
	Price  float64
	Change [3]int16
	Tick   [2]struct {
		Number uint32
		Time   int64
	}
	Weight float32
}

const orderJSON = `{"Kind":200,"Price":52.5,"Change":[-1,0,32767],"Tick":[{"Number":4000000000,"Time":-9223372036854775808},{"Number":0,"Time":9007199254740993}],"Weight":0.1}`

// A C program says what its struct is, with no code made for it, and that is what Go says of
// its own; what it has written is decoded here and by a Python program.
func TestSchemaWithCAndPython(t *testing.T) {
	program := compile(t, "schema")
	s, err := schema.Of[order]()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := schema.Parse([]byte(command(t, program, "text")))
	if err != nil {
		t.Fatal(err)
	}
	if d := schema.Differences(s, theirs); len(d) > 0 || s.Hash() != theirs.Hash() {
		t.Errorf("C's is %s, %v", theirs, d)
	}
	message := []byte(command(t, program, "message"))
	got, err := s.AppendJSON(nil, message)
	if err != nil || string(got) != orderJSON {
		t.Errorf("%s, %v", got, err)
	}
	decode := exec.Command("python3", "testdata/peers/decode.py", s.String())
	decode.Stdin = bytes.NewReader(message)
	out, err := decode.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	values := func(text []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		delete(v.(map[string]any), "Weight") // which Python shows as float64
		return v
	}
	if a, b := values(out), values([]byte(orderJSON)); !reflect.DeepEqual(a, b) {
		t.Errorf("Python decodes %s", out)
	}
}

// The page about schemas has the program that the test runs.
func TestSchemaPageHasTheProgram(t *testing.T) {
	page, err := os.ReadFile("../spec/schema.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("testdata/peers/decode.py")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```python\n"+string(program)+"```\n") {
		t.Error("spec/schema.md does not show decode.py as it is")
	}
}

// Sub prints values as JSON, by the schema of each publisher; what has none as it is, and
// what is no value of its publisher's schema not at all.
func TestSubJSON(t *testing.T) {
	folder := t.TempDir()
	sub := inFolder(t, folder, "sub", "orders", "--json", "--count", "5")
	d, err := lane.Open("default", &lane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	type trade struct {
		Price  float64
		Volume uint64
	}
	trades, err := pubsub.PublishOf[trade](d, "orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := pubsub.PublishOf[uint32](d, "orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pubsub.Publish(d, "orders", &pubsub.PublisherConfig{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Of[trade]()
	if err != nil {
		t.Fatal(err)
	}
	broken, err := pubsub.Publish(d, "orders", &pubsub.PublisherConfig{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []func() error{
		func() error { return trades.WaitSubscribers(t.Context(), 1) },
		func() error { return numbers.WaitSubscribers(t.Context(), 1) },
		func() error { return text.WaitSubscribers(t.Context(), 1) },
		func() error { return broken.WaitSubscribers(t.Context(), 1) },
	} {
		if err := wait(); err != nil {
			t.Fatal(err)
		}
	}
	info, _, _ := run(t, "info", "orders", "--folder", folder)
	for _, want := range []string{"have schema " + s.ID() + "\n    " + s.String() + "\n", "are text/plain\n"} {
		if !strings.Contains(info, want) {
			t.Errorf("no %q in\n%s", want, info)
		}
	}
	number := uint32(7)
	for _, c := range []struct {
		publish func() error
		want    string // "": it is not printed
	}{
		{func() error { return trades.Publish(t.Context(), &trade{52.5, 1<<64 - 1}) }, `{"Price":52.5,"Volume":18446744073709551615}`},
		{func() error { return broken.Publish(t.Context(), []byte("short")) }, ""},
		{func() error { return numbers.Publish(t.Context(), &number) }, `7`},
		{func() error { return text.Publish(t.Context(), []byte("one espresso")) }, `one espresso`},
		{func() error { return broken.Publish(t.Context(), make([]byte, 16)) }, `{"Price":0,"Volume":0}`},
		{func() error { return trades.Publish(t.Context(), &trade{-1, 0}) }, `{"Price":-1,"Volume":0}`},
	} {
		if err := c.publish(); err != nil {
			t.Fatal(err)
		}
		if c.want == "" {
			continue
		}
		if got := sub.line(t); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	sub.wantExit(t, 0, fmt.Sprintf("of \"orders\" is not printed: schema: decode: not of this schema: a message of 5 bytes, and %s has 16", s.ID()))
	if _, stderr, code := run(t, "sub", "orders", "--json", "--raw", "--folder", folder); code != 2 || !strings.Contains(stderr, "one of them") {
		t.Errorf("code %d: %s", code, stderr)
	}
}
