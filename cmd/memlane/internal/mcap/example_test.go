package mcap_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/memlane/memlane/cmd/memlane/internal/mcap"
)

// A message is written, and read again.
func Example() {
	var file bytes.Buffer
	w, err := mcap.NewWriter(&file, &mcap.WriterConfig{Library: "example"})
	if err != nil {
		log.Fatal(err)
	}
	orders, err := w.AddChannel(mcap.Channel{Topic: "orders", MessageEncoding: "json"})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Write(&mcap.Message{Channel: orders, LogTime: 1_700_000_000_000_000_000, Data: []byte(`{"id":17}`)}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	r, err := mcap.Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range r.Messages(mcap.Selection{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", r.Channel(m.Channel).Topic, m.Data)
	}
	// Output: orders: {"id":17}
}
