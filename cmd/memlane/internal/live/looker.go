// Package live looks at topics again and again, for tools, and tells what has changed.
package live

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
)

// Looker looks at topics of a domain.
type Looker struct {
	Domain  string
	Config  *memlane.Config
	Topics  []string // all that there are, if none are named
	Patient bool     // a topic that is named and has nobody is no error

	opened *memlane.Domain // nil until somebody is there
}

// Look looks at the topics, sorted. That nobody is there matches fs.ErrNotExist.
func (l *Looker) Look() ([]*inspect.Snapshot, error) {
	there, err := inspect.Topics(l.Domain, l.Config)
	if err != nil {
		return nil, err
	}
	names := l.Topics
	if len(names) == 0 {
		if err := l.exists(); err != nil && !l.Patient {
			return nil, err
		}
		for _, t := range there {
			names = append(names, t.Name)
		}
	}
	var snapshots []*inspect.Snapshot
	for _, name := range names {
		snap, err := l.lookAt(name, there)
		switch {
		case err == nil:
			snapshots = append(snapshots, snap)
		case errors.Is(err, fs.ErrNotExist) && (l.Patient || len(l.Topics) == 0): // gone meanwhile
		default:
			return nil, err
		}
	}
	return snapshots, nil
}

// exists says whether anybody has opened the domain, and left it there.
func (l *Looker) exists() error {
	folder, err := memlane.DomainFolder(l.Domain, l.Config)
	if err != nil {
		return err
	}
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("domain %q: nobody has opened it: %w (see memlane ls, and --folder)", l.Domain, fs.ErrNotExist)
	}
	return nil
}

// lookAt looks at one topic. It opens the domain, which would make it, only if there is
// somebody in it.
func (l *Looker) lookAt(name string, there []inspect.Topic) (*inspect.Snapshot, error) {
	alive := false
	for _, t := range there {
		alive = alive || t.Name == name && t.Publishers+t.Subscribers > 0
	}
	if !alive {
		return nil, fmt.Errorf("topic %q of domain %q: %w (see memlane ls)", name, l.Domain, inspect.ErrNobody)
	}
	if l.opened == nil {
		var err error
		if l.opened, err = memlane.Open(l.Domain, l.Config); err != nil {
			return nil, err
		}
	}
	return inspect.Look(l.opened, name)
}

// Close leaves the domain.
func (l *Looker) Close() {
	if l.opened != nil {
		l.opened.Close()
	}
}
