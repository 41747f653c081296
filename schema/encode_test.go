package schema_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/schema"
)

type leg struct {
	Side  [2]int16
	Price float64
}

type order struct {
	ID    uint64
	Legs  [2]leg
	Ratio float32
	Count int8
}

func ofOrder(t testing.TB) *schema.Schema {
	t.Helper()
	s, err := schema.Of[order]()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is written as JSON is read as the same message, but for bytes that are in no field.
func TestThereAndBack(t *testing.T) {
	s := ofOrder(t)
	o := order{math.MaxUint64, [2]leg{{[2]int16{-1, math.MinInt16}, math.Inf(-1)}, {[2]int16{7, 8}, 0.1}}, float32(math.NaN()), -128}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, o.ID); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, s.Size())
	copy(message, b.Bytes())
	text := `{"ID":18446744073709551615,"Legs":[{"Side":[-1,-32768],"Price":"-Infinity"},{"Side":[7,8],"Price":0.1}],"Ratio":"NaN","Count":-128}`
	got, err := s.AppendMessage([]byte("before"), []byte(text))
	if err != nil || string(got[:6]) != "before" || len(got) != 6+s.Size() {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if !bytes.Equal(got[6:14], message[:8]) {
		t.Errorf("%x", got[6:14])
	}
	back, err := s.AppendJSON(nil, got[6:])
	if err != nil || string(back) != text {
		t.Errorf("%s, %v; want %s", back, err, text)
	}
	// People leave fields out, and have them in another order.
	got, err = s.AppendMessage(nil, []byte(" {\n\"Count\": 5, \"ID\": 3 } "))
	if err != nil {
		t.Fatal(err)
	}
	if back, err := s.AppendJSON(nil, got); err != nil || string(back) != `{"ID":3,"Legs":[{"Side":[0,0],"Price":0},{"Side":[0,0],"Price":0}],"Ratio":0,"Count":5}` {
		t.Errorf("%s, %v", back, err)
	}
}

// What is no value of the schema is an error that says where.
func TestNoValue(t *testing.T) {
	s := ofOrder(t)
	for text, want := range map[string]string{
		``:                                 "the value: EOF",
		`7`:                                "the value: it is an object",
		`{"ID":1} {}`:                      "something follows",
		`{"ID":-1}`:                        "ID: -1 is no u64",
		`{"ID":1.5}`:                       "ID: 1.5 is no u64",
		`{"ID":"1"}`:                       "ID: it is a number, of type u64",
		`{"Count":128}`:                    "Count: 128 is no i8",
		`{"Ratio":1e300}`:                  "Ratio: 1e300 is no f32",
		`{"Ratio":"nan"}`:                  "Ratio: it is a number",
		`{"ID":1,"ID":2}`:                  "ID: it is there twice",
		`{"id":1}`:                         "id: there is no such field",
		`{"Legs":[]}`:                      "Legs: it has 0 values, and not 2",
		`{"Legs":[{},{},{}]}`:              "Legs: it has more than 2",
		`{"Legs":{}}`:                      "Legs: it is a list of 2",
		`{"Legs":[{},{"Side":[1,70000]}]}`: "Legs[1].Side[1]: 70000 is no i16",
		`{"Legs":[{},{"Price":null}]}`:     "Legs[1].Price: it is a number",
		`{"ID":1`:                          "EOF",
		`{"ID":1,}`:                        "invalid character",
	} {
		got, err := s.AppendMessage([]byte("before"), []byte(text))
		if string(got) != "before" || !errors.Is(err, schema.ErrJSON) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	huge, err := schema.Parse([]byte(`{"array":536870912,"of":"u8"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := huge.AppendMessage(nil, []byte("[]")); !errors.Is(err, schema.ErrTooLarge) {
		t.Errorf("half a GiB: %v", err)
	}
}

// Whatever the text is, it is an error or a message that is written as one which is read as
// the same message.
func FuzzAppendMessage(f *testing.F) {
	s := ofOrder(f)
	seeds := [][]byte{[]byte(`{"ID":1}`), []byte(`{"Legs":[{"Side":[1,2]},{"Price":"NaN"}]}`), []byte(`[[[[`)}
	proctest.Fuzz(f, seeds, func(text []byte) error {
		message, err := s.AppendMessage(nil, text)
		if err != nil {
			return nil
		}
		again, err := s.AppendJSON(nil, message)
		if err != nil {
			return err
		}
		if same, err := s.AppendMessage(nil, again); err != nil || !bytes.Equal(same, message) {
			return fmt.Errorf("%s is %x, and %s is %x, %v", text, message, again, same, err)
		}
		return nil
	})
}
