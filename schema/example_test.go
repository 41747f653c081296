package schema_test

import (
	"fmt"
	"log"

	"github.com/memlane/memlane/schema"
)

type trade struct {
	Price  float64
	Volume uint32
}

func Example() {
	s, err := schema.Of[trade]()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s)
	message := []byte{0, 0, 0, 0, 0, 0x40, 0x4a, 0x40, 7, 0, 0, 0, 0, 0, 0, 0}
	text, err := s.AppendJSON(nil, message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	// Output:
	// {"size":16,"fields":[{"name":"Price","offset":0,"type":"f64"},{"name":"Volume","offset":8,"type":"u32"}]}
	// {"Price":52.5,"Volume":7}
}

func ExampleDifferences() {
	here, err := schema.Of[trade]()
	if err != nil {
		log.Fatal(err)
	}
	there, err := schema.Parse([]byte(`{"size":16,"fields":[{"name":"Price","offset":8,"type":"f32"}]}`))
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range schema.Differences(here, there) {
		fmt.Printf("%s: %q here, %q there\n", d.Field, d.A, d.B)
	}
	// Output:
	// Price: "f64 at 0" here, "f32 at 8" there
	// Volume: "u32 at 8" here, "" there
}
