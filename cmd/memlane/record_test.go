package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/memlane/memlane/cmd/memlane/internal/mcap"
)

// However many publishers come and go, there are channels for them: when there are many,
// further ones share one of each topic and kind of messages.
func TestChannelsOfManyPublishers(t *testing.T) {
	w, err := mcap.NewWriter(io.Discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &record{writer: w, shared: map[string]uint16{}}
	seen := map[uint16]int{}
	for i := range 100_000 {
		topic, contentType := "even", ""
		if i%2 == 1 {
			topic = "odd"
		}
		if i%5 == 0 {
			contentType = "application/json"
		}
		id, err := r.channel(&source{origin: origin{topic, uint64(i)}, contentType: contentType})
		if err != nil {
			t.Fatal(err)
		}
		seen[id]++
	}
	if len(seen) != channelsMost+4 || seen[channelsMost-1] != 1 || seen[channelsMost] < 1000 {
		t.Errorf("%d channels; the last ones have %d and %d publishers", len(seen), seen[channelsMost-1], seen[channelsMost])
	}
}

// What messages are is known of recordings of other tools too.
func TestFormatsOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "others.mcap")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := mcap.NewWriter(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.AddSchema("shop.Order", "protobuf", nil)
	for _, c := range []mcap.Channel{
		{Topic: "protobuf", MessageEncoding: "protobuf", SchemaID: id},
		{Topic: "json", MessageEncoding: "json"},
		{Topic: "ros1", MessageEncoding: "ros1"},
		{Topic: "ours", MessageEncoding: "json", Metadata: map[string]string{ofContentType: "application/json; v=1"}},
		{Topic: "bad", Metadata: map[string]string{ofSchema: "{"}},
	} {
		if err == nil {
			_, err = w.AddChannel(c)
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	var f recordingFlags
	r, err := f.open(path, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	want := map[string]string{"protobuf": "application/protobuf; message=shop.Order", "json": "application/json", "ours": "application/json; v=1"}
	if len(r.channels) != 5 {
		t.Fatalf("%d channels", len(r.channels))
	}
	for _, c := range r.channels {
		values, contentType, err := r.formatOf(c)
		if values != nil || contentType != want[c.Topic] || (err != nil) != (c.Topic == "bad") {
			t.Errorf("%s: %v, %q, %v", c.Topic, values, contentType, err)
		}
	}
}
