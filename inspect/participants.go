package inspect

import (
	"errors"
	"io/fs"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/meet"
)

// State is what can be told about a participant without talking to it.
type State string

// The states.
const (
	Alive   State = "alive"   // and running, or waiting for something
	Stopped State = "stopped" // by a signal or a debugger
	Dead    State = "dead"    // and what it left was not removed yet
	Foreign State = "foreign" // of another kernel, or of before the last boot; nothing is known about it
	Unknown State = "unknown" // it may not be looked at
)

// Participant is a process that has opened a domain; one that has opened it twice is two.
type Participant struct {
	Domain       string // its name
	ID           uint64 // no other participant of the domain has it
	State        State  // as the folder and the kernel say
	PID          int    // in our PID namespace; 0: it has no number there, or is gone
	PIDNamespace uint32 // the inode number of its PID namespace; 0: unknown
	InnerPID     int    // in that; 0: unknown
	UID          int    // of its user; -1: unknown
	Program      string // the path of what it executes, or a short name; "" if unknown
	Ports        []Port // sorted by topic; none if it has only opened the domain
}

// Port is a side of a topic that a participant has.
type Port struct {
	Topic string // its name
	Role  string // "publisher", "subscriber", or "observer", which is a tool that looks
}

// Participants returns who takes part in a domain, by ID. Nobody is asked anything: it
// is what the domain's folder, the kernel and /proc say. One that does not exist has none.
func Participants(domain string, c *memlane.Config) ([]Participant, error) {
	folder, err := memlane.DomainFolder(domain, c)
	if err != nil {
		return nil, err
	}
	found, err := meet.Participants(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []Participant
	for _, f := range found {
		p := Participant{Domain: domain, ID: f.Instance, PID: f.PID, PIDNamespace: f.Process.Namespace, InnerPID: int(f.Process.Inner),
			UID: f.UID, Program: f.Process.Program}
		switch f.State {
		case meet.Alive:
			p.State = Alive
			if f.Process.Stopped {
				p.State = Stopped
			}
		case meet.Stale:
			p.State = Dead
		case meet.Foreign:
			p.State = Foreign
		default:
			p.State = Unknown
		}
		for _, e := range f.Ports {
			if e.Kind == meet.Topic {
				p.Ports = append(p.Ports, Port{e.Name, e.Role.String()})
			}
		}
		list = append(list, p)
	}
	return list, err
}
