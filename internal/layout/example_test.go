package layout_test

import (
	"fmt"

	"github.com/memlane/memlane/internal/layout"
)

// A mutex that member 2, in its third generation, holds while others wait.
func Example() {
	state := uint64(3)<<layout.MutexStateOwnerGenerationShift | (2+1)<<layout.MutexStateOwnerShift | layout.MutexStateWaiters
	owner := state >> layout.MutexStateOwnerShift & layout.MutexStateOwnerMask
	fmt.Println("member", owner-1, "generation", state>>layout.MutexStateOwnerGenerationShift, "waited for:", state&layout.MutexStateWaiters != 0)
	// Output: member 2 generation 3 waited for: true
}
