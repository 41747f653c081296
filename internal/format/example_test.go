package format_test

import (
	"fmt"
	"log"

	"github.com/memlane/memlane/internal/format"
	"github.com/memlane/memlane/internal/ring"
)

func Example() {
	f, err := format.Of(nil, "Application/Protobuf;message=shop.Order")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Text)
	fmt.Println(format.Difference(f, ring.Format{Kind: ring.FormatContentType, Text: "application/json"}))
	// Output:
	// application/protobuf; message=shop.Order
	// the publisher's messages are application/protobuf; message=shop.Order, and the subscriber wants application/json
}
