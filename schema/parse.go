package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Parse returns the schema that a text is, whoever wrote it. Spaces, and the order of
// keys, do not matter. Errors match [ErrInvalid].
func Parse(text []byte) (*Schema, error) {
	s, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("schema: parse %d bytes: %w", len(text), err)
	}
	return s, nil
}

func parse(text []byte) (*Schema, error) {
	if len(text) > TextMost {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrInvalid, TextMost)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	if _, more := d.Token(); err == nil && more != io.EOF {
		err = errors.New("there is something behind it")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	t, err := typeOf(v, depthMost)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return newSchema(t)
}

// typeOf returns the type that a JSON value is.
func typeOf(v any, levels int) (*typ, error) {
	switch v := v.(type) {
	case string:
		if size := numbers[v]; size > 0 {
			return &typ{number: v, size: size}, nil
		}
		return nil, fmt.Errorf("type %.40q; want one of u8 to u64, i8 to i64, f32, f64", v)
	case map[string]any:
		if levels == 0 {
			// Here too, because errors name all levels.
			return nil, fmt.Errorf("more than %d arrays and structs within each other", depthMost)
		}
		if v["of"] != nil {
			return arrayOf(v, levels-1)
		}
		return structOf(v, levels-1)
	}
	return nil, errors.New("a type is a string or an object")
}

func arrayOf(v map[string]any, levels int) (*typ, error) {
	count, err := integer(v, "array", 2)
	if err != nil {
		return nil, err
	}
	elem, err := typeOf(v["of"], levels)
	if err != nil {
		return nil, fmt.Errorf("of an array: %w", err)
	}
	if count < 1 || count > sizeMost/max(elem.size, 1) {
		return nil, fmt.Errorf("an array of %d, of %d bytes each; want 1 or more, and at most %d bytes in all", count, elem.size, sizeMost)
	}
	return &typ{count: count, elem: elem, size: count * elem.size}, nil
}

func structOf(v map[string]any, levels int) (*typ, error) {
	size, err := integer(v, "size", 2)
	if err != nil {
		return nil, err
	}
	list, ok := v["fields"].([]any)
	if !ok {
		return nil, errors.New("a struct has fields, which are a list")
	}
	s := &typ{size: size, fields: make([]field, 0, len(list))}
	for _, e := range list {
		f, _ := e.(map[string]any)
		name, ok := f["name"].(string)
		if !ok {
			return nil, errors.New("a field has a name, an offset and a type")
		}
		offset, err := integer(f, "offset", 3)
		var t *typ
		if err == nil {
			t, err = typeOf(f["type"], levels)
		}
		if err != nil {
			return nil, fmt.Errorf("field %.40q: %w", name, err)
		}
		s.fields = append(s.fields, field{name, offset, t})
	}
	return s, nil
}

// integer returns the number that an object of so many keys has at one of them.
func integer(v map[string]any, key string, keys int) (int, error) {
	n, _ := v[key].(json.Number)
	i, err := strconv.ParseInt(n.String(), 10, 64)
	switch {
	case err != nil || i < 0 || i > sizeMost:
		return 0, fmt.Errorf("%q is %.40q; want a whole number from 0 to %d", key, n, sizeMost)
	case len(v) != keys:
		return 0, fmt.Errorf("%d keys beside %q; want %d", len(v)-1, key, keys-1)
	}
	return int(i), nil
}
