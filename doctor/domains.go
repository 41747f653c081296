package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/segment"
)

// domains returns the names of the domains in the folder.
func (p *patient) domains() []string {
	names, err := inspect.Domains(&p.options)
	p.missed(err)
	return names
}

// participants returns who takes part in any of them.
func (p *patient) participants() (list []inspect.Participant) {
	for _, domain := range p.domains() {
		found, err := inspect.Participants(domain, &p.options)
		p.missed(err)
		list = append(list, found...)
	}
	return list
}

// missed notes that a check could not look at something: then that it has found nothing is
// not good.
func (p *patient) missed(err error) {
	if err != nil && p.unseen == nil {
		p.unseen = err
	}
}

// those returns the participants that are in a state, domain by domain.
func (p *patient) those(state inspect.State) (list []inspect.Participant) {
	for _, who := range p.participants() {
		if who.State == state {
			list = append(list, who)
		}
	}
	return list
}

// accepts reports whether a user's folders and processes are.
func (p *patient) accepts(uid int) bool {
	// Users that this user namespace does not know all look like one.
	return uid != sys.OverflowUID() && (uid == os.Geteuid() || slices.Contains(p.config.Owners, uid))
}

// access: a folder that others may write in, or that is somebody else's, is not used; nor
// are processes of users who are not accepted met.
func (p *patient) access() (found []Finding) {
	for _, domain := range p.domains() {
		folder, err := memlane.DomainFolder(domain, &p.options)
		if err != nil {
			continue
		}
		st, err := os.Stat(folder)
		if err != nil {
			continue
		}
		uid := int(st.Sys().(*syscall.Stat_t).Uid)
		mode := st.Mode().Perm()
		switch {
		case !p.accepts(uid):
			found = append(found, Finding{Level: Bad, Says: fmt.Sprintf("%s belongs to user %d", folder, uid),
				Why: "nothing of it is trusted, and the domain cannot be opened",
				Fix: fmt.Sprintf("if that user is to take part: --owner %d, or Config.Owners; if not, another folder", uid)})
		case mode&0o002 != 0, mode&0o020 != 0 && len(p.config.Owners) == 0:
			found = append(found, Finding{Level: Bad, Says: fmt.Sprintf("others may write in %s, mode %#o", folder, mode),
				Why: "anybody could put something there in another's name, so that the domain is not opened",
				Fix: "chmod 700 " + folder + "; for a group of users: chmod 2770, and Config.Owners with their numbers"})
		}
	}
	strangers := map[string]map[int]bool{}
	for _, who := range p.participants() {
		if who.UID < 0 || p.accepts(who.UID) || strangers[who.Domain][who.UID] {
			continue
		}
		if strangers[who.Domain] == nil {
			strangers[who.Domain] = map[int]bool{}
		}
		strangers[who.Domain][who.UID] = true
		found = append(found, Finding{Level: Warning, Says: fmt.Sprintf("%s is of user %d, who is not accepted", named(who), who.UID),
			Why: "processes of that user and those who do not accept it exchange no messages",
			Fix: fmt.Sprintf("if that user is to take part: --owner %d, or Config.Owners, on both sides", who.UID)})
	}
	return found
}

// segments: what is not a segment of this version is not attached.
func (p *patient) segments() (found []Finding) {
	for info, err := range segment.List(&segment.Config{Folder: p.config.Folder, Owners: p.config.Owners}) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			found = append(found, Finding{Level: Unknown, Says: err.Error(), Why: "whether segments can be attached cannot be told", Fix: "give --folder a folder that you may read"})
		case info.Refused != nil && !errors.Is(info.Refused, segment.ErrEmpty):
			found = append(found, Finding{Level: Bad, Says: fmt.Sprintf("segment %q: %v", info.Name, info.Refused),
				Why: "nobody attaches it",
				Fix: "if nobody needs it: memlane segment rm " + info.Name})
		case info.Refused != nil:
			found = append(found, Finding{Level: Warning, Says: fmt.Sprintf("segment %q is empty", info.Name),
				Why: "who made it was killed while it did, or is about to finish; the name is taken",
				Fix: "memlane segment rm " + info.Name})
		}
	}
	return found
}

