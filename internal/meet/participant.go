package meet

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"syscall"

	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/sys"
)

// Participant is somebody who has opened a domain, as its folder and the kernel say.
type Participant struct {
	Boot     string // in hexadecimal
	Instance uint64
	State    State
	PID      int // in our PID namespace; 0: it has none there, or is gone
	UID      int // -1: not known
	Process  life.Facts
	Ports    []Entry // sorted; none if it has none
}

// Participants returns who is in the folder of a domain, sorted by their numbers. It
// joins nothing and removes nothing. Who is there is connected to, and finds out no more
// than that somebody was.
func Participants(dir string) ([]Participant, error) {
	entries, err := List(dir)
	if err != nil {
		return nil, err
	}
	fail := func(err error) ([]Participant, error) {
		return nil, &Error{"list", "domain " + dir, err, "give the folder of a domain that you may read"}
	}
	root, err := sys.OpenFolder(dir)
	if err != nil {
		return fail(err)
	}
	defer sys.Close(root)
	sockets, err := sys.Openat(root, "sockets", sys.OPath|sys.ONoFollow|syscall.O_DIRECTORY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // nobody was here yet
	}
	if err != nil {
		return fail(err)
	}
	defer sys.Close(sockets)
	files, err := names(sockets, ".")
	if err != nil {
		return fail(err)
	}
	prober, err := sys.NewProber()
	if err != nil {
		return fail(err)
	}
	defer prober.Close()
	found := map[instance]*Participant{}
	participant := func(i instance) *Participant {
		if found[i] == nil {
			found[i] = &Participant{Boot: i.boot, Instance: i.id, State: stateOf(prober, sockets, i), UID: -1}
		}
		return found[i]
	}
	for _, file := range files {
		if i, ok := parseInstance(file); ok {
			participant(i)
		}
	}
	for _, e := range entries {
		p := participant(instance{e.Boot, e.Instance})
		p.Ports = append(p.Ports, e)
	}
	var list []Participant
	for i, p := range found {
		if p.State == Alive {
			p.identify(sockets, i)
		}
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Participant) int {
		return cmp.Or(cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.Instance, b.Instance))
	})
	return list, nil
}

// identify asks the kernel which process listens at the participant's socket.
func (p *Participant) identify(sockets int, i instance) {
	fd, err := sys.Seqpacket()
	if err != nil {
		return
	}
	defer sys.Close(fd)
	if sys.ConnectIn(fd, sockets, i.String()) != nil {
		return // it has just gone, or too many wait already that it takes note of them
	}
	who, err := sys.PeerCredentials(fd)
	if err != nil {
		return
	}
	p.UID = int(who.UID)
	pidfd, err := peerPidfd(fd)
	if errors.Is(err, syscall.ENOPROTOOPT) && who.PID != 0 {
		// Who has the number by now can be another process, of which then Facts are; but
		// if nobody has it, or who has it has ended, so has the participant.
		pidfd, err = sys.PidfdOpen(who.PID)
	}
	if ended(err) {
		p.State = Stale // a child of its that was forked has the socket still
	}
	if err != nil {
		return // it has no number here and the kernel is old, or we have no descriptors left
	}
	defer sys.Close(pidfd)
	if who.PID == 0 {
		return
	}
	p.PID, p.Process = who.PID, life.FactsOf(who.PID)
	// What was read is of this process if it is still there.
	if ended, err := sys.Readable(pidfd); err != nil || ended {
		p.State, p.PID, p.Process = Stale, 0, life.Facts{}
	}
}
