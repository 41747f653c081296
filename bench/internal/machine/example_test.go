package machine_test

import (
	"fmt"

	"github.com/memlane/memlane/bench/internal/machine"
)

// The kernel writes lists of processors so.
func ExampleNumbers() {
	fmt.Println(machine.Numbers("0-3,8"))
	// Output: [0 1 2 3 8]
}
