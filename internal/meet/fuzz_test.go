package meet

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/life"
)

// Whatever is decoded came from a stranger: either it is refused as not of the
// protocol, or it is exactly what is encoded again.

func FuzzFrame(f *testing.F) {
	for kind := range frameKind(9) {
		for _, body := range []string{"", "b"} {
			for _, id := range []uint32{0, 1} {
				f.Add((&frame{kind: kind, typ: uint16(id), from: 1, to: id, body: []byte(body)}).encode())
				f.Add((&frame{kind: kind, from: id, body: []byte(body)}).encode())
			}
		}
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, maxFrame+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFrame(b)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(got.encode(), b) {
			t.Fatalf("%x is decoded as %+v", b, got)
		}
	})
}

func FuzzHello(f *testing.F) {
	whole := hello{1, 1, instance{bootID(), 77}, life.Self()}
	good := whole.encode().body
	f.Add(good)
	f.Add(append(bytes.Clone(good), "of a later version"...))
	for _, at := range []int{0, 7, 8, 10, 16, 24, 63} {
		bad := bytes.Clone(good)
		bad[at] += 3
		f.Add(bad)
		f.Add(good[:at])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil {
			if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again := h.encode().body
		// Bytes 12 to 15 are of later versions, as is what follows.
		if !bytes.Equal(again[:12], b[:12]) || !bytes.Equal(again[16:], b[16:helloBytes]) {
			t.Fatalf("%x is decoded as %+v", b, h)
		}
		if i, ok := parseInstance(h.instance.String()); !ok || i != h.instance {
			t.Fatalf("%v is not the name of a socket", h.instance)
		}
	})
}

func FuzzPort(f *testing.F) {
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
		f.Add(a.encode(1).body)
		f.Add(a.encode(1).body[:7])
		f.Add(append(a.encode(1).body, 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodePort(b)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(a.encode(1).body, b) {
			t.Fatalf("%x is decoded as %+v", b, a)
		}
		if k, ok := parseKey(a.folderName()); !ok || k != a.key {
			t.Fatalf("%v is not the name of a folder", a.key)
		}
	})
}

func FuzzReject(f *testing.F) {
	f.Add(reject(ErrVersion).body)
	f.Add(reject(errors.New(strings.Repeat("ü", maxText))).body)
	f.Add([]byte("\x01\x00\x01\x00\x1b[31m\xff"))
	f.Add([]byte("\xff\xff\xff\xff\x1b[31m"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := decodeReject(b)
		if err == nil || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("%q says %v", b, err)
		}
		// What it says can be passed on.
		if f := reject(err); len(f.body) > 4+maxText || !errors.Is(decodeReject(f.body), errRefused) {
			t.Fatalf("%q is passed on as %q", b, f.body)
		}
	})
}

func FuzzFolder(f *testing.F) {
	i := instance{strings.Repeat("0af", 10) + "00", 1<<64 - 1}
	for _, s := range []string{
		i.String(), "." + i.String(), i.String() + ".1", i.String() + ".256", i.String() + ".0", i.String() + ".01", i.String() + ".-1",
		strings.ToUpper(i.String()), "", ".", "..", "1-", "1-topic", "01-topic", "+1-topic", "256-topic", "0-topic", "1-a%2Fb%25c", "1-a%2fb", "1-a%b", "1-a%41", "1-\n", "-1-x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if i, ok := parseInstance(name); ok && i.String() != name {
			t.Errorf("%q is the instance %v", name, i)
		}
		if r, ok := parseRegistration(name); ok && (r.String() != name || r.role == 0) {
			t.Errorf("%q is the registration %v", name, r)
		}
		if k, ok := parseKey(name); ok && (k.folderName() != name || k.check() != nil) {
			t.Errorf("%q is the key %v", name, k)
		}
		// And the other way round: what may be a name is found under it.
		if k := (key{Topic, name}); k.check() == nil {
			folder := k.folderName()
			if got, ok := parseKey(folder); !ok || got != k || len(folder) > 255 || strings.ContainsAny(folder, "/\x00") {
				t.Errorf("%q has the folder %q, which is %v", name, folder, got)
			}
		}
	})
}
