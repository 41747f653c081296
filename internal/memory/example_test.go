package memory_test

import (
	"fmt"
	"log"

	"github.com/memlane/memlane/internal/memory"
)

func Example() {
	mine, err := memory.Create("example", 4096)
	if err != nil {
		log.Fatal(err)
	}
	// The file is sent to another process, which can only read.
	theirs, err := memory.Open(mine.File(), 4096)
	if err != nil {
		log.Fatal(err)
	}
	mine.Region().Uint64(8).Store(42)
	fmt.Println(theirs.Region().Uint64(8).Load())
	// It ends under whoever is using it.
	word := theirs.Region().Uint64(8)
	theirs.Close()
	fmt.Println(word.Load(), theirs.Region().Err())
	mine.Close()
	// Output:
	// 42
	// 0 retired
}
