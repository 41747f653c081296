package mmap_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/memlane/memlane/mmap"
)

// Two mappings of one file, as two processes would have them.
func ExampleMap() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "shared"))
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Truncate(1024); err != nil {
		log.Fatal(err)
	}
	server, err := mmap.Map(f, 1024, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := mmap.Map(f, 1024, mmap.Read, mmap.Shared, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	f.Close() // the mappings stay

	copy(server.Bytes(), "hello")
	fmt.Printf("%s\n", client.Bytes()[:5])
	fmt.Println("at the same address:", server.Addr() == client.Addr())
	// Output:
	// hello
	// at the same address: false
}

// The file is cut short under the mapping; the program goes on.
func ExampleMapping_View() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "shared")
	if err := os.WriteFile(path, make([]byte, 1024), 0o600); err != nil {
		log.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	m, err := mmap.Map(f, 1024, mmap.Read, mmap.Shared, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := os.Truncate(path, 0); err != nil {
		log.Fatal(err)
	}

	err = m.View(func(b []byte) error {
		fmt.Println(b[100])
		return nil
	})
	var fault *mmap.FaultError
	fmt.Println(errors.As(err, &fault), fault.Offset, errors.Is(err, mmap.ErrNoBacking))
	// Output: true 100 true
}

// Guard is for bytes and typed views that are at hand already.
func ExampleGuard() {
	m, err := mmap.MapAnonymous(4096, mmap.Read, mmap.Private, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	b := m.Bytes()
	err = mmap.Guard(func() error {
		b[0] = 1 // mapped for reading only
		return nil
	})
	fmt.Println(errors.Is(err, mmap.ErrProtected))
	// Output: true
}

// A struct with a word that several processes may use at the same time.
func ExampleAt() {
	type header struct {
		Version uint32
		_       uint32
		Hits    atomic.Uint64
	}
	m, err := mmap.MapAnonymous(4096, mmap.Read|mmap.Write, mmap.Shared, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	h, err := mmap.At[header](m, 64)
	if err != nil {
		log.Fatal(err)
	}
	h.Version = 1
	h.Hits.Add(41)
	fmt.Println(h.Hits.Add(1))

	_, err = mmap.At[struct{ Name string }](m, 0)
	fmt.Println(errors.Is(err, mmap.ErrType))
	// Output:
	// 42
	// true
}
