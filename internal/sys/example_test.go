//go:build linux && (amd64 || arm64)

package sys_test

import (
	"fmt"
	"log"

	"github.com/memlane/memlane/internal/sys"
)

// Memory that nobody can write but through the mapping that is there already.
func Example() {
	fd, err := sys.Memfd("example", 0)
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Close(fd)
	if err := sys.Ftruncate(fd, 4096); err != nil {
		log.Fatal(err)
	}
	mine, err := sys.Mmap(0, 4096, sys.ProtRead|sys.ProtWrite, sys.MapShared, fd, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Munmap(mine)
	if err := sys.AddSeals(fd, sys.SealFutureWrite|sys.SealSeal); err != nil {
		log.Fatal(err)
	}
	_, err = sys.Mmap(0, 4096, sys.ProtRead|sys.ProtWrite, sys.MapShared, fd, 0)
	fmt.Println(err)
	theirs, err := sys.Mmap(0, 4096, sys.ProtRead, sys.MapShared, fd, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Munmap(theirs)
	mine[0] = 42
	fmt.Println(theirs[0])
	// Output:
	// operation not permitted
	// 42
}