// leftovers: what the dead leave costs nothing but a look, and is removed by the next
// that opens the domain.
func (p *patient) leftovers() (found []Finding) {
	dead := p.those(inspect.Dead)
	if len(dead) == 0 {
		return nil
	}
	domains := map[string]bool{}
	for _, who := range dead {
		domains[who.Domain] = true
	}
	return []Finding{{Level: Warning, Says: fmt.Sprintf("%d participants of %d domains have died, and nobody has come since", len(dead), len(domains)),
		Why: "their sockets and registrations are in the folder still; nobody waits for them", Fix: "memlane clean --yes"}}
}

// foreign: a folder that two kernels share, or that has survived a boot.
func (p *patient) foreign() (found []Finding) {
	who := p.those(inspect.Foreign)
	if len(who) == 0 {
		return nil
	}
	return []Finding{{Level: Warning, Says: fmt.Sprintf("%d participants are of another kernel, or of before the last boot: domain %q", len(who), who[0].Domain),
		Why: "memory cannot be shared with a virtual machine, and it cannot be told from here whether they live; they are left alone",
		Fix: fmt.Sprintf("if no other machine uses the folder: rm %s/%s.domain/sockets/* %s/%s.domain/ports/*/*, while nobody runs", p.folder, who[0].Domain, p.folder, who[0].Domain)}}
}

// stopped: nobody waits for who is stopped unless he has asked for that.
func (p *patient) stopped() (found []Finding) {
	for _, who := range p.those(inspect.Stopped) {
		found = append(found, Finding{Level: Warning, Says: named(who) + " is stopped",
			Why: "it does nothing until it is let go on; a publisher with the policy Block waits for a subscriber that is stopped",
			Fix: fmt.Sprintf("kill -CONT %d, or kill -KILL %d", who.PID, who.PID)})
	}
	return found
}

// looks looks at all topics of all domains, once.
func (p *patient) looks(see func(domain string, look *inspect.Snapshot)) {
	for _, domain := range p.domains() {
		topics, err := inspect.Topics(domain, &p.options)
		p.missed(err)
		if len(topics) == 0 {
			continue
		}
		d, err := memlane.Open(domain, &p.options)
		if err != nil {
			p.missed(err)
			continue
		}
		for _, t := range topics {
			look, err := inspect.Look(d, t.Name)
			if err != nil {
				continue // gone meanwhile
			}
			see(domain, look)
		}
		d.Close()
	}
}

// stalled: who waits for whom, and who loses messages.
func (p *patient) stalled() (found []Finding) {
	p.looks(func(domain string, look *inspect.Snapshot) {
		for _, publisher := range look.Publishers {
			found = append(found, waits(domain, look.Topic, publisher)...)
		}
	})
	return found
}

// troubles: who has sent what the protocol does not allow, or is of another version, is not
// met again; that is told to him, and not to those who wonder where he is.
func (p *patient) troubles() (found []Finding) {
	told := map[[2]uint64]bool{}
	p.looks(func(domain string, look *inspect.Snapshot) {
		for _, t := range look.Troubles {
			if told[[2]uint64{t.ID, t.With}] || t.With == 0 {
				continue
			}
			told[[2]uint64{t.ID, t.With}] = true
			found = append(found, Finding{Level: Warning,
				Says: fmt.Sprintf("domain %q: process %d and process %d exchange nothing any more, since %v ago: %s", domain, t.PID, t.PIDWith, t.Ago.Round(time.Second), graphic(t.Reason)),
				Why:  "one has sent what the protocol does not allow, or has another version of it, and was dropped: it is not met again until one of the two is started anew",
				Fix:  fmt.Sprintf("build both with the same version of memlane, and start process %d again; if it does so once more, it is broken", t.PIDWith)})
		}
	})
	return found
}

// graphic is what a process says, without anything that steers a terminal.
func graphic(text string) string {
	return strings.Map(func(c rune) rune {
		if !strconv.IsGraphic(c) {
			return '?'
		}
		return c
	}, text)
}

