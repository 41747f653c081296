package meet

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Kind is what a port is of: topics are one, services will be others. What the
// roles of a kind mean, and what its ports tell each other, is not known here.
type Kind uint8

// Topic is the kind of publish and subscribe.
const Topic Kind = 1

// String returns the kind as people know it.
func (k Kind) String() string {
	if k == Topic {
		return "topic"
	}
	return "kind " + strconv.Itoa(int(k))
}

// A Role is a side of a kind. Ports meet those of other roles.
type Role uint8

// The roles of a topic.
const (
	Publisher  Role = 1
	Subscriber Role = 2
	Observer   Role = 3 // looks and takes no part, as tools do
)

// String returns the role as people know it.
func (r Role) String() string {
	switch r {
	case Publisher:
		return "publisher"
	case Subscriber:
		return "subscriber"
	case Observer:
		return "observer"
	}
	return "role " + strconv.Itoa(int(r))
}

// key is what ports that meet have in common.
type key struct {
	kind Kind
	name string
}

// String returns the key as errors show it.
func (k key) String() string { return fmt.Sprintf("%v %q", k.kind, k.name) }

const (
	// maxName is the most bytes of a name.
	maxName = 200
	// maxEscaped is the most bytes of an escaped name: a file's name ends at 255,
	// and its kind needs four.
	maxEscaped = 250
)

// check says what is wrong with a key.
func (k key) check() error {
	switch {
	case k.kind == 0:
		return fmt.Errorf("%w: kind 0", ErrName)
	case k.name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(k.name) > maxName:
		return fmt.Errorf("%w: it has %d bytes of at most %d", ErrName, len(k.name), maxName)
	case !utf8.ValidString(k.name):
		return fmt.Errorf("%w: it is not UTF-8", ErrName)
	case strings.ContainsFunc(k.name, unicode.IsControl):
		return fmt.Errorf("%w: it has control characters", ErrName)
	case len(escape(k.name)) > maxEscaped:
		return fmt.Errorf("%w: it has %d bytes with its slashes and percent signs counted three times, of at most %d", ErrName, len(escape(k.name)), maxEscaped)
	}
	return nil
}

// The two characters that a file's name cannot have as they are: the slash, and
// the one that announces an escape.
var (
	escaper   = strings.NewReplacer("%", "%25", "/", "%2F")
	unescaper = strings.NewReplacer("%25", "%", "%2F", "/")
)

func escape(name string) string { return escaper.Replace(name) }

// folderName returns the name of the folder of a key's registrations.
func (k key) folderName() string { return strconv.Itoa(int(k.kind)) + "-" + escape(k.name) }

// parseKey is the reverse of folderName; ok is false for everything that it does
// not return.
func parseKey(folder string) (k key, ok bool) {
	number, escaped, ok := strings.Cut(folder, "-")
	kind, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil {
		return key{}, false
	}
	k = key{Kind(kind), unescaper.Replace(escaped)}
	if k.check() != nil || k.folderName() != folder {
		return key{}, false
	}
	return k, true
}

// An instance is a participant, as its socket is called: by its boot, in 32
// hexadecimal digits, and its id in 16.
type instance struct {
	boot string
	id   uint64
}

func (i instance) String() string { return fmt.Sprintf("%s.%016x", i.boot, i.id) }

// parseInstance is the reverse of String.
func parseInstance(name string) (i instance, ok bool) {
	boot, digits, _ := strings.Cut(name, ".")
	id, err := strconv.ParseUint(digits, 16, 64)
	i = instance{boot, id}
	if err != nil || len(boot) != 32 || strings.Trim(boot, "0123456789abcdef") != "" || i.String() != name {
		return instance{}, false
	}
	return i, true
}

// A registration says that an instance has ports of a role, in the folder of their
// key: the instance's name, a dot, the role as a number.
type registration struct {
	instance
	role Role
}

func (r registration) String() string { return r.instance.String() + "." + strconv.Itoa(int(r.role)) }

// parseRegistration is the reverse of String.
func parseRegistration(name string) (r registration, ok bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return registration{}, false
	}
	r.instance, ok = parseInstance(name[:dot])
	role, err := strconv.ParseUint(name[dot+1:], 10, 8)
	r.role = Role(role)
	if !ok || err != nil || role == 0 || r.String() != name {
		return registration{}, false
	}
	return r, true
}
