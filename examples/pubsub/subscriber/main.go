// Subscriber prints what publishers publish, until Ctrl-C.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

func main() {
	domain, err := memlane.Open("shop", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer domain.Close()
	orders, err := pubsub.Subscribe(domain, "orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	for order, err := range orders.All(context.Background()) {
		if err != nil {
			log.Print(err) // messages that were lost; it goes on
			continue
		}
		fmt.Println(order.Sequence, string(order.Data))
	}
}
