package format_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/memlane/memlane/internal/format"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/schema"
)

type (
	trade      struct{ Price, Volume float64 }
	otherTrade struct{ Price float32 }
)

// formats are some that all differ.
func formats(t testing.TB) []ring.Format {
	t.Helper()
	a, err := schema.Of[trade]()
	if err != nil {
		t.Fatal(err)
	}
	b, err := schema.Of[otherTrade]()
	if err != nil {
		t.Fatal(err)
	}
	var list []ring.Format
	for _, c := range []struct {
		s           *schema.Schema
		contentType string
	}{{a, ""}, {b, ""}, {nil, "application/json"}, {nil, "text/csv; header=present"}} {
		f, err := format.Of(c.s, c.contentType)
		if err != nil {
			t.Fatal(err)
		}
		if s, contentType := format.Decode(f); contentType != c.contentType || (s == nil) != (c.s == nil) || s != nil && s.Hash() != c.s.Hash() {
			t.Errorf("%+v is decoded as %v, %q", f, s, contentType)
		}
		list = append(list, f)
	}
	return list
}

func TestOf(t *testing.T) {
	if f, err := format.Of(nil, ""); f != (ring.Format{}) || err != nil {
		t.Error(f, err)
	}
	for given, want := range map[string]string{
		"application/json":    "application/json",
		"Application/JSON":    "application/json",
		"a/b;x=1;Y=Two":       "a/b; x=1; y=Two",
		"a/b ; y=Two; x=1;\n": "a/b; x=1; y=Two",
		"application/vnd.shop.order+json; version=\"2 or 3\"": `application/vnd.shop.order+json; version="2 or 3"`,
	} {
		if f, err := format.Of(nil, given); f != (ring.Format{Kind: ring.FormatContentType, Text: want}) || err != nil {
			t.Errorf("%q is %+v, %v; want %q", given, f, err, want)
		}
	}
	for _, given := range []string{"json", "a/", "/b", "a/b/c", "a b/c", "a/b; x", "a/b; x=1; x=2", "a/\xff", " ", "a/" + strings.Repeat("b", 999), "a/b; x=\"" + strings.Repeat("ä", 400) + "\""} {
		if f, err := format.Of(nil, given); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%q is %+v, %v", given, f, err)
		}
	}
}

func TestDifference(t *testing.T) {
	list := formats(t)
	for i, c := range []struct {
		subscriber ring.Format
		want       string
	}{
		{list[1], "field Price: the publisher has f64 at 0, the subscriber f32 at 0; field Volume: the publisher has f64 at 8, the subscriber none"},
		{list[2], "the publisher's messages are values of 16 bytes (schema " + id(list[0]) + "), and the subscriber wants application/json"},
		{ring.Format{Kind: ring.FormatSchema}, "the publisher's messages are values of 16 bytes (schema " + id(list[0]) + "), and the subscriber wants another format, which it does not show"},
		{ring.Format{Kind: ring.FormatSchema, Text: `"u128"`}, `the subscriber wants values of a schema that cannot be read (schema: parse 6 bytes: not a schema: type "u128"; want one of u8 to u64, i8 to i64, f32, f64)`},
		{ring.Format{Kind: ring.FormatContentType, Text: "\x1b[2J"}, "the subscriber wants a content type that cannot be read"},
		{ring.Format{Kind: ring.FormatSchema, Text: " " + list[0].Text}, ""},
	} {
		if got := format.Difference(list[0], c.subscriber); got != c.want && (c.want == "" || !strings.HasSuffix(got, c.want)) {
			t.Errorf("%d: %s; want %s", i, got, c.want)
		}
	}
	if got := format.Difference(list[2], ring.Format{Kind: ring.FormatContentType, Text: "APPLICATION/json"}); got != "" {
		t.Error(got)
	}
}

func id(f ring.Format) string {
	s, _ := format.Decode(f)
	return s.ID()
}

// Many differences, with long names, are not all told.
func TestDifferenceIsBounded(t *testing.T) {
	var fields []string
	for i := range 200 {
		fields = append(fields, fmt.Sprintf(`{"name":"a%s%d","offset":%d,"type":"u8"}`, strings.Repeat("b", 200), i, i))
	}
	f := ring.Format{Kind: ring.FormatSchema, Text: `{"size":200,"fields":[` + strings.Join(fields, ",") + `]}`}
	got := format.Difference(formats(t)[0], f)
	if !strings.HasPrefix(got, "field Price: the publisher has f64 at 0, the subscriber none; field Volume: ") || !strings.HasSuffix(got, " more differences") || len(got) > 2100 {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// What somebody else says of his messages is told in a few words that fit into a message,
// and that no terminal takes for commands, or is nothing.
func FuzzFormat(f *testing.F) {
	list := formats(f)
	var seeds [][]byte
	for _, one := range list {
		seeds = append(seeds, append([]byte{byte(one.Kind)}, one.Text...))
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		theirs := ring.Format{Kind: ring.FormatKind(b[0] % 3), Text: string(b[1:])}
		s, contentType := format.Decode(theirs)
		if s != nil && contentType != "" || !printable(contentType) {
			return fmt.Errorf("%q is decoded as %v and %q", theirs.Text, s, contentType)
		}
		same := 0
		for _, one := range list {
			why := format.Difference(one, theirs)
			if why == "" {
				same++
			}
			if len(why) > 3000 || !utf8.ValidString(why) || !printable(why) {
				return fmt.Errorf("%d bytes: %q", len(why), why)
			}
		}
		if same > 1 {
			return fmt.Errorf("%q is as %d that differ", theirs.Text, same)
		}
		return nil
	})
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}
