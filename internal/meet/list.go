package meet

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// State is what can be told about a participant without talking to it.
type State string

// The states. A participant that is stopped is alive.
const (
	Alive   State = "alive"
	Stale   State = "stale"   // it has died, and what it left was not removed yet
	Foreign State = "foreign" // of another boot; nothing is known about it
	Unknown State = "unknown" // it may not be looked at
)

// Entry is one thing that a folder says: a participant has ports of this kind, name
// and role.
type Entry struct {
	Kind     Kind
	Name     string
	Role     Role
	Boot     string // in hexadecimal
	Instance uint64
	State    State
}

// List returns what the folder of a domain says, sorted. It joins nothing, removes
// nothing, and nobody notices.
func List(dir string) ([]Entry, error) {
	fail := func(err error) ([]Entry, error) {
		return nil, &Error{"list", "domain " + dir, err, "give the folder of a domain that you may read"}
	}
	root, err := sys.OpenFolder(dir)
	if err != nil {
		return fail(err)
	}
	defer sys.Close(root)
	ports, err := sys.Openat(root, "ports", sys.OPath|sys.ONoFollow|syscall.O_DIRECTORY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // nobody was here yet
	}
	if err != nil {
		return fail(err)
	}
	defer sys.Close(ports)
	folders, err := names(ports, ".")
	if err != nil {
		return fail(err)
	}
	sockets, err := sys.Openat(root, "sockets", sys.OPath|sys.ONoFollow|syscall.O_DIRECTORY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it is being made, or removed
	}
	if err != nil {
		return fail(err)
	}
	defer sys.Close(sockets)
	prober, err := sys.NewProber()
	if err != nil {
		return fail(err)
	}
	defer prober.Close()
	var list []Entry
	known := map[instance]State{}
	for _, folder := range folders {
		k, ok := parseKey(folder)
		if !ok {
			continue
		}
		files, err := names(ports, folder)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fail(err)
		}
		for _, file := range files {
			r, ok := parseRegistration(file)
			if !ok {
				continue
			}
			if known[r.instance] == "" {
				known[r.instance] = stateOf(prober, sockets, r.instance)
			}
			list = append(list, Entry{k.kind, k.name, r.role, r.boot, r.id, known[r.instance]})
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Role, b.Role),
			cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.Instance, b.Instance))
	})
	return list, nil
}

func stateOf(prober sys.Prober, sockets int, i instance) State {
	if i.boot != bootID() {
		return Foreign
	}
	bound, err := prober.BoundIn(sockets, i.String())
	switch {
	case bound:
		return Alive
	case err == nil, errors.Is(err, os.ErrNotExist):
		return Stale
	}
	return Unknown
}
