package meet_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/memlane/memlane/internal/meet"
)

// greeter greets every port that it finds.
type greeter struct{ heard chan string }

func (g greeter) Found(r *meet.Remote) { r.Send(1, []byte("hello, "+r.Role().String())) }
func (g greeter) Message(r *meet.Remote, m *meet.Message) {
	g.heard <- fmt.Sprintf("a %v says: %s", r.Role(), m.Body)
}
func (g greeter) Lost(r *meet.Remote) {}

// Two participants of a domain; most often they are in two processes.
func Example() {
	dir, err := os.MkdirTemp("", "memlane-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	domain := filepath.Join(dir, "domain")

	g := greeter{make(chan string, 2)}
	for _, role := range []meet.Role{meet.Publisher, meet.Subscriber} {
		n, err := meet.Open(domain, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer n.Close()
		if err := n.Add(&meet.Port{Kind: meet.Topic, Name: "prices", Role: role, Handler: g}); err != nil {
			log.Fatal(err)
		}
	}
	// The second Add returned when both had been found, and the greeting of who was
	// there before had come.
	said := []string{<-g.heard, <-g.heard}
	slices.Sort(said)
	fmt.Println(strings.Join(said, "\n"))
	// Output:
	// a publisher says: hello, subscriber
	// a subscriber says: hello, publisher
}
