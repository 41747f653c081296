package memlane_test

import (
	"fmt"
	"log"
	"os"

	"github.com/memlane/memlane"
)

func ExampleOpen() {
	folder, err := os.MkdirTemp("", "memlane")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	domain, err := memlane.Open("shop", &memlane.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	defer domain.Close()
	fmt.Println(domain.Name())

	_, err = memlane.Open("../shop", nil)
	fmt.Println(err)
	// Output:
	// shop
	// memlane: open domain "../shop": invalid name: invalid argument: a domain's name has 1 to 100 bytes, does not begin with a dot, and has no slash and no control character in it
}
