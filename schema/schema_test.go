package schema_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/schema"
)

// point, and all, which has everything that a value can have.
type (
	point struct{ X, Y float32 }
	all   struct {
		U8   uint8
		I16  int16
		U16  uint16
		I32  int32
		U32  uint32
		_    uint32
		I64  int64
		U64  uint64
		F32  float32
		I8   int8
		F64  float64
		Int  int
		C    complex64
		Text [3]byte
		None struct{}
		Grid [2][2]uint16
		Path [2]point
	}
)

func of[T any](t testing.TB) *schema.Schema {
	t.Helper()
	s, err := schema.Of[T]()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s, err := schema.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The text is a format: programs in other languages read it, and its hash is the same in
// all versions.
func TestText(t *testing.T) {
	const want = `{"size":104,"fields":[{"name":"U8","offset":0,"type":"u8"},{"name":"I16","offset":2,"type":"i16"},` +
		`{"name":"U16","offset":4,"type":"u16"},{"name":"I32","offset":8,"type":"i32"},{"name":"U32","offset":12,"type":"u32"},` +
		`{"name":"I64","offset":24,"type":"i64"},{"name":"U64","offset":32,"type":"u64"},{"name":"F32","offset":40,"type":"f32"},` +
		`{"name":"I8","offset":44,"type":"i8"},{"name":"F64","offset":48,"type":"f64"},{"name":"Int","offset":56,"type":"i64"},` +
		`{"name":"C","offset":64,"type":{"array":2,"of":"f32"}},{"name":"Text","offset":72,"type":{"array":3,"of":"u8"}},` +
		`{"name":"Grid","offset":76,"type":{"array":2,"of":{"array":2,"of":"u16"}}},` +
		`{"name":"Path","offset":84,"type":{"array":2,"of":{"size":8,"fields":[{"name":"X","offset":0,"type":"f32"},{"name":"Y","offset":4,"type":"f32"}]}}}]}`
	s := of[all](t)
	if s.String() != want {
		t.Errorf("%s\nwant %s", s, want)
	}
	if s.Size() != int(reflect.TypeFor[all]().Size()) {
		t.Errorf("%d bytes", s.Size())
	}
	if got, want := of[uint64](t).String(), `"u64"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	hash := of[uint64](t).Hash()
	if got, want := hex.EncodeToString(hash[:]), "749cbc8e58f6a25732ac3e9d0a2de346f5007cc1c982e6973d198ad7e8bc858b"; got != want {
		t.Errorf("the hash of %s is %s, want %s", of[uint64](t), got, want)
	}
	if got := of[uint64](t).ID(); got != hex.EncodeToString(hash[:8]) {
		t.Errorf("the ID is %s, of %x", got, hash)
	}
}

// What counts for two types to be the same, and what does not.
func TestWhatCounts(t *testing.T) {
	type other struct {
		X, Y float32
	}
	base := of[point](t)
	for name, s := range map[string]*schema.Schema{
		"another name": of[other](t),
		"fields of no bytes": of[struct {
			None [0]uint64
			X, Y float32
		}](t),
		"written by hand": parse(t, ` {"fields": [ {"type":"f32","name":"X","offset":0}, {"offset":4,"name":"\u0059","type":"f32"} ], "size" : 8} `),
	} {
		if s.String() != base.String() || s.Hash() != base.Hash() || len(schema.Differences(base, s)) > 0 {
			t.Errorf("%s: %s differs from %s", name, s, base)
		}
	}
	if a, b := of[complex64](t), of[[2]float32](t); a.Hash() != b.Hash() {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := of[int](t), of[int64](t); a.Hash() != b.Hash() {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := of[struct{ A, _ uint32 }](t), parse(t, `{"size":8,"fields":[{"name":"A","offset":0,"type":"u32"}]}`); a.Hash() != b.Hash() {
		t.Errorf("%s and %s", a, b)
	}
}

func TestDifferences(t *testing.T) {
	type deep struct {
		Tick struct {
			Price  float64
			Volume uint32
		}
		Path [3]point
	}
	type otherDeep struct {
		Tick struct {
			Price  float64
			Volume int32
		}
		Path [3]struct{ X, Z float32 }
	}
	for _, c := range []struct {
		a, b *schema.Schema
		want string
	}{
		{of[point](t), of[struct{ X, Y float64 }](t), "[{X f32 at 0 f64 at 0} {Y f32 at 4 f64 at 8}]"},
		{of[point](t), of[struct{ Y, X float32 }](t), "[{X f32 at 0 f32 at 4} {Y f32 at 4 f32 at 0}]"},
		{of[point](t), of[struct{ X float32 }](t), "[{Y f32 at 4 }]"},
		{of[struct{ X float32 }](t), of[point](t), "[{Y  f32 at 4}]"},
		{of[point](t), of[struct{ X, y float32 }](t), "[{Y f32 at 4 } {y  f32 at 4}]"},
		{of[point](t), of[struct{ X, Y, _ float32 }](t), "[{ struct of 8 bytes struct of 12 bytes}]"},
		{of[point](t), of[uint64](t), "[{ struct of 8 bytes u64}]"},
		{of[uint32](t), of[float32](t), "[{ u32 f32}]"},
		{of[[2]uint32](t), of[[3]uint32](t), "[{ [2]u32 [3]u32}]"},
		{of[[2][4]uint32](t), of[[2][3]uint32](t), "[{[] [4]u32 [3]u32}]"},
		{of[[2]point](t), of[[2]struct{ X, Y uint32 }](t), "[{[].X f32 at 0 u32 at 0} {[].Y f32 at 4 u32 at 4}]"},
		{of[deep](t), of[otherDeep](t), "[{Tick.Volume u32 at 8 i32 at 8} {Path[].Y f32 at 4 } {Path[].Z  f32 at 4}]"},
		{of[struct{ P [2]point }](t), of[struct {
			N uint32
			P [2]struct{ X uint32 }
		}](t), "[{P [2]struct of 8 bytes at 0 [2]struct of 4 bytes at 4} {P[].X f32 at 0 u32 at 0} {P[].Y f32 at 4 } {N  u32 at 0}]"},
	} {
		if got := fmt.Sprint(schema.Differences(c.a, c.b)); got != c.want {
			t.Errorf("%s and %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// f10 has ten fields, or a hundred, or a thousand.
type f10[T any] struct{ A, B, C, D, E, F, G, H, I, J T }

func TestOfRefuses(t *testing.T) {
	_, err := schema.Of[struct{ P *int }]()
	if !errors.Is(err, mmap.ErrType) || !strings.Contains(err.Error(), "field .P") {
		t.Error(err)
	}
	if _, err := schema.Of[struct{}](); !errors.Is(err, mmap.ErrType) {
		t.Error(err)
	}
	of[f10[f10[f10[uint8]]]](t)
	if _, err := schema.Of[f10[f10[f10[f10[uint8]]]]](); !errors.Is(err, schema.ErrInvalid) || !strings.Contains(err.Error(), "at most 65536") {
		t.Error(err)
	}
	type a8[T any] [1][1][1][1][1][1][1][1]T
	of[a8[a8[a8[a8[uint8]]]]](t)
	if _, err := schema.Of[[1]a8[a8[a8[a8[uint8]]]]](); !errors.Is(err, schema.ErrInvalid) || !strings.Contains(err.Error(), "more than 32 arrays") {
		t.Error(err)
	}
	of[[1 << 40]uint8](t)
	if _, err := schema.Of[[1<<40 + 1]uint8](); !errors.Is(err, schema.ErrInvalid) || !strings.Contains(err.Error(), "want 1 to 1099511627776") {
		t.Error(err)
	}
}

// Whatever is no schema is refused, and the error says where.
func TestParseRefuses(t *testing.T) {
	fields := func(s string) string { return `{"size":8,"fields":[` + s + `]}` }
	for text, want := range map[string]string{
		``:                                    "EOF",
		`"u8`:                                 "unexpected EOF",
		`"u8" 1`:                              "something behind it",
		`"u8"]`:                               "something behind it",
		`8`:                                   "a string or an object",
		`null`:                                "a string or an object",
		`["u8"]`:                              "a string or an object",
		`"bool"`:                              `type "bool"`,
		`""`:                                  `type ""`,
		`{}`:                                  `"size" is ""`,
		`"` + strings.Repeat("x", 1000) + `"`: `type "` + strings.Repeat("x", 40) + `"`,
		`{"array":0,"of":"u8"}`:               "an array of 0",
		`{"array":-1,"of":"u8"}`:              `"array" is "-1"`,
		`{"array":1.5,"of":"u8"}`:             `"array" is "1.5"`,
		`{"array":1e3,"of":"u8"}`:             `"array" is "1e3"`,
		`{"array":"2","of":"u8"}`:             `"array" is ""`,
		`{"array":99999999999999999999,"of":"u8"}`:                                                         `"array" is "99999999999999999999"`,
		`{"array":1099511627776,"of":"u16"}`:                                                               "at most 1099511627776 bytes",
		`{"array":1099511627776,"of":{"array":1099511627776,"of":"u8"}}`:                                   "at most 1099511627776 bytes",
		`{"array":1,"of":"u8","more":1}`:                                                                   "keys beside",
		`{"array":1,"of":"no"}`:                                                                            `of an array: type "no"`,
		`{"array":1,"of":{"size":0,"fields":[]}}`:                                                          "0 bytes; want 1",
		`{"size":0,"fields":[]}`:                                                                           "0 bytes; want 1",
		`{"size":8}`:                                                                                       `keys beside "size"`,
		`{"size":8,"fields":{}}`:                                                                           "which are a list",
		`{"size":1099511627777,"fields":[]}`:                                                               `"size" is "1099511627777"`,
		fields(`1`):                                                                                        "a name, an offset and a type",
		fields(`{"offset":0,"type":"u8"}`):                                                                 "a name, an offset and a type",
		fields(`{"name":"a","offset":0}`):                                                                  "keys beside",
		fields(`{"name":"a","offset":0,"type":"u8","more":0}`):                                             "keys beside",
		fields(`{"name":"a","type":"u8","more":0}`):                                                        `"offset" is ""`,
		fields(`{"name":"a","offset":0,"type":"v8"}`):                                                      `field "a": type "v8"`,
		fields(`{"name":"","offset":0,"type":"u8"}`):                                                       `field "": a name`,
		fields(`{"name":"_","offset":0,"type":"u8"}`):                                                      `field "_": a name`,
		fields(`{"name":"1a","offset":0,"type":"u8"}`):                                                     `field "1a": a name`,
		fields(`{"name":"a b","offset":0,"type":"u8"}`):                                                    `field "a b": a name`,
		fields(`{"name":"a\n","offset":0,"type":"u8"}`):                                                    `field "a\n": a name`,
		fields("{\"name\":\"a\xff\",\"offset\":0,\"type\":\"u8\"}"):                                        "a name",
		fields(`{"name":"` + strings.Repeat("a", 256) + `","offset":0,"type":"u8"}`):                       "at most 255 bytes",
		fields(`{"name":"a","offset":8,"type":"u8"}`):                                                      "field a: 1 bytes at 8, where from 0 to 8 is free",
		fields(`{"name":"a","offset":1,"type":"u64"}`):                                                     "field a: 8 bytes at 1",
		fields(`{"name":"a","offset":0,"type":{"array":9,"of":"u8"}}`):                                     "field a: 9 bytes at 0",
		fields(`{"name":"a","offset":0,"type":"u32"},{"name":"b","offset":3,"type":"u8"}`):                 "field b: 1 bytes at 3, where from 4 to 8 is free",
		fields(`{"name":"a","offset":4,"type":"u32"},{"name":"b","offset":0,"type":"u8"}`):                 "field b: 1 bytes at 0",
		fields(`{"name":"a","offset":0,"type":"u32"},{"name":"a","offset":4,"type":"u8"}`):                 "field a: there are two",
		fields(`{"name":"a","offset":0,"type":{"size":1,"fields":[{"name":"b","offset":1,"type":"u8"}]}}`): "field a: field b: 1 bytes at 1",
		strings.Repeat(`{"array":1,"of":`, 33) + `"u8"` + strings.Repeat(`}`, 33):                          "more than 32 arrays",
		strings.Repeat(`{"array":1,"of":`, 3000) + `"no"` + strings.Repeat(`}`, 3000):                      "more than 32 arrays",
		strings.Repeat(`[`, 20000):                                                                         "exceeded max depth",
		strings.Repeat(" ", schema.TextMost-3) + `"u8"`:                                                    "more than 65536 bytes",
	} {
		s, err := schema.Parse([]byte(text))
		if s != nil || !errors.Is(err, schema.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v, %v; want %s", text, s, err, want)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%.100s: an error of %d bytes", text, len(err.Error()))
		}
	}
	parse(t, strings.Repeat(" ", schema.TextMost-4)+`"u8"`)
	parse(t, fields(`{"name":"`+strings.Repeat("ä", 127)+`","offset":0,"type":"u8"},{"name":"_b2","offset":1,"type":"u32"}`)) // packed
}

