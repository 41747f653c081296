// Package memlane is where programs of one machine meet to exchange messages
// through memory that they share (layer L6).
//
// A [Domain] is a folder. Who opens it takes part; the packages on top of it say in
// what: pubsub is topics that are published and subscribed to.
//
//	domain, err := memlane.Open("shop", nil)
//	orders, err := pubsub.Publish(domain, "orders", nil)
//
// There is no daemon. The folder has a socket of each participant, over which the
// two sides of a topic exchange descriptors of memory when they meet; messages do
// not pass through it.
package memlane

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/segment"
)

// ErrName: a name that a domain or a topic cannot have.
var ErrName = fmt.Errorf("invalid name: %w", fs.ErrInvalid)

// ErrLimit: a limit of this process, of the kernel or of the domain is reached. The text
// names the setting to change; docs/LIMITS.md has them all. Errors of the packages on top
// match it too.
var ErrLimit = meet.ErrLimit

// Config is what can be set of a domain. A nil *Config has the defaults.
type Config struct {
	// Folder is the folder in which the domain's own folder is; empty:
	// segment.DefaultFolder, that is $MEMLANE_DIR, or one in /dev/shm that is private
	// to the user.
	Folder string

	// LeakCheck has what is built on the domain remember where each loan, and each message
	// that is borrowed, was taken: to close a publisher or a subscriber, or the domain, is an
	// error then that says where those were taken that were not given back. It is for tests,
	// and for who looks for them: it costs about a microsecond for each.
	LeakCheck bool

	// Owners are the users besides this process's own whose processes may take
	// part with it. For users of one group, make the domain's folder beforehand,
	// DomainFolder says which, give it to the group and chmod it 2770; each process
	// names all others' users here, and the folder's owner.
	Owners []int
}

// Domain is this process's part in a domain. All methods may be called at once.
type Domain struct {
	name   string
	folder string
	inside *domain.Domain
}

// What is built on a domain reaches what users do not see.
func init() {
	domain.Of = func(d any) *domain.Domain { return d.(*Domain).inside }
}

// Open takes part in the domain of that name, of 1 to 100 bytes without '/', which
// begins to exist with its first participant. A process may open it more than once,
// as several participants.
func Open(name string, c *Config) (*Domain, error) {
	if c == nil {
		c = &Config{}
	}
	folder, err := DomainFolder(name, c)
	if err != nil {
		return nil, fmt.Errorf("memlane: open domain %q: %w", name, err)
	}
	inside, err := domain.Open(name, folder, &meet.Config{Owners: c.Owners})
	if err != nil {
		return nil, fmt.Errorf("memlane: open domain %q: %w", name, err)
	}
	inside.CheckLeaks = c.LeakCheck
	return &Domain{name, folder, inside}, nil
}

// DomainFolder returns the folder of the domain of that name, whether it exists or
// not. Errors match [ErrName], and those of segment.DefaultFolder.
func DomainFolder(name string, c *Config) (string, error) {
	if name == "" || len(name) > 100 || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%w: a domain's name has 1 to 100 bytes, does not begin with a dot, and has no slash and no control character in it", ErrName)
	}
	folder := ""
	if c != nil {
		folder = c.Folder
	}
	if folder == "" {
		var err error
		if folder, err = segment.DefaultFolder(); err != nil {
			return "", err
		}
	}
	return filepath.Join(folder, name+".domain"), nil
}

// Name returns the domain's name.
func (d *Domain) Name() string { return d.name }

// Folder returns the domain's folder. Share it into a container, as a volume, and
// what runs there can take part.
func (d *Domain) Folder() string { return d.folder }

// Close closes everything that was opened on the domain, and leaves it. Calls in
// flight end with an error. Closing it again does nothing.
func (d *Domain) Close() error {
	if err := d.inside.Close(); err != nil {
		return fmt.Errorf("memlane: close domain %q: %w", d.name, err)
	}
	return nil
}
