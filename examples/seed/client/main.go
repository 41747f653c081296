// Client reads what server wrote into memory that both map.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"

	"github.com/memlane/memlane/mmap"
)

func main() {
	path := "seed.shm" // any file that both can open
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err, ": run server first")
	}
	m, err := mmap.Map(f, 1024, mmap.Read, mmap.Shared, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	f.Close()

	err = m.View(func(b []byte) error { // a file cut short is an error, not a crash
		text, _, _ := bytes.Cut(b, []byte{0})
		fmt.Printf("ipc client get: %s\n", text)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
