package segment_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/memlane/memlane/segment"
)

// A named segment, as two processes would use it.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c := &segment.Config{Folder: dir} // without it: a folder private to the user

	s, err := segment.Create("prices", 1<<20, c)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	copy(s.Bytes(), "AAPL 227.52")

	other, err := segment.Attach("prices", &segment.Config{Folder: dir, ReadOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer other.Close()
	fmt.Printf("%s\n", other.Bytes()[:11])

	_, err = segment.Create("prices", 1<<20, c)
	fmt.Println(errors.Is(err, segment.ErrExist))
	fmt.Println(segment.Remove("prices", c))
	// Output:
	// AAPL 227.52
	// true
	// <nil>
}

// An anonymous segment is handed over through a Unix socket. What its receiver
// has cannot be changed by anybody but its owner, nor taken away by anybody.
func ExampleSegment_Send() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	address := &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"}
	listener, err := net.ListenUnix("unix", address)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	ctx := context.Background()

	go func() { // the owner, which would be another process
		s, err := segment.CreateAnonymous("frames", 1<<20, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer s.Close()
		copy(s.Bytes(), "frame 1")
		conn, err := net.DialUnix("unix", nil, address)
		if err != nil {
			log.Fatal(err)
		}
		defer conn.Close()
		if err := s.Send(ctx, conn); err != nil {
			log.Fatal(err)
		}
	}()

	conn, err := listener.AcceptUnix()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	s, err := segment.Receive(ctx, conn, 16<<20, nil) // at most 16 MiB
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Printf("%d bytes: %s\n", s.Len(), s.Bytes()[:7])
	// Output: 1048576 bytes: frame 1
}
