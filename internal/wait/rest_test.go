package wait

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/word"
)

// BenchmarkRest measures the processor time of a process whose waiters are all
// parked, in millionths of one processor.
func BenchmarkRest(b *testing.B) {
	for _, n := range []int{1, 64, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := make([]word.Uint32, n)
			done := make(chan error, n)
			for i := range list {
				go func() { done <- until(background, &list[i], 1) }()
			}
			for waiting() < n {
				runtime.Gosched()
			}
			time.Sleep((quietAfter + 2) * Recheck)
			used := func() time.Duration {
				var u syscall.Rusage
				syscall.Getrusage(syscall.RUSAGE_SELF, &u)
				return time.Duration(u.Utime.Nano() + u.Stime.Nano())
			}
			before, begun := used(), time.Now()
			for range b.N {
				time.Sleep(20 * Recheck)
			}
			b.ReportMetric(float64(used()-before)/float64(time.Since(begun))*1e6, "ppm")
			for i := range list {
				list[i].Store(1)
				Wake(&list[i], All)
			}
			for range list {
				<-done
			}
		})
	}
}
