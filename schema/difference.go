package schema

import "fmt"

// Difference is one place at which two schemas differ.
type Difference struct {
	// Field is which: Position.X, or Points[].X in an array of structs; "" is the whole.
	Field string
	// A and B are what the two have there, such as "f64 at 8"; "" is nothing.
	A, B string
}

// Differences returns where two schemas differ: nothing if they are equal. Those of a's
// fields come in their order, then what only b has.
func Differences(a, b *Schema) []Difference {
	return differences(nil, "", a.of, b.of)
}

func differences(list []Difference, path string, a, b *typ) []Difference {
	before := len(list)
	switch {
	case a.kind() != b.kind():
	case a.elem != nil:
		list = differences(list, path+"[]", a.elem, b.elem)
	default:
		list = fieldDifferences(list, path, a, b)
	}
	// Else what is different in it has said so.
	if len(list) == before && (a.kind() != b.kind() || a.size != b.size) {
		list = append(list, Difference{path, a.String(), b.String()})
	}
	return list
}

func fieldDifferences(list []Difference, path string, a, b *typ) []Difference {
	if path != "" {
		path += "."
	}
	others := make(map[string]*field, len(b.fields))
	for i := range b.fields {
		others[b.fields[i].name] = &b.fields[i]
	}
	for _, f := range a.fields {
		other := others[f.name]
		delete(others, f.name)
		switch {
		case other == nil:
			list = append(list, Difference{path + f.name, f.String(), ""})
			continue
		case other.offset != f.offset || other.typ.kind() != f.typ.kind():
			list = append(list, Difference{path + f.name, f.String(), other.String()})
		}
		if other.typ.kind() == f.typ.kind() {
			list = differences(list, path+f.name, f.typ, other.typ)
		}
	}
	for _, f := range b.fields {
		if others[f.name] != nil {
			list = append(list, Difference{path + f.name, "", f.String()})
		}
	}
	return list
}

// kind is what two types must have in common to be compared part by part.
func (t *typ) kind() string {
	switch {
	case t.number != "":
		return t.number
	case t.elem != nil:
		return fmt.Sprintf("[%d]", t.count)
	}
	return "struct"
}

// String returns a type in a few words.
func (t *typ) String() string {
	switch {
	case t.number != "":
		return t.number
	case t.elem != nil:
		return t.kind() + t.elem.String()
	}
	return fmt.Sprintf("struct of %d bytes", t.size)
}

func (f *field) String() string { return fmt.Sprintf("%v at %d", f.typ, f.offset) }
