package meet

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/proctest"
)

// Whatever is decoded came from a stranger: either it is refused as not of the
// protocol, or it is exactly what is encoded again.

func FuzzFrame(f *testing.F) {
	seeds := [][]byte{nil, make([]byte, maxFrame+1)}
	for kind := range frameKind(9) {
		for _, body := range []string{"", "b"} {
			for _, id := range []uint32{0, 1} {
				seeds = append(seeds, (&frame{kind: kind, typ: uint16(id), from: 1, to: id, body: []byte(body)}).encode(),
					(&frame{kind: kind, from: id, body: []byte(body)}).encode())
			}
		}
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		got, err := decodeFrame(b)
		switch {
		case errors.Is(err, ErrProtocol):
			return nil
		case err == nil && !bytes.Equal(got.encode(), b):
			return fmt.Errorf("it is decoded as %+v", got)
		}
		return err
	})
}

func FuzzHello(f *testing.F) {
	whole := hello{1, 1, instance{bootID(), 77}, life.Self()}
	good := whole.encode().body
	seeds := [][]byte{good, append(bytes.Clone(good), "of a later version"...)}
	for _, at := range []int{0, 7, 8, 10, 16, 24, 63} {
		bad := bytes.Clone(good)
		bad[at] += 3
		seeds = append(seeds, bad, good[:at])
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		h, err := decodeHello(b)
		if errors.Is(err, ErrProtocol) || errors.Is(err, ErrVersion) {
			return nil
		}
		if err != nil {
			return err
		}
		again := h.encode().body
		// Bytes 12 to 15 are of later versions, as is what follows.
		if !bytes.Equal(again[:12], b[:12]) || !bytes.Equal(again[16:], b[16:helloBytes]) {
			return fmt.Errorf("it is decoded as %+v", h)
		}
		if i, ok := parseInstance(h.instance.String()); !ok || i != h.instance {
			return fmt.Errorf("%v is not the name of a socket", h.instance)
		}
		return nil
	})
}

func FuzzPort(f *testing.F) {
	var seeds [][]byte
	for _, a := range []announcement{
		{key{Topic, "topic"}, Publisher, nil},
		{key{255, strings.Repeat("ü", 100)}, 255, bytes.Repeat([]byte{0}, maxSettings)},
		{key{Topic, ""}, Publisher, nil},
		{key{Topic, "\x00"}, Publisher, nil},
		{key{0, "x"}, Publisher, nil},
		{key{1, "x"}, 0, nil},
		{key{1, strings.Repeat("x", maxName+1)}, 1, nil},
		{key{1, strings.Repeat("/", maxName)}, 1, nil},
		{key{1, "x"}, 1, make([]byte, maxSettings+1)},
	} {
		seeds = append(seeds, a.encode(1).body, a.encode(1).body[:7], append(a.encode(1).body, 1))
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		a, err := decodePort(b)
		if errors.Is(err, ErrProtocol) {
			return nil
		}
		if err != nil {
			return err
		}
		if !bytes.Equal(a.encode(1).body, b) {
			return fmt.Errorf("it is decoded as %+v", a)
		}
		if k, ok := parseKey(a.folderName()); !ok || k != a.key {
			return fmt.Errorf("%v is not the name of a folder", a.key)
		}
		return nil
	})
}

func FuzzReject(f *testing.F) {
	seeds := [][]byte{
		reject(ErrVersion).body, reject(errors.New(strings.Repeat("ü", maxText))).body,
		[]byte("\x01\x00\x01\x00\x1b[31m\xff"), []byte("\xff\xff\xff\xff\x1b[31m"), nil,
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		err := decodeReject(b)
		if err == nil || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("it says %v", err)
		}
		// What it says can be passed on.
		if f := reject(err); len(f.body) > 4+maxText || !errors.Is(decodeReject(f.body), errRefused) {
			return fmt.Errorf("it is passed on as %q", f.body)
		}
		return nil
	})
}

func FuzzFolder(f *testing.F) {
	i := instance{strings.Repeat("0af", 10) + "00", 1<<64 - 1}
	var seeds [][]byte
	for _, s := range []string{
		i.String(), "." + i.String(), i.String() + ".1", i.String() + ".256", i.String() + ".0", i.String() + ".01", i.String() + ".-1",
		strings.ToUpper(i.String()), "", ".", "..", "1-", "1-topic", "01-topic", "+1-topic", "256-topic", "0-topic", "1-a%2Fb%25c", "1-a%2fb", "1-a%b", "1-a%41", "1-\n", "-1-x",
	} {
		seeds = append(seeds, []byte(s))
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		name := string(b)
		if i, ok := parseInstance(name); ok && i.String() != name {
			return fmt.Errorf("it is the instance %v", i)
		}
		if r, ok := parseRegistration(name); ok && (r.String() != name || r.role == 0) {
			return fmt.Errorf("it is the registration %v", r)
		}
		if k, ok := parseKey(name); ok && (k.folderName() != name || k.check() != nil) {
			return fmt.Errorf("it is the key %v", k)
		}
		// And the other way round: what may be a name is found under it.
		if k := (key{Topic, name}); k.check() == nil {
			folder := k.folderName()
			if got, ok := parseKey(folder); !ok || got != k || len(folder) > 255 || strings.ContainsAny(folder, "/\x00") {
				return fmt.Errorf("it has the folder %q, which is %v", folder, got)
			}
		}
		return nil
	})
}
