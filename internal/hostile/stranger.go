package hostile

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Kinds of packets, as spec/protocol.md has them.
const (
	KindHello   = 1
	KindReject  = 2
	KindPort    = 3
	KindGone    = 4
	KindAsk     = 5
	KindSeen    = 6
	KindMessage = 7
)

// Packet returns a packet.
func Packet(kind, typ uint16, from, to uint32, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, typ)
	b = binary.LittleEndian.AppendUint32(b, from)
	b = binary.LittleEndian.AppendUint32(b, to)
	return append(append(b, 0, 0, 0, 0), body...)
}

// Hello returns the HELLO of an instance of this boot.
func Hello(id uint64) []byte {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		panic(err)
	}
	boot, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil {
		panic(err)
	}
	b := append([]byte("memlane\x01"), 1, 0, 1, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, id)
	b = append(b, boot...)
	return Packet(KindHello, 0, 0, 0, append(b, make([]byte, 24)...)...)
}

// Port returns a PORT.
func Port(id uint32, role byte, name, settings string) []byte {
	b := []byte{1, role}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(settings)))
	return Packet(KindPort, 0, id, 0, append(append(b, 0, 0), name+settings...)...)
}

// connect connects to one of the participants of the domain whose folder that is, by lot.
func connect(folder string, lot func(n int) int) (*net.UnixConn, error) {
	dir, err := os.Open(filepath.Join(folder, "sockets"))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	sockets, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	if len(sockets) == 0 {
		return nil, errNobody
	}
	name := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), sockets[lot(len(sockets))])
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: name})
}

// Talker connects to everybody, and talks: what is of the protocol, in any order, with
// bytes changed here and there, and noise.
func Talker(folder, topic string, seed uint64) error {
	rnd := random(seed)
	for {
		c, err := connect(folder, rnd.IntN)
		if err != nil {
			time.Sleep(time.Millisecond) // he is gone, or the next one too
			continue
		}
		c.SetDeadline(time.Now().Add(time.Second))
		packets := [][]byte{Hello(rnd.Uint64())}
		for range rnd.IntN(40) {
			var b []byte
			id := uint32(rnd.IntN(5))
			switch rnd.IntN(8) {
			case 0:
				b = Port(id, byte(rnd.IntN(5)), topic, "\x01\x01")
			case 1:
				b = Port(id, byte(rnd.IntN(5)), strings.Repeat("x", rnd.IntN(250)), strings.Repeat("y", rnd.IntN(1100)))
			case 2:
				b = Packet(KindGone, 0, id, 0)
			case 3, 4:
				b = Packet(uint16(KindAsk+rnd.IntN(2)), 0, id, 0)
			case 5, 6:
				b = Packet(KindMessage, uint16(rnd.IntN(15)), id, uint32(rnd.IntN(5)), make([]byte, rnd.IntN(3200))...)
			default:
				b = make([]byte, rnd.IntN(5000))
			}
			for range rnd.IntN(4) {
				if len(b) > 0 {
					b[rnd.IntN(len(b))] = byte(rnd.Uint32())
				}
			}
			packets = append(packets, b)
		}
		for _, b := range packets {
			if _, err := c.Write(b); err != nil {
				break
			}
		}
		if rnd.IntN(4) > 0 {
			c.Read(make([]byte, 5000))
		}
		c.Close()
	}
}

// Crowd connects to everybody again and again, says nothing, and keeps a few hundred of
// these connections.
func Crowd(folder, _ string, seed uint64) error {
	rnd := random(seed)
	var kept []*net.UnixConn
	for {
		c, err := connect(folder, rnd.IntN)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		if rnd.IntN(2) == 0 {
			c.Write(Hello(rnd.Uint64())[:rnd.IntN(80)])
		}
		if kept = append(kept, c); len(kept) > 300 {
			i := rnd.IntN(len(kept))
			kept[i].Close()
			kept[i] = kept[len(kept)-1]
			kept = kept[:len(kept)-1]
		}
		time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
	}
}