// python: multiprocessing's resource tracker removes the segments that a program of its own
// has opened, also those that others made, when the program ends
// (github.com/python/cpython/issues/82300; track=False since 3.13). It reaches those in
// /dev/shm alone, not those in folders there.
func (p *patient) python() (found []Finding) {
	if filepath.Clean(p.folder) != filepath.Join("/", p.config.Root, "dev/shm") {
		return nil
	}
	for info, err := range segment.List(&segment.Config{Folder: p.config.Folder, Owners: p.config.Owners}) {
		if err != nil {
			return found // segments says so
		}
		for _, user := range info.Users {
			if p.tracked(user.PID) {
				found = append(found, Finding{Level: Warning, Says: fmt.Sprintf("process %d (%s) uses segment %q, and its resource tracker removes that when it ends", user.PID, graphic(user.Command), info.Name),
					Why: "others keep what they have mapped, and who comes later finds nothing, or another segment",
					Fix: "SharedMemory(name, track=False) from Python 3.13 on; before, resource_tracker.unregister(memory._name, 'shared_memory'); or segments in a folder: MEMLANE_DIR"})
			}
		}
	}
	return found
}

// tracked says whether a process has a resource tracker, which is a child of it.
func (p *patient) tracked(pid int) bool {
	children, err := p.read(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return false
	}
	for _, child := range strings.Fields(children) {
		command, err := p.read("/proc/" + child + "/cmdline")
		if err == nil && strings.Contains(command, "multiprocessing.resource_tracker") {
			return true
		}
	}
	return false
}

// waits returns what is wrong with those who subscribe to a publisher.
func waits(domain, topic string, p inspect.Publisher) (found []Finding) {
	about := fmt.Sprintf("topic %q of domain %q", topic, domain)
	for _, s := range p.Subscriptions {
		who := fmt.Sprintf("process %d", s.PID)
		full := int(s.Behind) >= p.Slots
		switch {
		case p.Waiting && full && !s.Peeks:
			found = append(found, Finding{Level: Bad, Says: fmt.Sprintf("%s: the publisher, process %d, waits for %s, which is all of the %d slots behind", about, p.PID, who, p.Slots),
				Why: "the policy is Block: nobody gets anything until that subscriber goes on, leaves or dies",
				Fix: fmt.Sprintf("see what it does: memlane ps; kill -CONT %d if it is stopped; or publish with DropOldest, or more Slots", s.PID)})
		case s.Dropped > 0 && !s.Peeks:
			found = append(found, Finding{Level: Warning, Says: fmt.Sprintf("%s: %s loses messages of process %d just now: it is a whole ring behind", about, who, p.PID),
				Why: "the policy is DropOldest, and it does not receive, or too slowly; it is told how many it has lost when it does",
				Fix: fmt.Sprintf("see what it does: memlane lag; kill -CONT %d if it is stopped; receive faster, or publish with more Slots, or with Block", s.PID)})
		case s.Holds >= inspect.HoldsMost:
			found = append(found, Finding{Level: Warning, Says: fmt.Sprintf("%s: %s has borrowed %d messages of process %d, all that it may", about, who, s.Holds, p.PID),
				Why: "it can borrow no more before it has released some: perhaps it has forgotten to",
				Fix: "release what was borrowed; memlane.Config.LeakCheck says where that was"})
		case s.Lost > 0 && !s.Peeks:
			found = append(found, Finding{Level: Warning, Says: fmt.Sprintf("%s: %s has lost %d messages of process %d", about, who, s.Lost, p.PID),
				Why: "it was a whole ring behind, and the policy is DropOldest; its calls that receive have said so",
				Fix: "receive faster, or publish with more Slots, or with Block"})
		}
	}
	for _, r := range p.Refused {
		found = append(found, Finding{Level: Bad, Says: fmt.Sprintf("%s: process %d is refused by process %d: %s", about, r.PID, p.PID, graphic(r.Reason)),
			Why: "it gets none of the messages", Fix: "start both with the same type, Schema or ContentType"})
	}
	return found
}
