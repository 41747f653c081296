package mmap

import (
	"fmt"
	"io/fs"
	"reflect"
	"sync"
	"unsafe"
)

// At returns a typed view of the bytes at offset: a pointer into the mapping,
// with the lifetime of [Mapping.Bytes]. T may be built from integers, floats,
// complex numbers, arrays and structs. Types with pointers are refused, because
// an address of one process means nothing in another and hides from the garbage
// collector; bool is refused too, because another process can store a byte that
// is neither true nor false, and Go code compiled for a bool then reads out of
// bounds. Use a byte. The types of package sync are refused because they know
// nothing of other processes.
//
// Loads and stores through the pointer are plain: for words that two processes
// use at the same time take types of sync/atomic as fields.
func At[T any](m *Mapping, offset int) (*T, error) {
	p, err := view[T](m, offset, 1)
	return (*T)(p), err
}

// SliceOf returns a typed view of n consecutive values at offset, as [At] does
// of one.
func SliceOf[T any](m *Mapping, offset, n int) ([]T, error) {
	p, err := view[T](m, offset, n)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(p), n), nil
}

func view[T any](m *Mapping, offset, n int) (unsafe.Pointer, error) {
	data, err := m.enter("view")
	if err != nil {
		return nil, err
	}
	defer m.leave()
	t := reflect.TypeFor[T]()
	if err := checkType(t); err != nil {
		return nil, &Error{"view", m.name, err, "use integers, floats, arrays and structs of them; a byte instead of a bool; an offset instead of a pointer"}
	}
	size := int(t.Size())
	if offset < 0 || n < 0 || offset > len(data) || n > (len(data)-offset)/size {
		return nil, &Error{"view", m.name, fmt.Errorf("%w: %d × %v (%d bytes each) from offset %d of %d", ErrRange, n, t, size, offset, len(data)),
			"keep the view inside the mapping"}
	}
	p := unsafe.Add(unsafe.Pointer(unsafe.SliceData(data)), offset)
	if align := uintptr(t.Align()); uintptr(p)%align != 0 {
		return nil, &Error{"view", m.name, fmt.Errorf("%w: %v at offset %d is at address %#x", ErrAlignment, t, offset, uintptr(p)),
			fmt.Sprintf("its address must be a multiple of %d", align)}
	}
	return p, nil
}

// typeErrors remembers for each type what checkType said, so that reflection
// walks it once.
var typeErrors sync.Map // reflect.Type → error or nil

func checkType(t reflect.Type) error {
	if known, ok := typeErrors.Load(t); ok {
		err, _ := known.(error)
		return err
	}
	var err error
	if path, why := findRefused(t, ""); why != "" {
		err = fmt.Errorf("%w: %v: %s%s", ErrType, t, path, why)
	} else if t.Size() == 0 {
		err = fmt.Errorf("%w: %v has no bytes", ErrType, t)
	}
	typeErrors.Store(t, err)
	return err
}

// findRefused walks t and returns the path of the first field that cannot lie
// in shared memory, and why it cannot; why is empty if all can.
func findRefused(t reflect.Type, path string) (where, why string) {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return "", ""
	case reflect.Array:
		if t.Len() == 0 {
			return "", "" // no memory, whatever the element
		}
		return findRefused(t.Elem(), path+"[]")
	case reflect.Struct:
		if t.PkgPath() == "sync" {
			return pathPrefix(path), fmt.Sprintf("%v works inside one process only", t)
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if where, why := findRefused(f.Type, path+"."+f.Name); why != "" {
				return where, why
			}
		}
		return "", ""
	case reflect.Bool:
		return pathPrefix(path), "bool has invalid bit patterns"
	}
	return pathPrefix(path), fmt.Sprintf("%v holds a pointer", t)
}

func pathPrefix(path string) string {
	if path == "" {
		return ""
	}
	return "field " + path + ": "
}

// addressOf returns where b begins.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// Addr returns the address of the mapping's first byte in this process, 0 after
// Close. Another process has the same bytes at another address: never store one
// in shared memory.
func (m *Mapping) Addr() uintptr { return addressOf(m.Bytes()) }

// CheckType returns an error that matches [ErrType] if T cannot be viewed in shared
// memory; see [At].
func CheckType[T any]() error { return checkType(reflect.TypeFor[T]()) }

// ViewBytes returns the bytes as a T, in place: they must be as many, and be aligned
// for it. What [At] says of types and of loads and stores goes for it too.
func ViewBytes[T any](b []byte) (*T, error) {
	t := reflect.TypeFor[T]()
	fail := func(err error) (*T, error) {
		return nil, &Error{"view", fmt.Sprintf("%d bytes", len(b)), err, "give it the bytes of one value"}
	}
	if err := checkType(t); err != nil {
		return fail(err)
	}
	if len(b) != int(t.Size()) {
		return fail(fmt.Errorf("%w: %v has %d bytes", ErrRange, t, t.Size()))
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if align := uintptr(t.Align()); uintptr(p)%align != 0 {
		return fail(fmt.Errorf("%w: %v at address %#x", ErrAlignment, t, uintptr(p)))
	}
	return (*T)(p), nil
}

// BytesOf returns the bytes of a value, in place. Those between its fields are
// among them, whatever they are. If v is nil the error matches fs.ErrInvalid.
func BytesOf[T any](v *T) ([]byte, error) {
	fail := func(err error, fix string) ([]byte, error) {
		return nil, &Error{"view", reflect.TypeFor[T]().String(), err, fix}
	}
	if v == nil {
		return fail(fmt.Errorf("%w: a nil pointer", fs.ErrInvalid), "give it the address of a value")
	}
	if err := CheckType[T](); err != nil {
		return fail(err, "use integers, floats, arrays and structs of them; a byte instead of a bool; an offset instead of a pointer")
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)), nil
}
