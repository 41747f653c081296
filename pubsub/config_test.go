package pubsub_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
)

// What is wrong in a config is named, and what the limit is.
func TestWrongConfig(t *testing.T) {
	d := open(t, t.TempDir())
	long := "text/" + strings.Repeat("x", 1000)
	of8, err := schema.Of[uint64]()
	if err != nil {
		t.Fatal(err)
	}
	for words, c := range map[string]pubsub.PublisherConfig{
		"Slots is -1; want 0, which is the default, to 1048576":                  {Slots: -1},
		"Slots is 1048577; want 0, which is the default, to 1048576":             {Slots: 1<<20 + 1},
		"Slots is 9223372036854775807; want 0, which is the default, to 1048576": {Slots: 1<<63 - 1},
		"SlotBytes is -64; want 0, which is the default, to 4096":                {SlotBytes: -64},
		"SlotBytes is 4097; want 0, which is the default, to 4096":               {SlotBytes: 4097},
		"ArenaBytes is -5; want 0, which is the default, to 1099511627776":       {ArenaBytes: -5},
		"ArenaLimit is -5; want 0, which is the default, to 1099511627776":       {ArenaLimit: -5},
		"ArenaLimit is 1099511627777; want 0,":                                   {ArenaLimit: 1<<40 + 1},
		"ArenaLimit is 100; want at least ArenaBytes, 65536":                     {ArenaLimit: 100},
		"Policy is 7; want":                                   {Policy: 7},
		"ContentType has 1005 bytes; want at most 1000":       {ContentType: long},
		`ContentType is "json"; want a media type, such as`:   {ContentType: "json"},
		`ContentType is "a/b; c"; want a media type, such as`: {ContentType: "a/b; c"},
		`want one of them`:                                    {Schema: of8, ContentType: "text/csv"},
	} {
		_, err := pubsub.Publish(d, "numbers", &c)
		says(t, err, os.ErrInvalid, `publish "numbers"`, words, "PublisherConfig")
	}
	for words, c := range map[string]pubsub.SubscriberConfig{
		"History is -1; want 0, which is the default, or more": {History: -1},
		"Quota is -1; want 0, which is the default, or more":   {Quota: -1},
		"ContentType has 1005 bytes; want at most 1000":        {ContentType: long},
		"want one of them": {Schema: of8, ContentType: "text/csv"},
	} {
		_, err := pubsub.Subscribe(d, "numbers", &c)
		says(t, err, os.ErrInvalid, `subscribe to "numbers"`, words, "SubscriberConfig")
	}
	// Of values a Schema is of as many bytes, and there is no content type.
	_, err = pubsub.PublishOf[uint32](d, "numbers", &pubsub.PublisherConfig{Schema: of8})
	says(t, err, os.ErrInvalid, `publish "numbers"`, "Schema is of 8 bytes, and a uint32 has 4", "other names")
	_, err = pubsub.SubscribeOf[uint32](d, "numbers", &pubsub.SubscriberConfig{Schema: of8})
	says(t, err, os.ErrInvalid, `subscribe to "numbers"`, "Schema is of 8 bytes, and a uint32 has 4", "other names")
	_, err = pubsub.PublishOf[uint64](d, "numbers", &pubsub.PublisherConfig{ContentType: "text/csv"})
	says(t, err, os.ErrInvalid, `publish "numbers"`, "want one of them", "PublisherConfig")
}

// Who only looks on is not waited for.
func TestWaitSubscribersDoesNotCountPeeking(t *testing.T) {
	d := open(t, t.TempDir())
	p, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pubsub.Subscribe(d, "numbers", &pubsub.SubscriberConfig{Peek: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there", func() bool { return p.Subscribers() == 1 })
	ctx, cancel := context.WithCancelCause(background)
	done := make(chan error)
	go func() { done <- p.WaitSubscribers(ctx, 1) }()
	cancel(errEnough)
	says(t, <-done, errEnough, "0 of 1 are there, and 1 that peek")
	go func() { done <- p.WaitSubscribers(background, 1) }()
	if _, err := pubsub.Subscribe(d, "numbers", nil); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	// Nor does it wait with a context that has ended.
	if err := p.WaitSubscribers(ctx, 1); !errors.Is(err, errEnough) {
		t.Error(err)
	}
}
