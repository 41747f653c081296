package pubsub_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/schema"
)

// ten has ten fields; of three levels a thousand, and a schema of some 50 KiB.
type ten[T any] struct{ A, B, C, D, E, F, G, H, I, J T }

type (
	thousand      struct{ Fields ten[ten[ten[uint8]]] }
	otherThousand struct {
		Fields ten[ten[ten[uint8]]]
		More   float64
	}
)

// subscribeThousand is a process that subscribes to values of a thousand fields, in the
// way of args[1], and says what comes of it. Args: the folder, the way.
func subscribeThousand(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	defer d.Close()
	switch args[1] {
	case "the same":
		s, err := pubsub.SubscribeOf[thousand](d, "numbers", nil)
		if err != nil {
			return err
		}
		fmt.Println("ready")
		m, err := s.Receive(background)
		fmt.Println(m.Value.Fields.J.I.H, err)
	case "another":
		_, err := pubsub.SubscribeOf[otherThousand](d, "numbers", nil)
		fmt.Println(errors.Is(err, pubsub.ErrRefused), err)
	case "any":
		s, err := pubsub.Subscribe(d, "numbers", nil)
		if err != nil {
			return err
		}
		fmt.Println("ready")
		m, err := s.Receive(background)
		if err != nil {
			return err
		}
		values, contentType := s.Format(m.Publisher)
		text, err := values.AppendJSON(nil, m.Data)
		fmt.Println(values.ID(), contentType, strings.Count(string(text), ":"), err, s.PID(m.Publisher) == os.Getppid(), s.PID(m.Publisher+1))
	}
	return nil
}

// A schema of any length that there can be comes to those who look and who receive, and
// what another one has different is told, in two processes.
func TestLongSchemas(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	s, err := schema.Of[thousand]()
	if err != nil || len(s.String()) < 40_000 {
		t.Fatal(len(s.String()), err)
	}
	p, err := pubsub.PublishOf[thousand](d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	same := proctest.Start(t, nil, "subscribe thousand", folder, "the same")
	if got := same.Line(); got != "ready" {
		t.Fatal(got)
	}
	anything := proctest.Start(t, nil, "subscribe thousand", folder, "any")
	if got := anything.Line(); got != "ready" {
		t.Fatal(got)
	}
	another := proctest.Start(t, nil, "subscribe thousand", folder, "another").Line()
	for _, want := range []string{"true", "the publisher refuses", "\"field More: the publisher has none, the subscriber f64 at 1000\""} {
		if !strings.Contains(another, want) {
			t.Errorf("the other is told %q, without %q", another, want)
		}
	}
	var value thousand
	value.Fields.J.I.H = 7
	if err := p.Publish(background, &value); err != nil {
		t.Fatal(err)
	}
	if got := same.Line(); got != "7 <nil>" {
		t.Error(got)
	}
	if got, want := anything.Line(), fmt.Sprintf("%s  1111 <nil> true 0", s.ID()); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	look, err := inspect.Look(d, "numbers")
	if err != nil || len(look.Publishers) != 1 {
		t.Fatalf("%+v, %v", look, err)
	}
	if got := look.Publishers[0]; got.Schema == nil || got.Schema.String() != s.String() || got.ContentType != "" {
		t.Errorf("an observer sees %v, %q", got.Schema, got.ContentType)
	}
}

// Who wants other messages than there are is refused; who says nothing takes all, and
// refuses nobody.
func TestWhoSuitsWhom(t *testing.T) {
	d := open(t, t.TempDir())
	one, err := schema.Of[versionOne]()
	if err != nil {
		t.Fatal(err)
	}
	two, err := schema.Of[versionTwo]()
	if err != nil {
		t.Fatal(err)
	}
	formats := []struct {
		values      *schema.Schema
		contentType string
		sees        string // what a tool sees
	}{{nil, "", ""}, {one, "", ""}, {two, "", ""}, {nil, "Application/JSON", "application/json"}, {nil, "application/protobuf; message=shop.Order", "application/protobuf; message=shop.Order"}}
	for i, has := range formats {
		topic := fmt.Sprint("topic ", i)
		p, err := pubsub.Publish(d, topic, &pubsub.PublisherConfig{Schema: has.values, ContentType: has.contentType})
		if err != nil {
			t.Fatal(err)
		}
		look, err := inspect.Look(d, topic)
		if err != nil || len(look.Publishers) != 1 {
			t.Fatalf("%+v, %v", look, err)
		}
		seen := look.Publishers[0]
		if (seen.Schema == nil) != (has.values == nil) || seen.Schema != nil && seen.Schema.Hash() != has.values.Hash() || seen.ContentType != has.sees {
			t.Errorf("an observer of %+v sees %v, %q", has, seen.Schema, seen.ContentType)
		}
		for k, wants := range formats {
			s, err := pubsub.Subscribe(d, topic, &pubsub.SubscriberConfig{Schema: wants.values, ContentType: wants.contentType})
			if i == 0 || k == 0 || i == k {
				if err != nil {
					t.Errorf("who wants %+v of %+v: %v", wants, has, err)
					continue
				}
				if values, contentType := s.Format(seen.ID); contentType != has.sees || (values == nil) != (has.values == nil) || values != nil && values.Hash() != has.values.Hash() {
					t.Errorf("who receives from %+v sees %v, %q", has, values, contentType)
				}
				if values, contentType := s.Format(seen.ID + 1); values != nil || contentType != "" {
					t.Errorf("of nobody there is %v, %q", values, contentType)
				}
				s.Close()
				if values, contentType := s.Format(seen.ID); values != nil || contentType != "" {
					t.Errorf("when it is closed there is %v, %q", values, contentType)
				}
				continue
			}
			says(t, err, pubsub.ErrRefused, "subscribe to", "the same type, Schema or ContentType")
			if has.sees != "" && !strings.Contains(err.Error(), "the publisher's messages are "+has.sees) || wants.sees != "" && !strings.Contains(err.Error(), "the subscriber wants "+wants.sees) {
				t.Errorf("who wants %+v of %+v is told %v", wants, has, err)
			}
		}
		p.Close()
	}
}

// Another text for the same is the same: programs in other languages write it in their way.
func TestSchemaByHand(t *testing.T) {
	d := open(t, t.TempDir())
	// A Schema may have other names than the type.
	named, err := schema.Parse([]byte(`{"size": 8, "fields": [{"type": "u64", "name": "amount", "offset": 0}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := pubsub.PublishOf[versionOne](d, "numbers", &pubsub.PublisherConfig{Schema: named})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.SubscribeOf[struct{ amount uint64 }](d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(background, &versionOne{5}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Receive(background); err != nil || m.Value.amount != 5 {
		t.Error(m, err)
	}
	_, err = pubsub.SubscribeOf[versionOne](d, "numbers", nil)
	says(t, err, pubsub.ErrRefused, "field amount: the publisher has u64 at 0, the subscriber none; field Amount: the publisher has none, the subscriber u64 at 0")
}
