package doctor_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/doctor"
)

func Example() {
	folder, err := os.MkdirTemp("", "doctor")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	d, err := memlane.Open("shop", &memlane.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	os.Chmod(filepath.Join(folder, "shop.domain"), 0o777) // what should not be done
	findings, err := doctor.Examine(&doctor.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range findings {
		if f.Check == "access" || f.Check == "stopped" {
			fmt.Println(f.Check, f.Level)
		}
	}
	// Output:
	// access bad
	// stopped ok
}
