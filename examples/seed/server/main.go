// Server writes a sentence into memory that client reads: the whole idea of
// memlane in one page. Run it first, then client.
package main

import (
	"log"
	"os"

	"github.com/memlane/memlane/mmap"
)

func main() {
	path := "seed.shm" // any file that both can open
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) // 1. a file
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Truncate(1024); err != nil { // 2. its size
		log.Fatal(err)
	}
	m, err := mmap.Map(f, 1024, mmap.Read|mmap.Write, mmap.Shared, nil) // 3. map it
	if err != nil {
		log.Fatal(err)
	}
	f.Close() // the mapping needs no descriptor

	copy(m.Bytes(), "hello share memory ipc! i'm server.\x00") // 4. use it

	if err := m.Close(); err != nil { // 5. unmap; the file keeps the bytes
		log.Fatal(err)
	}
}
