// Agent reads what the programs of a domain log, and passes it on.
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
	records, err := pubsub.Subscribe(domain, "logs", &pubsub.SubscriberConfig{History: pubsub.AllHistory})
	if err != nil {
		log.Fatal(err)
	}
	for record, err := range records.All(context.Background()) {
		if err != nil {
			log.Print(err) // records that were lost; it goes on
			continue
		}
		fmt.Println(string(record.Data)) // a line of JSON
	}
}
