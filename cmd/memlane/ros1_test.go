package main

import (
	"strings"
	"testing"

	"github.com/memlane/memlane/schema"
)

// What lies between fields is a field, and arrays of arrays are arrays of structs.
func TestROSMessage(t *testing.T) {
	type inner struct {
		Small uint8
		Large int32
	}
	s, err := schema.Of[struct {
		Padding1 int8
		padding1 uint16
		Two      [2]inner
		Matrix   [3][2]float32
		More     [2]float64
		One      inner
		Last     int16
	}]()
	if err != nil {
		t.Fatal(err)
	}
	got, ok := rosMessage(s)
	rule := strings.Repeat("=", 80) + "\n"
	want := `int8 Padding1
uint8[1] padding2
uint16 padding1
memlane/T1[2] Two
memlane/T2[3] Matrix
uint8[4] padding3
float64[2] More
memlane/T1 One
int16 Last
uint8[6] padding4
` + rule + `MSG: memlane/T1
uint8 Small
uint8[3] padding1
int32 Large
` + rule + `MSG: memlane/T2
float32[2] value
`
	if !ok || got != want {
		t.Errorf("%v: %s", ok, got)
	}
	for text, want := range map[string]string{
		`"u64"`:                  "uint64 value\n",
		`{"array":3,"of":"i8"}`:  "int8[3] value\n",
		`{"size":5,"fields":[]}`: "uint8[5] padding1\n",
		`{"size":1,"fields":[{"name":"größe","offset":0,"type":"u8"}]}`: "",
		`{"size":1,"fields":[{"name":"_a","offset":0,"type":"u8"}]}`:    "",
	} {
		s, err := schema.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := rosMessage(s); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %v, %q; want %q", text, ok, got, want)
		}
	}
}
