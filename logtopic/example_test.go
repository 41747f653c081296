package logtopic_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"regexp"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/logtopic"
	"github.com/memlane/memlane/pubsub"
)

// Usually the reader is another process, such as "memlane logs".
func Example() {
	folder, err := os.MkdirTemp("", "memlane")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	domain, err := memlane.Open("example", &memlane.Config{Folder: folder}) // nil in programs
	if err != nil {
		log.Fatal(err)
	}
	defer domain.Close()

	h, err := logtopic.NewHandler(domain, "logs", &logtopic.Config{Program: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	shop := slog.New(withoutTime{h})
	shop.Info("order served", "what", "espresso", "table", 7)

	records, err := pubsub.Subscribe(domain, "logs", &pubsub.SubscriberConfig{History: pubsub.AllHistory})
	if err != nil {
		log.Fatal(err)
	}
	r, err := records.Receive(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(withoutPID(r.Data))
	// Output:
	// {"level":"INFO","program":"shop","msg":"order served","what":"espresso","table":7}
}

// withoutTime is a handler of examples, whose output is always the same.
type withoutTime struct{ slog.Handler }

func (h withoutTime) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Time{}
	return h.Handler.Handle(ctx, r)
}

func withoutPID(record []byte) string {
	return regexp.MustCompile(`,"pid":\d+`).ReplaceAllString(string(record), "")
}