// Messages are what encoding/json makes of the value, of which NaN and infinity are none.
func TestAppendJSON(t *testing.T) {
	type value struct {
		U8  uint8
		I16 int16
		U16 uint16
		I32 int32
		U32 uint32
		_   uint32
		I64 int64
		U64 uint64
		F32 float32
		I8  int8
		F64 float64
		B   [5]byte
		G   [2][3]uint16
		P   [2]point
	}
	s := of[value](t)
	check := func(v value) {
		t.Helper()
		b, err := mmap.BytesOf(&v)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.AppendJSON([]byte("before "), b)
		// encoding/json writes 1e-09 as 1e-9.
		if string(got) != "before "+string(want) && err == nil {
			var a, b any
			if json.Unmarshal(got[7:], &a) != nil || json.Unmarshal(want, &b) != nil || !reflect.DeepEqual(a, b) {
				err = errors.New("another value")
			}
		}
		if err != nil {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	check(value{})
	check(value{255, -1, 65535, math.MinInt32, math.MaxUint32, 7, math.MinInt64, math.MaxUint64, 0.1, -128, 0.1, [5]byte{1, 2, 3, 4, 255}, [2][3]uint16{{1, 2, 3}, {4, 5, 6}}, [2]point{{1, 2}, {3, 4}}})
	for _, f := range []float64{1e20, 1e21, 1e22, 1e-6, 1e-7, 123456789, 5e-324, math.MaxFloat64, -1.5} {
		check(value{F64: f, F32: float32(max(min(f, math.MaxFloat32), -math.MaxFloat32))})
	}
	type specials struct {
		A float64
		B [4]float32
	}
	special := specials{math.Inf(-1), [4]float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32}}
	b, err := mmap.BytesOf(&special)
	if err != nil {
		t.Fatal(err)
	}
	got, err := of[specials](t).AppendJSON(nil, b)
	if want := `{"A":"-Infinity","B":["NaN","Infinity",-0,1e-45]}`; string(got) != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	big := uint64(1<<53 + 1)
	b, err = mmap.BytesOf(&big)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := of[uint64](t).AppendJSON(nil, b); string(got) != "9007199254740993" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	for _, n := range []int{0, s.Size() - 1, s.Size() + 1} {
		if got, err := s.AppendJSON([]byte("before"), make([]byte, n)); !errors.Is(err, schema.ErrSize) || string(got) != "before" {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// A schema that has been made to take all memory does not.
func TestAppendJSONIsBounded(t *testing.T) {
	deep := `"u8"`
	for range 31 {
		deep = `{"size":1,"fields":[{"name":"` + strings.Repeat("a", 255) + `","offset":0,"type":` + deep + `}]}`
	}
	s := parse(t, `{"array":1000000,"of":`+deep+`}`)
	got, err := s.AppendJSON([]byte("before"), make([]byte, s.Size()))
	if !errors.Is(err, schema.ErrTooLarge) || string(got) != "before" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Whatever somebody says is his schema is refused, or is one within bounds: its text is
// read as the same, it differs from another in something that can be said, and messages
// come out as JSON.
func FuzzSchema(f *testing.F) {
	var seeds [][]byte
	others := []*schema.Schema{of[all](f), of[point](f), of[uint64](f), of[[2]point](f), of[[3][2]int8](f), of[struct{ A, _ uint32 }](f)}
	for _, s := range others {
		seeds = append(seeds, []byte(s.String()))
	}
	message := make([]byte, 1<<12)
	for i := range message {
		message[i] = byte(i * 37)
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		s, err := schema.Parse(b)
		if errors.Is(err, schema.ErrInvalid) {
			return nil
		}
		if err != nil {
			return err
		}
		again, err := schema.Parse([]byte(s.String()))
		if err != nil || again.String() != s.String() || again.Hash() != s.Hash() || s.Size() < 1 {
			return fmt.Errorf("%s is read as %v, %w", s, again, err)
		}
		for _, other := range append(others, again) {
			if n := len(schema.Differences(s, other)); (n == 0) != (s.Hash() == other.Hash()) {
				return fmt.Errorf("%d differences of %s and %s", n, s, other)
			}
		}
		if s.Size() > len(message) {
			return nil
		}
		if text, err := s.AppendJSON(nil, message[:s.Size()]); err != nil || !json.Valid(text) {
			return fmt.Errorf("%s as JSON: %s, %w", s, text, err)
		}
		return nil
	})
}
