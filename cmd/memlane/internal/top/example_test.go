package top_test

import (
	"context"
	"fmt"
	"os"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/memlane/memlane/cmd/memlane/internal/top"
	"github.com/memlane/memlane/pubsub"
)

// A camera takes frames of a domain.
func ExampleCamera() {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	config := &memlane.Config{Folder: folder}
	d, err := memlane.Open("shop", config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	orders, err := pubsub.Publish(d, "orders", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	looker := &live.Looker{Domain: "shop", Config: config}
	defer looker.Close()
	camera := &top.Camera{Looker: looker}
	if _, err := camera.Take(); err != nil {
		fmt.Println(err)
		return
	}
	if err := orders.Publish(context.Background(), []byte("one")); err != nil {
		fmt.Println(err)
		return
	}
	f, err := camera.Take()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range f.Topics {
		fmt.Println(t.Name, t.Publishers, t.Published, t.Messages > 0)
	}
	// Output: orders 1 1 true
}
