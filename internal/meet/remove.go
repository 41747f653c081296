package meet

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/sys"
)

// The folder of a domain that nobody takes part in can be removed. Whoever opens the
// domain holds a shared lock (flock(2)) on the folder until its socket is there, which
// keeps the folder after that; who removes it holds an exclusive one.

// errRemoved: somebody has removed the folder since it was found.
var errRemoved = errors.New("somebody removes it again and again")

// holdFor is how long a removal is waited for, which takes microseconds unless who
// does it was stopped.
const holdFor = 2 * time.Second

// hold keeps the folder from being removed, until letGo.
func (d *folder) hold() error {
	fd, err := sys.Openat(d.root, ".", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if errors.Is(err, syscall.ENOENT) {
		return errRemoved
	}
	if err != nil {
		return err
	}
	d.held = fd
	end := time.Now().Add(holdFor)
	for err = sys.TryFlockShared(fd); errors.Is(err, syscall.EWOULDBLOCK); err = sys.TryFlockShared(fd) {
		if time.Now().After(end) {
			return errors.New("somebody who removes it does not go on: is a memlane clean stopped?")
		}
		time.Sleep(time.Millisecond)
	}
	// Where the file system has no such locks, nobody can remove it either.
	st, err := sys.Fstat(d.root)
	if err == nil && st.LinkCount == 0 {
		return errRemoved
	}
	return err
}

// letGo lets go of the folder.
func (d *folder) letGo() {
	if d.held >= 0 {
		sys.Close(d.held)
		d.held = -1
	}
}

// Clean removes from the folder of a domain what participants of this boot have left
// of which it is certain that they are dead, as Open does, and then the folder itself
// if nothing is in it any more and it is this user's alone. It says whether it did. owners are users that are
// accepted besides our own.
func Clean(dir string, owners []int) (removed bool, err error) {
	fail := func(err error) (bool, error) {
		return false, &Error{"clean", "domain " + dir, err, "give the folder of a domain that you may write in"}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fail(err)
	}
	d := &folder{path: dir, root: -1, sockets: -1, ports: -1, held: -1}
	defer d.close()
	if d.root, err = sys.OpenFolder(dir); err != nil {
		return fail(err)
	}
	mode, uid, fix, err := d.check(owners)
	if err != nil {
		return false, &Error{"clean", "domain " + dir, err, fix}
	}
	for name, fd := range map[string]*int{"sockets": &d.sockets, "ports": &d.ports} {
		*fd, err = sys.Openat(d.root, name, sys.OPath|sys.ONoFollow|syscall.O_DIRECTORY, 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fail(err)
		}
	}
	if d.sockets >= 0 && d.ports >= 0 {
		d.sweep()
		d.sweepParents()
		d.removePorts()
	}
	// One that several users share was made on purpose, and stays.
	return mode == 0o700 && uid == os.Geteuid() && d.remove(), nil
}

// sweepParents removes what those have left who have ended while a forked child has their
// socket. Sweep does not: those who are there are connected to.
func (d *folder) sweepParents() {
	sockets, _ := names(d.sockets, ".")
	for _, name := range sockets {
		i, ok := parseInstance(name)
		if !ok || i.boot != bootID() {
			continue
		}
		p := Participant{State: Alive}
		if p.identify(d.sockets, i); p.State == Stale {
			d.clean(i)
		}
	}
}

// removePorts removes folders of ports that are empty, as one is whose remover was
// killed. Who is about to put something there makes it again.
func (d *folder) removePorts() {
	folders, _ := names(d.ports, ".")
	for _, name := range folders {
		if _, ok := parseKey(name); ok {
			sys.Rmdirat(d.ports, name)
		}
	}
}

// remove removes the folder if it is empty and nobody opens the domain just now, and
// says whether it did.
func (d *folder) remove() bool {
	// What is registered may be of somebody whose socket a stranger has removed: he lives, and
	// would find nobody any more in a folder that is gone.
	if left, err := names(d.root, "ports"); len(left) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	// Who is there keeps it anyway; and who is stopped with the lock keeps others from coming.
	if there, err := names(d.root, "sockets"); len(there) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	lock, err := sys.Openat(d.root, ".", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	defer sys.Close(lock)
	if sys.TryFlock(lock) != nil {
		return false
	}
	// Sockets first: a participant has one before it has anything else, and keeps
	// all of the folder by it.
	for _, name := range []string{"sockets", "ports"} {
		if err := sys.Rmdirat(d.root, name); err != nil && !errors.Is(err, syscall.ENOENT) {
			return false
		}
	}
	// If another folder has the name by now it is removed only if it is empty, and who
	// has made it makes it again.
	parent, err := sys.OpenFolder(filepath.Dir(d.path))
	if err != nil {
		return false
	}
	defer sys.Close(parent)
	return sys.Rmdirat(parent, filepath.Base(d.path)) == nil
}
