package bench_test

import (
	"fmt"

	"github.com/memlane/memlane/cmd/memlane/internal/bench"
)

// What "memlane bench" can measure.
func Example() {
	fmt.Println(bench.Parts)
	// Output: [latency throughput fanout park observed compare]
}
