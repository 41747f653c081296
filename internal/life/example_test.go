package life_test

import (
	"fmt"
	"log"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/region"
)

// Two members of this process, on the heap; those of a file are processes.
func Example() {
	r := region.Heap(layout.AreaHeapAt)
	one, err := life.Join(r, 0, nil)
	if err != nil {
		log.Fatal(err)
	}
	other, err := life.Join(r, 0, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(one.Gone(other.ID()))
	other.Leave()
	fmt.Println(one.Gone(other.ID()))
	// Output:
	// false
	// true
}
