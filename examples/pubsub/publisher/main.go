// Publisher publishes three messages to whoever subscribes.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

func main() {
	domain, err := memlane.Open("shop", nil) // a folder in shared memory
	if err != nil {
		log.Fatal(err)
	}
	defer domain.Close()
	orders, err := pubsub.Publish(domain, "orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := orders.WaitSubscribers(ctx, 1); err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		if err := orders.Publish(ctx, fmt.Appendf(nil, "espresso %d", i)); err != nil {
			log.Fatal(err)
		}
	}
}
