package schema

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// ErrJSON: a text is no JSON, or is not a value of its schema.
var ErrJSON = errors.New("not a value of this schema")

// AppendMessage adds to b the message that a text in JSON means: what [Schema.AppendJSON]
// writes, and what people do. Objects may leave fields out, which are 0 then, and have them in
// any order; lists have as many values as the array. Errors match [ErrJSON], and say where,
// and [ErrTooLarge] if a message would have more than 256 MiB; b is returned as it was then.
func (s *Schema) AppendMessage(b, text []byte) ([]byte, error) {
	if s.of.size > jsonMost {
		return b, fmt.Errorf("schema: encode: %w: messages of %d bytes", ErrTooLarge, s.of.size)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	begin := len(b)
	out := append(b, make([]byte, s.of.size)...)
	err := s.of.parse(in, out[begin:], "")
	if err == nil {
		if _, more := in.Token(); more != io.EOF {
			err = fmt.Errorf("%w: something follows the value", ErrJSON)
		}
	}
	if err != nil {
		return b, fmt.Errorf("schema: encode as schema %s: %w", s.ID(), err)
	}
	return out, nil
}

// parse reads the next value into m, which is zero. The path says where it is.
func (t *typ) parse(in *json.Decoder, m []byte, path string) error {
	fail := func(what any) error {
		if path == "" {
			path = "the value"
		}
		return fmt.Errorf("%w: %s: %v", ErrJSON, path, what)
	}
	token, err := in.Token()
	if err != nil {
		return fail(err)
	}
	switch {
	case t.elem != nil:
		if token != json.Delim('[') {
			return fail(fmt.Sprintf("it is a list of %d", t.count))
		}
		for i := range t.count {
			if !in.More() {
				return fail(fmt.Sprintf("it has %d values, and not %d", i, t.count))
			}
			if err := t.elem.parse(in, m[i*t.elem.size:], fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		if in.More() {
			return fail(fmt.Sprintf("it has more than %d values", t.count))
		}
	case t.number == "":
		if token != json.Delim('{') {
			return fail("it is an object")
		}
		seen := make([]bool, len(t.fields))
		for in.More() {
			key, err := in.Token()
			if err != nil {
				return fail(err)
			}
			i, inner := t.field(key.(string)), key.(string)
			if path != "" {
				inner = path + "." + inner
			}
			switch {
			case i < 0:
				return fmt.Errorf("%w: %.300s: there is no such field", ErrJSON, inner)
			case seen[i]:
				return fmt.Errorf("%w: %s: it is there twice", ErrJSON, inner)
			}
			seen[i] = true
			if err := t.fields[i].typ.parse(in, m[t.fields[i].offset:], inner); err != nil {
				return err
			}
		}
	default:
		if err := t.parseNumber(token, m); err != nil {
			return fail(err)
		}
		return nil
	}
	if _, err := in.Token(); err != nil { // the end of the list or object
		return fail(err)
	}
	return nil
}

// field returns the index of a field; -1 if there is none.
func (t *typ) field(name string) int {
	for i, f := range t.fields {
		if f.name == name {
			return i
		}
	}
	return -1
}

// parseNumber stores a number.
func (t *typ) parseNumber(token json.Token, m []byte) error {
	text := ""
	switch v := token.(type) {
	case json.Number:
		text = v.String()
	case string:
		if t.number[0] == 'f' && (v == "NaN" || v == "Infinity" || v == "-Infinity") {
			text = v
		}
	}
	if text == "" {
		return fmt.Errorf("it is a number, of type %s", t.number)
	}
	bits := 8 * t.size
	switch t.number[0] {
	case 'u':
		v, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return fmt.Errorf("%s is no %s", text, t.number)
		}
		put(m, t.size, v)
	case 'i':
		v, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return fmt.Errorf("%s is no %s", text, t.number)
		}
		put(m, t.size, uint64(v))
	default:
		v, err := strconv.ParseFloat(text, bits)
		if err != nil {
			return fmt.Errorf("%s is no %s", text, t.number)
		}
		if t.size == 4 {
			put(m, 4, uint64(math.Float32bits(float32(v))))
		} else {
			put(m, 8, math.Float64bits(v))
		}
	}
	return nil
}

// put stores the low bytes of a number.
func put(m []byte, size int, v uint64) {
	var all [8]byte
	binary.LittleEndian.PutUint64(all[:], v)
	copy(m[:size], all[:])
}
