package region_test

import (
	"fmt"
	"log"
	"os"

	"github.com/memlane/memlane/internal/region"
)

func Example() {
	f, err := os.CreateTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	if err := f.Truncate(4096); err != nil {
		log.Fatal(err)
	}
	r, err := region.Map(int(f.Fd()), 4096)
	if err != nil {
		log.Fatal(err)
	}
	w := r.Uint64(8)
	fmt.Println(w.CompareAndSwap(0, 7), r.Err())
	if err := f.Truncate(0); err != nil { // somebody cuts the file short
		log.Fatal(err)
	}
	fmt.Println(w.CompareAndSwap(7, 8), r.Err())
	// Output:
	// true <nil>
	// false the memory is gone: its file was cut short, or its file system failed
}
