package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// here opens a domain of the examples' own; programs give nil instead of a Config.
func here() (*memlane.Domain, func()) {
	folder, err := os.MkdirTemp("", "memlane")
	if err != nil {
		log.Fatal(err)
	}
	d, err := memlane.Open("example", &memlane.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	return d, func() {
		d.Close()
		os.RemoveAll(folder)
	}
}

// Usually the two sides are two processes.
func Example() {
	domain, done := here()
	defer done()
	ctx := context.Background()

	orders, err := pubsub.Subscribe(domain, "orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	shop, err := pubsub.Publish(domain, "orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, what := range []string{"espresso", "cappuccino"} {
		if err := shop.Publish(ctx, []byte(what)); err != nil {
			log.Fatal(err)
		}
	}
	for range 2 {
		m, err := orders.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Sequence, string(m.Data))
	}
	// Output:
	// 0 espresso
	// 1 cappuccino
}

// Position is what a typed topic has: numbers and arrays, no pointers.
type Position struct {
	Vehicle             uint32
	Latitude, Longitude float64
}

func ExamplePublishOf() {
	domain, done := here()
	defer done()
	ctx := context.Background()

	positions, err := pubsub.SubscribeOf[Position](domain, "positions", nil)
	if err != nil {
		log.Fatal(err)
	}
	vehicle, err := pubsub.PublishOf[Position](domain, "positions", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := vehicle.Publish(ctx, &Position{17, 52.5, 13.4}); err != nil {
		log.Fatal(err)
	}
	m, err := positions.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Sequence, m.Value)

	_, err = pubsub.PublishOf[struct{ On bool }](domain, "switches", nil)
	fmt.Println(err)
	// Output:
	// 0 {17 52.5 13.4}
	// pubsub: publish "switches": type cannot be viewed in mapped memory: struct { On bool }: field .On: bool has invalid bit patterns (use integers, floats, arrays and structs of them; a byte instead of a bool)
}

// Large messages are written once and read in place.
func ExamplePublisher_Loan() {
	domain, done := here()
	defer done()
	ctx := context.Background()

	frames, err := pubsub.Subscribe(domain, "frames", nil)
	if err != nil {
		log.Fatal(err)
	}
	camera, err := pubsub.Publish(domain, "frames", nil)
	if err != nil {
		log.Fatal(err)
	}
	frame, err := camera.Loan(ctx, 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	copy(frame.Bytes(), "a picture")
	if err := frame.Publish(ctx, 1<<20); err != nil {
		log.Fatal(err)
	}
	m, err := frames.Borrow(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(m.Data), string(m.Data[:9]))
	m.Release()
	// Output: 1048576 a picture
}

// A subscriber that is a whole ring behind loses the oldest messages, is told how
// many, and goes on.
func ExampleLaggedError() {
	domain, done := here()
	defer done()
	ctx := context.Background()

	prices, err := pubsub.Subscribe(domain, "prices", nil)
	if err != nil {
		log.Fatal(err)
	}
	exchange, err := pubsub.Publish(domain, "prices", &pubsub.PublisherConfig{Slots: 64})
	if err != nil {
		log.Fatal(err)
	}
	// On a machine that is busy it may not have answered in time.
	if err := exchange.WaitSubscribers(ctx, 1); err != nil {
		log.Fatal(err)
	}
	for price := range 1000 {
		if err := exchange.Publish(ctx, fmt.Append(nil, price)); err != nil {
			log.Fatal(err)
		}
	}
	received, lost := 0, 0
	for received+lost < 1000 {
		_, err := prices.Receive(ctx)
		var lagged *pubsub.LaggedError
		switch {
		case errors.As(err, &lagged):
			lost += int(lagged.Lost)
		case err != nil:
			log.Fatal(err)
		default:
			received++
		}
	}
	fmt.Println(received > 0, lost > 0, received+lost)
	// Output: true true 1000
}

// Picture is a message that is too large to be copied twice.
type Picture struct {
	Width, Height uint32
	Pixels        [1 << 20]byte
}

// A large value is written where subscribers read it.
func ExamplePublisherOf_Loan() {
	domain, done := here()
	defer done()
	ctx := context.Background()

	frames, err := pubsub.SubscribeOf[Picture](domain, "frames", nil)
	if err != nil {
		log.Fatal(err)
	}
	camera, err := pubsub.PublishOf[Picture](domain, "frames", nil)
	if err != nil {
		log.Fatal(err)
	}
	frame, err := camera.Loan(ctx)
	if err != nil {
		log.Fatal(err)
	}
	picture := frame.Value()
	picture.Width, picture.Height = 1024, 1024
	picture.Pixels[0] = 255
	if err := frame.Publish(ctx); err != nil {
		log.Fatal(err)
	}

	m, err := frames.Borrow(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Value.Width, m.Value.Height, m.Value.Pixels[0])
	m.Release()
	// Output: 1024 1024 255
}

// What a publisher says of its messages, tools and programs in other languages decode them
// by.
func ExampleSubscriber_Format() {
	domain, done := here()
	defer done()
	ctx := context.Background()

	anything, err := pubsub.Subscribe(domain, "positions", nil)
	if err != nil {
		log.Fatal(err)
	}
	vehicle, err := pubsub.PublishOf[Position](domain, "positions", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := vehicle.Publish(ctx, &Position{17, 52.5, 13.4}); err != nil {
		log.Fatal(err)
	}
	m, err := anything.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	values, _ := anything.Format(m.Publisher)
	text, err := values.AppendJSON(nil, m.Data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	// Output: {"Vehicle":17,"Latitude":52.5,"Longitude":13.4}
}

// A subscriber that wants other messages is refused, and told what the difference is.
func ExampleSubscriberConfig() {
	domain, done := here()
	defer done()

	_, err := pubsub.Publish(domain, "orders", &pubsub.PublisherConfig{ContentType: "application/json"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = pubsub.Subscribe(domain, "orders", &pubsub.SubscriberConfig{ContentType: "application/protobuf; message=shop.Order"})
	fmt.Println(errors.Is(err, pubsub.ErrRefused))
	_, err = pubsub.Subscribe(domain, "orders", nil) // takes all
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// One goroutine for several topics: what comes first is served first.
func ExampleGroup() {
	folder, err := os.MkdirTemp("", "memlane")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	domain, err := memlane.Open("shop", &memlane.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	defer domain.Close()
	var members []pubsub.Member
	names := []string{"orders", "returns"}
	for _, name := range names {
		s, err := pubsub.Subscribe(domain, name, nil)
		if err != nil {
			log.Fatal(err)
		}
		members = append(members, s)
	}
	returns, err := pubsub.Publish(domain, "returns", nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := returns.WaitSubscribers(ctx, 1); err != nil {
		log.Fatal(err)
	}
	if err := returns.Publish(ctx, []byte("one espresso, cold")); err != nil {
		log.Fatal(err)
	}
	group, err := pubsub.NewGroup(members...)
	if err != nil {
		log.Fatal(err)
	}
	member, message, err := group.Receive(ctx)
	fmt.Println(names[member], string(message.Data), err)
	// Output: returns one espresso, cold <nil>
}
