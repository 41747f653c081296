package domain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/ring"
)

// user is what is built on a domain.
type user string

func (u user) Close() error {
	fmt.Println("closes", string(u))
	return nil
}

// What is built on a domain is closed with it.
func Example() {
	folder, err := os.MkdirTemp("", "memlane")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	outside, err := memlane.Open("shop", &memlane.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	inside := domain.Of(outside)
	for _, u := range []user{"the one", "the other"} {
		if err := inside.Own(u); err != nil {
			log.Fatal(err)
		}
	}
	inside.Disown(user("the other"))
	if err := outside.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(inside.Own(user("a third")))
	// Output:
	// closes the one
	// domain "shop": closed
}

// nobody is a handler of a port that is alone.
type nobody struct{}

func (nobody) Found(*meet.Remote)                  {}
func (nobody) Message(*meet.Remote, *meet.Message) {}
func (nobody) Lost(*meet.Remote)                   {}

// Whoever comes upon a closed domain, by whatever call, sees the same error.
func TestClosed(t *testing.T) {
	d, err := domain.Open("shop", filepath.Join(t.TempDir(), "shop.domain"), &meet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	port := func() *meet.Port {
		return &meet.Port{Kind: meet.Topic, Name: "orders", Role: meet.Publisher, Handler: nobody{}}
	}
	first := port()
	for _, err := range []error{d.Add(first), d.Remove(first), d.Remove(first), d.Add(port())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := d.Remove(first); err != nil {
		t.Error(err)
	}
	for _, err := range []error{d.Add(port()), d.Own(user("late"))} {
		if !errors.Is(err, ring.ErrClosed) || !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	}
}
