package inspect_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/pubsub"
)

func Example() {
	folder, err := os.MkdirTemp("", "memlane")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	config := &memlane.Config{Folder: folder}
	domain, err := memlane.Open("example", config)
	if err != nil {
		log.Fatal(err)
	}
	defer domain.Close()
	orders, err := pubsub.Subscribe(domain, "orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	shop, err := pubsub.Publish(domain, "orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		if err := shop.Publish(context.Background(), []byte("espresso")); err != nil {
			log.Fatal(err)
		}
	}

	topics, err := inspect.Topics("example", config)
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range topics {
		fmt.Println(t.Name, t.Publishers, t.Subscribers)
	}
	look, err := inspect.Look(domain, "orders")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range look.Publishers {
		fmt.Println(p.Policy, p.Slots, p.Published)
		for _, s := range p.Subscriptions {
			fmt.Println(s.Received, s.Lost, s.Lag)
		}
	}
	orders.Close()
	// Output:
	// orders 1 1
	// drop oldest 1024 3
	// 0 0 3
}
