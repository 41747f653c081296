package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/memlane/memlane/schema"
)

// Messages of ROS 1 are numbers in little-endian one directly behind the other. So are the
// values of a schema, if what lies between fields is called a field too: described as
// messages of ROS 1 they can be decoded, as they are, by all that reads recordings of these.

// layout is a schema's type, as spec/schema.md has it.
type layout struct {
	number string
	Count  int     `json:"array"`
	Of     *layout `json:"of"`
	Size   int     `json:"size"`
	Fields []struct {
		Name   string  `json:"name"`
		Offset int     `json:"offset"`
		Type   *layout `json:"type"`
	} `json:"fields"`
}

// UnmarshalJSON is of json.Unmarshaler.
func (l *layout) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, &l.number)
	}
	type plain layout
	return json.Unmarshal(text, (*plain)(l))
}

func (l *layout) bytes() int {
	switch {
	case l.number != "":
		return map[string]int{"8": 1, "16": 2, "32": 4, "64": 8}[l.number[1:]]
	case l.Of != nil:
		return l.Count * l.Of.bytes()
	}
	return l.Size
}

// rosName is what ROS can call a field.
var rosName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)

// rosTypes are the types of a message.
type rosTypes struct {
	named map[string]string // by their text: their name
	later []string          // their definitions
	bad   bool              // there is a name that ROS cannot have
}

// rosMessage returns the definition of a schema's values as messages of ROS 1, in the
// encoding ros1msg. A schema with names of fields that are not ASCII has none.
func rosMessage(s *schema.Schema) (text string, ok bool) {
	var l layout
	if json.Unmarshal([]byte(s.String()), &l) != nil {
		return "", false
	}
	t := rosTypes{named: map[string]string{}}
	text = t.definition(&l)
	for i, d := range t.later {
		text += fmt.Sprintf("%s\nMSG: memlane/T%d\n%s", strings.Repeat("=", 80), i+1, d)
	}
	return text, !t.bad
}

// definition returns the fields of a type.
func (t *rosTypes) definition(l *layout) string {
	if l.number != "" || l.Of != nil {
		return t.field(l, "value")
	}
	var b strings.Builder
	taken := map[string]bool{}
	for _, f := range l.Fields {
		taken[f.Name] = true
	}
	at, paddings := 0, 0
	pad := func(to int) {
		if to == at {
			return
		}
		name := ""
		for name == "" || taken[name] {
			paddings++
			name = fmt.Sprintf("padding%d", paddings)
		}
		fmt.Fprintf(&b, "uint8[%d] %s\n", to-at, name)
	}
	for _, f := range l.Fields {
		t.bad = t.bad || !rosName.MatchString(f.Name)
		pad(f.Offset)
		b.WriteString(t.field(f.Type, f.Name))
		at = f.Offset + f.Type.bytes()
	}
	pad(l.Size)
	return b.String()
}

// field returns the line of a field.
func (t *rosTypes) field(l *layout, name string) string {
	if l.Of != nil {
		return fmt.Sprintf("%s[%d] %s\n", t.name(l.Of), l.Count, name)
	}
	return fmt.Sprintf("%s %s\n", t.name(l), name)
}

// name returns the name of a type. Arrays of arrays are arrays of a struct that has one.
func (t *rosTypes) name(l *layout) string {
	switch {
	case l.number == "":
		d := t.definition(l)
		if t.named[d] == "" {
			t.later = append(t.later, d)
			t.named[d] = fmt.Sprintf("memlane/T%d", len(t.later))
		}
		return t.named[d]
	case l.number[0] == 'u':
		return "uint" + l.number[1:]
	case l.number[0] == 'i':
		return "int" + l.number[1:]
	}
	return "float" + l.number[1:]
}
