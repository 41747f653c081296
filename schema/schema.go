// Package schema says how the values of a type lie in memory, in a form that programs
// in other languages can read (layer L2).
//
//	type Position struct {
//		Vehicle             uint32
//		Latitude, Longitude float64
//	}
//	s, err := schema.Of[Position]()
//	fmt.Println(s) // {"size":24,"fields":[{"name":"Vehicle","offset":0,"type":"u32"}, …
//	b, err := s.AppendJSON(nil, message) // {"Vehicle":17,"Latitude":52.5,"Longitude":13.4}
//
// A program that has the text can take messages apart with no code made for their type:
// spec/schema.md says how, and has such a program.
//
// # What counts
//
// Two schemas are equal if programs that use them read the same bytes as the same values,
// by the same names: what counts is the size of the whole, and of each field its name,
// where it begins, and what numbers it has. What does not: names of types; whether a type
// of 64 bits was int or int64; whether two floats in a row were an array or a complex
// number; fields named _ and fields of no bytes, which nobody can read.
//
// All numbers are little-endian.
package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"unicode"

	"github.com/memlane/memlane/mmap"
)

// TextMost is how many bytes the text of a schema has at most.
const TextMost = 64 << 10

// The further bounds of a schema, which others may have made.
const (
	depthMost = 32
	nameMost  = 255
	sizeMost  = 1 << 40
)

// Errors that those of this package match. Those of [Of] match mmap.ErrType too.
var (
	// ErrInvalid: it is no schema, or one beyond what there can be.
	ErrInvalid = errors.New("not a schema")
	// ErrSize: a message has not as many bytes as its schema says.
	ErrSize = errors.New("not of this schema")
	// ErrTooLarge: a message is more than 256 MiB as JSON.
	ErrTooLarge = errors.New("too large as JSON")
)

// Schema is how values of a type lie in memory. It does not change, and is made by [Of]
// or [Parse].
type Schema struct {
	of   *typ
	text string
	hash [sha256.Size]byte
}

// typ is a number, an array or a struct.
type typ struct {
	number string  // its kind: a key of numbers; "" of the others
	count  int     // of an array: how many; else 0
	elem   *typ    // of an array
	fields []field // of a struct, by offset
	size   int     // in bytes
}

type field struct {
	name   string
	offset int
	typ    *typ
}

// numbers are the kinds of them, and their sizes.
var numbers = map[string]int{"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "f32": 4, "f64": 8}

// Of returns the schema of a Go type. It may be built from what mmap.At takes; the names
// of its fields have at most 255 bytes, it is at most 32 arrays and structs deep, of at
// most 1 TiB, and its text has at most 64 KiB: else the error matches [ErrInvalid].
func Of[T any]() (*Schema, error) {
	t := reflect.TypeFor[T]()
	err := mmap.CheckType[T]()
	var s *Schema
	if err == nil {
		s, err = newSchema(describe(t))
	}
	if err != nil {
		return nil, fmt.Errorf("schema: of %.100s: %w", t, err)
	}
	return s, nil
}

// describe returns what a Go type is that can lie in shared memory.
func describe(t reflect.Type) *typ {
	number := func(class string) *typ {
		return &typ{number: class + strconv.Itoa(8*int(t.Size())), size: int(t.Size())}
	}
	switch t.Kind() {
	case reflect.Struct:
		s := &typ{size: int(t.Size())}
		for i := range t.NumField() {
			if f := t.Field(i); f.Name != "_" && f.Type.Size() > 0 {
				s.fields = append(s.fields, field{f.Name, int(f.Offset), describe(f.Type)})
			}
		}
		return s
	case reflect.Array:
		return &typ{count: t.Len(), elem: describe(t.Elem()), size: int(t.Size())}
	case reflect.Complex64:
		return &typ{count: 2, elem: describe(reflect.TypeFor[float32]()), size: 8}
	case reflect.Complex128:
		return &typ{count: 2, elem: describe(reflect.TypeFor[float64]()), size: 16}
	case reflect.Float32, reflect.Float64:
		return number("f")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return number("i")
	}
	return number("u")
}

// newSchema returns the schema of what is within bounds.
func newSchema(t *typ) (*Schema, error) {
	if err := t.check(depthMost); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	text := t.append(nil)
	if len(text) > TextMost {
		return nil, fmt.Errorf("%w: its text has %d bytes, of at most %d", ErrInvalid, len(text), TextMost)
	}
	return &Schema{t, string(text), sha256.Sum256(text)}, nil
}

// check returns what is wrong with a type that has at most so many levels.
func (t *typ) check(levels int) error {
	switch {
	case t.number != "":
		return nil
	case levels == 0:
		return fmt.Errorf("more than %d arrays and structs within each other", depthMost)
	case t.size < 1 || t.size > sizeMost:
		return fmt.Errorf("%d bytes; want 1 to %d", t.size, sizeMost)
	case t.elem != nil:
		return t.elem.check(levels - 1)
	}
	end, names := 0, map[string]bool{}
	for _, f := range t.fields {
		switch {
		case !isName(f.name):
			return fmt.Errorf("field %.40q: a name has letters, digits and _, does not begin with a digit, and has at most %d bytes", f.name, nameMost)
		case names[f.name]:
			return fmt.Errorf("field %s: there are two", f.name)
		}
		if err := f.typ.check(levels - 1); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
		if f.offset < end || f.offset > t.size-f.typ.size {
			return fmt.Errorf("field %s: %d bytes at %d, where from %d to %d is free", f.name, f.typ.size, f.offset, end, t.size)
		}
		end, names[f.name] = f.offset+f.typ.size, true
	}
	return nil
}

// isName says whether it is what programs call a field. It needs no quoting in JSON.
func isName(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false // U+FFFD of what is not UTF-8 too
		}
	}
	return s != "" && s != "_" && len(s) <= nameMost
}

// append adds the one text that a type has.
func (t *typ) append(b []byte) []byte {
	switch {
	case t.number != "":
		return append(append(append(b, '"'), t.number...), '"')
	case t.elem != nil:
		b = strconv.AppendInt(append(b, `{"array":`...), int64(t.count), 10)
		return append(t.elem.append(append(b, `,"of":`...)), '}')
	}
	b = strconv.AppendInt(append(b, `{"size":`...), int64(t.size), 10)
	b = append(b, `,"fields":[`...)
	for i, f := range t.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"name":"`...), f.name...), `","offset":`...)
		b = strconv.AppendInt(b, int64(f.offset), 10)
		b = append(f.typ.append(append(b, `,"type":`...)), '}')
	}
	return append(b, "]}"...)
}

// String returns the schema as JSON. Equal schemas have the same text, byte for byte.
func (s *Schema) String() string { return s.text }

// Hash returns the SHA-256 hash of the text.
func (s *Schema) Hash() [sha256.Size]byte { return s.hash }

// ID returns the beginning of the hash, for people: 16 hexadecimal digits.
func (s *Schema) ID() string { return hex.EncodeToString(s.hash[:8]) }

// Size returns how many bytes a value has.
func (s *Schema) Size() int { return s.of.size }
