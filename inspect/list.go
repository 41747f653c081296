// Package inspect looks at domains and their topics without taking part (layer L8).
//
//	topics, err := inspect.Topics("default", nil)
//	look, err := inspect.Look(domain, "orders")
//
// Nothing is written, no publisher waits, and nobody is slower for it. What is seen
// is what others say: numbers of one that is broken or hostile can be anything.
package inspect

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/meet"
)

// Topic is a topic that somebody takes part in.
type Topic struct {
	Domain, Name            string // the topic's, and the domain that it is in
	Publishers, Subscribers int    // participants that are there
	Stale                   int    // that have died, and were not cleaned up behind yet
	Unknown                 int    // of another kernel, or that may not be looked at
}

// Domains returns the names of the domains in the folder that the config says,
// sorted.
func Domains(c *memlane.Config) ([]string, error) {
	any, err := memlane.DomainFolder("any", c)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Dir(any))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), filepath.Ext(any))
		if folder, err := memlane.DomainFolder(name, c); ok && e.IsDir() && err == nil && filepath.Base(folder) == e.Name() {
			names = append(names, name)
		}
	}
	return names, nil
}

// Topics returns the topics of a domain, sorted, without talking to anybody. One that
// does not exist has none.
func Topics(domain string, c *memlane.Config) ([]Topic, error) {
	list, err := participants(domain, c)
	if err != nil {
		return nil, err
	}
	var topics []Topic
	for _, p := range list {
		if p.Kind != meet.Topic || p.Role == meet.Observer {
			continue
		}
		if n := len(topics); n == 0 || topics[n-1].Name != p.Name {
			topics = append(topics, Topic{Domain: domain, Name: p.Name})
		}
		t := &topics[len(topics)-1]
		switch {
		case p.State == meet.Stale:
			t.Stale++
		case p.State != meet.Alive:
			t.Unknown++
		case p.Role == meet.Publisher:
			t.Publishers++
		case p.Role == meet.Subscriber:
			t.Subscribers++
		}
	}
	return topics, nil
}

func participants(domain string, c *memlane.Config) ([]meet.Entry, error) {
	folder, err := memlane.DomainFolder(domain, c)
	if err != nil {
		return nil, err
	}
	list, err := meet.List(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}
