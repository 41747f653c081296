// Package domain is a process's part in a domain, for the packages that are built on
// it (layer L5): its node, and what is closed with it. Users have a memlane.Domain,
// which has nothing of this.
package domain

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/ring"
)

// Of returns what is inside a *memlane.Domain. Package memlane, which alone can look
// into one, sets it when it is initialised.
var Of func(domain any) *Domain

// Domain is a process's part in a domain. All methods may be called at once.
type Domain struct {
	// CheckLeaks: what is lent is to be remembered. It is set before the domain is used.
	CheckLeaks bool

	name    string
	node    *meet.Node
	control *ring.Control // apart: what waits there for the garbage collector must not keep the rest

	mu     sync.Mutex
	closed bool
	users  map[io.Closer]bool // what is closed with it
}

// Open takes part in the domain of that name, whose folder is known.
func Open(name, folder string, c *meet.Config) (*Domain, error) {
	node, err := meet.Open(folder, c)
	if err != nil {
		return nil, err
	}
	return &Domain{name: name, node: node, control: new(ring.Control), users: map[io.Closer]bool{}}, nil
}

// Node returns its node. To add and remove ports there are [Domain.Add] and
// [Domain.Remove].
func (d *Domain) Node() *meet.Node { return d.node }

// Control returns where all that is built on it says what it reads.
func (d *Domain) Control() *ring.Control { return d.control }

// Add adds a port to the node. Of a domain that was closed the error matches
// [ring.ErrClosed], as that of Own does.
func (d *Domain) Add(p *meet.Port) error {
	err := d.node.Add(p)
	if errors.Is(err, meet.ErrClosed) {
		return d.isClosed()
	}
	return err
}

// Remove takes a port out of the node. It need not be in it: the domain may have been
// closed first, by somebody else, or before the port was added.
func (d *Domain) Remove(p *meet.Port) error {
	err := d.node.Remove(p)
	if errors.Is(err, meet.ErrGone) || errors.Is(err, meet.ErrClosed) {
		return nil
	}
	return err
}

// Own has Close close what is built on the domain, before it closes itself; with
// Disown it is forgotten.
func (d *Domain) Own(user io.Closer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return d.isClosed()
	}
	d.users[user] = true
	return nil
}

// Disown takes back an Own.
func (d *Domain) Disown(user io.Closer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.users, user)
}

func (d *Domain) isClosed() error { return fmt.Errorf("domain %q: %w", d.name, ring.ErrClosed) }

// Close closes everything that was opened on the domain, and leaves it. Calls in
// flight end with an error. Closing it again does nothing.
func (d *Domain) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	users := d.users
	d.users = nil
	d.mu.Unlock()
	var errs []error
	for user := range users {
		errs = append(errs, user.Close())
	}
	errs = append(errs, d.node.Close())
	d.control.Close()
	return errors.Join(errs...)
}
