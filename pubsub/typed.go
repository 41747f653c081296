package pubsub

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"

	"github.com/memlane/memlane/mmap"
)

// checkType returns an error that says which field of T cannot be in a message.
func checkType[T any](op, topic string) error {
	if err := mmap.CheckType[T](); err != nil {
		return &Error{op, topic, err, "use integers, floats, arrays and structs of them; a byte instead of a bool"}
	}
	return nil
}

// SchemaOf describes how a value of the type lies in memory: the names of its fields,
// their types, and where each begins; of a very long one, the beginning and a hash.
func SchemaOf[T any]() string {
	var b strings.Builder
	describe(&b, reflect.TypeFor[T]())
	if b.Len() > maxSchema {
		sum := sha256.Sum256([]byte(b.String()))
		return fmt.Sprintf("%.900s... %x", b.String(), sum)
	}
	return b.String()
}

func describe(b *strings.Builder, t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		fmt.Fprintf(b, "%d{", t.Size())
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(b, "%s@%d:", f.Name, f.Offset)
			describe(b, f.Type)
			b.WriteByte(';')
		}
		b.WriteByte('}')
	case reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		describe(b, t.Elem())
	default:
		b.WriteString(t.Kind().String())
	}
}
