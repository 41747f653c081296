package meet

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// A domain is a folder, and what is known in it before two participants have met:
//
//	sockets/BOOT.INSTANCE                a participant's socket
//	ports/KIND-NAME/BOOT.INSTANCE.ROLE   it has ports of this kind, name and role
//
// Everything is looked up through descriptors of these folders.
type folder struct {
	path           string
	root           int
	sockets, ports int
	held           int  // keeps the folder from being removed; see hold
	shared         bool // the owner's group takes part

	mu       sync.Mutex
	dead     map[instance]bool // to be cleaned up after; guarded by mu
	cleaning sync.Mutex        // somebody does
}

// boot is the kernel's boot id, once it was read.
var boot atomic.Pointer[string]

// readBootID returns the kernel's boot id in 32 hexadecimal digits. If it cannot be read, for
// want of a descriptor, it can be later.
func readBootID() (string, error) {
	if id := boot.Load(); id != nil {
		return *id, nil
	}
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	id := strings.ReplaceAll(strings.TrimSpace(string(text)), "-", "")
	if len(id) != 32 {
		return "", fmt.Errorf("/proc/sys/kernel/random/boot_id is %q", text)
	}
	boot.Store(&id)
	return id, nil
}

// bootID is readBootID that returns nothing if it cannot be read; who has opened a domain
// has read it.
func bootID() string {
	id, _ := readBootID()
	return id
}

// fixGroup is what to do about a folder that is somebody else's, who is accepted.
const fixGroup = "become a member of its group, have its owner chmod 2770 it, or choose another folder"

// openFolder opens the folder of a domain, and makes it if it is missing. owners
// are users that are accepted besides our own. Until it is let go of, nobody removes it.
func openFolder(path string, owners []int) (d *folder, err error) {
	for range 100 {
		if d, err = tryFolder(path, owners); !errors.Is(err, errRemoved) {
			break
		}
	}
	return d, err
}

// tryFolder is openFolder, unless somebody removes the folder meanwhile.
func tryFolder(path string, owners []int) (*folder, error) {
	fail := func(err error, fix string) (*folder, error) {
		limit, err := Limited(err)
		return nil, &Error{"open", "domain " + path, err, cmp.Or(limit, fix)}
	}
	if _, err := readBootID(); err != nil {
		return fail(err, "mount /proc")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fail(err, "give its path from the root")
	}
	made := os.Mkdir(path, 0o700)
	if made != nil && !errors.Is(made, os.ErrExist) {
		return fail(made, "make the folder that it is in first")
	}
	d := &folder{path: path, root: -1, sockets: -1, ports: -1, held: -1}
	d.root, err = sys.OpenFolder(path)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fail(errRemoved, "")
	case errors.Is(err, syscall.ELOOP):
		return fail(fmt.Errorf("%w: a symbolic link is on the path", ErrUntrusted), "give the path without symbolic links")
	case err != nil:
		return fail(err, "give a folder of your own")
	}
	mode, uid, fix, err := d.check(owners)
	if err != nil {
		d.close()
		return fail(err, fix)
	}
	d.shared = mode&0o020 != 0
	if uid == os.Geteuid() && mode&0o700 != 0o700 {
		// A umask that takes the owner's rights, or whoever made it was killed just now.
		err = os.Chmod(sys.FDPath(d.root), os.FileMode(mode&0o777|0o700))
	}
	if err == nil {
		err = d.hold()
	}
	if errors.Is(err, syscall.EACCES) {
		d.close()
		return fail(err, fixGroup)
	}
	if err == nil {
		d.sockets, err = d.subfolder(d.root, "sockets")
	}
	if err == nil {
		d.ports, err = d.subfolder(d.root, "ports")
	}
	if err != nil {
		d.close()
		return fail(err, "")
	}
	return d, nil
}

// check says why the folder, which is open, is not to be used, and what to do; else what
// its mode is and whose it is.
func (d *folder) check(owners []int) (mode uint32, uid int, fix string, err error) {
	st, err := sys.Fstat(d.root)
	mode = st.Mode & 0o2777
	switch {
	case err != nil:
	case !accepts(st.UID, owners):
		err = fmt.Errorf("%w: it belongs to user %d", ErrUntrusted, st.UID)
		fix = "accept that user in Config.Owners if it is to take part, or choose another folder"
		if int(st.UID) == sys.OverflowUID() {
			fix = "have this user namespace know the user that it belongs to: here it can be anybody"
		}
	case mode&0o002 != 0 || (mode&0o020 != 0 && len(owners) == 0):
		err = fmt.Errorf("%w: others may write in it, mode %#o", ErrUntrusted, mode&0o777)
		fix = "chmod 700 it if it is yours; to share it with its group, chmod 2770 it and accept the users in Config.Owners"
	}
	return mode, int(st.UID), fix, err
}

