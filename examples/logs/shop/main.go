// Shop logs to a topic, and does not wait for whoever reads it: see agent, or memlane logs.
package main

import (
	"log"
	"log/slog"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/logtopic"
)

func main() {
	domain, err := memlane.Open("shop", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer domain.Close()
	h, err := logtopic.NewHandler(domain, "logs", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	slog.SetDefault(slog.New(h))
	for table := 1; ; table++ {
		slog.Info("order served", "what", "espresso", slog.Group("at", "table", table))
		time.Sleep(time.Second)
	}
}
