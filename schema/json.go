package schema

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// jsonMost is how large a message can be as JSON: a hostile schema has long names, and
// arrays of what they name.
const jsonMost = 256 << 20

// AppendJSON adds a message to b as one line of JSON, without the end of line: structs
// are objects, their fields in the order in which they lie, and arrays are lists, those of
// bytes too. Errors match [ErrSize] and [ErrTooLarge]; b is returned as it was then.
//
// Integers are written with all their digits. A reader that takes JSON's numbers for
// float64, as JavaScript does, rounds those beyond 2⁵³. Floats are the shortest number
// that is read as the same float32 or float64. JSON has no NaN and no infinity: they are
// the strings "NaN", "Infinity" and "-Infinity".
func (s *Schema) AppendJSON(b, message []byte) ([]byte, error) {
	if len(message) != s.of.size {
		return b, fmt.Errorf("schema: decode: %w: a message of %d bytes, and %s has %d", ErrSize, len(message), s.ID(), s.of.size)
	}
	most := len(b) + jsonMost
	out := s.of.appendJSON(b, message, most)
	if len(out) > most {
		return b, fmt.Errorf("schema: decode: %w: a message of %d bytes, of schema %s, is more than %d", ErrTooLarge, len(message), s.ID(), jsonMost)
	}
	return out, nil
}

// appendJSON adds the value that m begins with, unless b is longer than most.
func (t *typ) appendJSON(b, m []byte, most int) []byte {
	switch {
	case t.elem != nil:
		b = append(b, '[')
		for i := range t.count {
			if len(b) > most {
				return b
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = t.elem.appendJSON(b, m[i*t.elem.size:], most)
		}
		return append(b, ']')
	case t.number == "":
		b = append(b, '{')
		for i, f := range t.fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(append(b, '"'), f.name...), `":`...)
			b = f.typ.appendJSON(b, m[f.offset:], most)
		}
		return append(b, '}')
	}
	switch t.number {
	case "u8":
		return strconv.AppendUint(b, uint64(m[0]), 10)
	case "u16":
		return strconv.AppendUint(b, uint64(binary.LittleEndian.Uint16(m)), 10)
	case "u32":
		return strconv.AppendUint(b, uint64(binary.LittleEndian.Uint32(m)), 10)
	case "u64":
		return strconv.AppendUint(b, binary.LittleEndian.Uint64(m), 10)
	case "i8":
		return strconv.AppendInt(b, int64(int8(m[0])), 10)
	case "i16":
		return strconv.AppendInt(b, int64(int16(binary.LittleEndian.Uint16(m))), 10)
	case "i32":
		return strconv.AppendInt(b, int64(int32(binary.LittleEndian.Uint32(m))), 10)
	case "i64":
		return strconv.AppendInt(b, int64(binary.LittleEndian.Uint64(m)), 10)
	case "f32":
		return appendFloat(b, float64(math.Float32frombits(binary.LittleEndian.Uint32(m))), 32)
	}
	return appendFloat(b, math.Float64frombits(binary.LittleEndian.Uint64(m)), 64)
}

func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, bits)
}