// close closes the descriptors.
func (d *folder) close() {
	d.letGo()
	for _, fd := range []int{d.root, d.sockets, d.ports} {
		if fd >= 0 {
			sys.Close(fd)
		}
	}
}

// modes returns the modes of folders and of sockets in this domain. Who connects
// to a socket is looked at there: if the group takes part, the mode lets all in
// who can reach it.
func (d *folder) modes() (folder, socket uint32) {
	if d.shared {
		return 0o2770, 0o666
	}
	return 0o700, 0o600
}

// subfolder opens a folder in another, and makes it if it is missing, whatever the
// umask.
func (d *folder) subfolder(in int, name string) (int, error) {
	mode, _ := d.modes()
	if err := d.makeFolder(in, name, mode); err != nil && !errors.Is(err, syscall.EEXIST) {
		return -1, fmt.Errorf("make %s: %w", name, err)
	}
	fd, err := sys.Openat(in, name, sys.OPath|sys.ONoFollow|syscall.O_DIRECTORY, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	st, err := sys.Fstat(fd)
	if err == nil && st.Mode&0o7777 != mode && int(st.UID) == os.Geteuid() {
		err = os.Chmod(sys.FDPath(fd), fileMode(mode))
	}
	if err != nil {
		sys.Close(fd)
		return -1, fmt.Errorf("set the mode of %s: %w", name, err)
	}
	return fd, nil
}

// makeFolder makes a folder in another: EEXIST if it is there. Where the group takes part
// it has its mode when it gets its name: until its maker had set the mode, who may be
// killed before he does, others of the group could not use it.
func (d *folder) makeFolder(in int, name string, mode uint32) error {
	if !d.shared {
		return sys.Mkdirat(in, name, mode)
	}
	fd, err := sys.Openat(in, name, sys.OPath|sys.ONoFollow, 0)
	if err == nil {
		sys.Close(fd)
		return syscall.EEXIST
	}
	for range 100 {
		temporary := fmt.Sprintf(".%016x", rand.Uint64())
		if err = sys.Mkdirat(in, temporary, mode); err != nil {
			return err
		}
		if err = sys.Chmodat(in, temporary, mode); err == nil {
			err = sys.RenameNoReplace(in, temporary, name)
		}
		if err == nil {
			return nil
		}
		sys.Rmdirat(in, temporary)
		// A cleaner takes it for that of somebody who was killed.
		if !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	return errors.New("somebody removes folders that are being made")
}

// fileMode is the mode as package os has it.
func fileMode(mode uint32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	if mode&0o2000 != 0 {
		m |= os.ModeSetgid
	}
	return m
}

// names lists a folder.
func names(in int, name string) ([]string, error) {
	fd, err := sys.Openat(in, name, syscall.O_RDONLY|sys.ONoFollow|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Readdirnames(-1)
}

// listen makes the socket of an instance. What has the name can be connected to:
// it is bound and listens before it gets it.
func (d *folder) listen(i instance) (int, error) {
	_, mode := d.modes()
	temporary := "." + i.String()
	for range 100 {
		fd, err := sys.Seqpacket()
		if err != nil {
			return -1, err
		}
		err = sys.BindIn(fd, d.sockets, temporary)
		if err == nil {
			err = sys.Chmodat(d.sockets, temporary, mode)
		}
		if err == nil {
			err = sys.Listen(fd, backlog)
		}
		if err == nil {
			err = sys.Renameat(d.sockets, temporary, i.String())
		}
		if err == nil {
			return fd, nil
		}
		sys.Close(fd)
		sys.Unlinkat(d.sockets, temporary)
		// The kernel makes the name a moment before the socket can be found by it,
		// so a cleaner may have thought it a dead one's.
		if !errors.Is(err, syscall.ENOENT) {
			return -1, err
		}
	}
	return -1, errors.New("somebody removes sockets that are being made")
}

// checkOwner refuses who says that he is an instance whose socket is another user's:
// else, where several users take part, one could pass for another.
func (d *folder) checkOwner(i instance, uid uint32) error {
	fd, err := sys.Openat(d.sockets, i.String(), sys.OPath|sys.ONoFollow, 0)
	if errors.Is(err, syscall.ENOENT) {
		return nil // then it is nobody else
	}
	if err != nil {
		return fmt.Errorf("look at the peer's socket: %w", err)
	}
	defer sys.Close(fd)
	st, err := sys.Fstat(fd)
	if err != nil {
		return fmt.Errorf("look at the peer's socket: %w", err)
	}
	if st.UID != uid {
		return fmt.Errorf("%w: a process of user %d says it is %v, which is of user %d", ErrForeign, uid, i, st.UID)
	}
	return nil
}

// register makes the file that says that an instance has ports.
func (d *folder) register(k key, r registration) error {
	for range 100 {
		fd, err := d.subfolder(d.ports, k.folderName())
		if err == nil {
			var file int
			file, err = sys.Openat(fd, r.String(), syscall.O_CREAT|syscall.O_WRONLY|sys.ONoFollow, 0o600)
			sys.Close(fd)
			if err == nil {
				return sys.Close(file)
			}
		}
		// Whoever removed the last file of the folder has removed it too.
		if !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	return errors.New("somebody removes folders of ports that are being made")
}

// unregister removes the file, and its folder if it is the last.
func (d *folder) unregister(k key, r registration) {
	if fd, err := sys.Openat(d.ports, k.folderName(), sys.OPath|sys.ONoFollow|syscall.O_DIRECTORY, 0); err == nil {
		sys.Unlinkat(fd, r.String())
		sys.Close(fd)
	}
	sys.Rmdirat(d.ports, k.folderName())
}

// look returns the instances of this boot that have ports of a key, of other roles.
func (d *folder) look(k key, role Role) ([]instance, error) {
	files, err := names(d.ports, k.folderName())
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	seen := map[instance]bool{}
	for _, name := range files {
		if r, ok := parseRegistration(name); ok && r.boot == bootID() && r.role != role {
			seen[r.instance] = true
		}
	}
	list := make([]instance, 0, len(seen))
	for i := range seen {
		list = append(list, i)
	}
	return list, err
}

// has reports whether an instance has ports of a key, of another role.
func (d *folder) has(k key, i instance, role Role) (bool, error) {
	in, err := sys.Openat(d.ports, k.folderName(), sys.OPath|sys.ONoFollow|syscall.O_DIRECTORY, 0)
	if err != nil {
		return false, unlessMissing(err)
	}
	defer sys.Close(in)
	for _, other := range []Role{Publisher, Subscriber, Observer} {
		if other == role {
			continue
		}
		fd, err := sys.Openat(in, registration{i, other}.String(), sys.OPath|sys.ONoFollow, 0)
		if err == nil {
			sys.Close(fd)
			return true, nil
		}
		if err = unlessMissing(err); err != nil {
			return false, err
		}
	}
	return false, nil
}

// unlessMissing returns the error, but not if it says that there is no such file.
func unlessMissing(err error) error {
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// clean removes what a dead instance of this boot has left; with what others have left
// that are found to be dead meanwhile, so that of a thousand not each is looked for in all
// folders.
func (d *folder) clean(dead instance) {
	if dead.boot != bootID() {
		return // of another kernel that shares the folder; who is alive there is not known here
	}
	d.mu.Lock()
	if d.dead == nil {
		d.dead = map[instance]bool{}
	}
	d.dead[dead] = true
	d.mu.Unlock()
	d.cleaning.Lock()
	defer d.cleaning.Unlock()
	d.mu.Lock()
	all := d.dead
	d.dead = nil
	d.mu.Unlock()
	d.cleanAll(all) // who had it before us may have done it
}

// cleanAll removes what dead instances of this boot have left. It can be done by
// anyone, by several at once, and be killed anywhere: the sockets go last, so
// that whoever opens the domain next finds what is left to do.
func (d *folder) cleanAll(dead map[instance]bool) {
	if len(dead) == 0 {
		return
	}
	// A folder that was removed, though we are there, has none of the sockets of those who live.
	if st, err := sys.Fstat(d.sockets); err != nil || st.LinkCount == 0 {
		return
	}
	folders, _ := names(d.ports, ".")
	for _, name := range folders {
		k, ok := parseKey(name)
		if !ok {
			continue
		}
		files, _ := names(d.ports, name)
		for _, file := range files {
			if r, ok := parseRegistration(file); ok && dead[r.instance] {
				d.unregister(k, r)
			}
		}
	}
	for i := range dead {
		sys.Unlinkat(d.sockets, i.String())
	}
}

// sweep removes what dead instances of this boot have left.
func (d *folder) sweep() {
	for _, in := range []int{d.root, d.ports} {
		folders, _ := names(in, ".")
		for _, name := range folders {
			if name[0] == '.' {
				sys.Rmdirat(in, name) // its maker was killed, or makes another
			}
		}
	}
	sockets, _ := names(d.sockets, ".")
	prober, err := sys.NewProber()
	if err != nil {
		return
	}
	defer prober.Close()
	dead := map[instance]bool{}
	for _, name := range sockets {
		i, ok := parseInstance(strings.TrimPrefix(name, "."))
		if !ok || i.boot != bootID() {
			continue
		}
		alive, err := prober.BoundIn(d.sockets, name)
		// Another user's that is being made, or whose maker was killed before he set its mode.
		unready := name[0] == '.' && errors.Is(err, syscall.EACCES)
		if alive || err != nil && !unready {
			continue
		}
		if name[0] == '.' {
			sys.Unlinkat(d.sockets, name) // killed before it was anybody
			continue
		}
		dead[i] = true
	}
	d.cleanAll(dead)
}
