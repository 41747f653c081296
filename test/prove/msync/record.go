package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
)

const (
	recordSize = 64 // bytes
	magic      = 0x64726f6365726c6d
	pages      = 256 // of the file
)

var (
	pageSize = os.Getpagesize()
	slots    = pageSize / recordSize // of a page
)

// record returns what belongs into a slot. The seed is the cycle's, so that no
// two slots of no two cycles hold the same.
//
//	byte  0   magic     8   seed
//	     16   page     24   slot
//	     32   SHA-256 of the bytes before it
func record(seed uint64, page, slot int) []byte {
	b := make([]byte, 0, recordSize)
	for _, word := range []uint64{magic, seed, uint64(page), uint64(slot)} {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// A report is what the writer said about a slot.
type report byte

const (
	unsynced report = iota // stored, and not synced
	onTime                 // acknowledged as synced before the power went
	late                   // acknowledged after that had begun
)

// A ledger has the reports for each page, in the order of its slots.
type ledger [pages][]report

// A verdict counts what a cycle's file held after the power loss.
type verdict struct {
	acknowledged int // records acknowledged on time
	lost         int // of those, the ones of which nothing was there
	wrong        int // slots with bytes that nobody stored there
	late         int // records acknowledged late
	lateLost     int // of those, the ones not there in full
	unsynced     int // records stored and never synced
	unsyncedLost int // of those, the ones not there in full
}

// judge compares every slot of the file with the ledger:
//
//   - Acknowledged on time: exactly the 64 bytes of the record, checksum
//     included. All zeros are counted as lost, anything else as wrong, a part
//     of the record too.
//   - Acknowledged late, or never synced: the record, or zeros, or a mix of the
//     two, byte by byte, as a power loss can leave it; anything else is wrong.
//     Unless it is the whole record, it is lost.
//   - The next slot of each page: the same, uncounted, because the writer may
//     have been killed between the store and its report.
//   - All other slots: zeros; anything else is wrong. What a cycle before left
//     in a block that was freed and used again would be seen here, and above.
//
// Late ones are apart because a power loss has none: who would hear them has no
// power either. A shutdown is not as sudden. A Sync that is under way can end
// in success while the file system under it goes away.
//
// A file that is too short counts as if zeros followed.
func judge(file []byte, seed uint64, stored *ledger) (v verdict) {
	file = append(file, make([]byte, max(0, pages*pageSize-len(file)))...)
	for page := range pages {
		for slot := range slots {
			at := page*pageSize + slot*recordSize
			got := file[at : at+recordSize]
			reported := len(stored[page])
			if slot > reported {
				if !isZero(got) {
					v.wrong++
				}
				continue
			}
			want := record(seed, page, slot)
			whole := bytes.Equal(got, want)
			how := unsynced
			if slot < reported {
				how = stored[page][slot]
			}
			if !whole && (how == onTime && !isZero(got) || !isMix(got, want)) {
				v.wrong++
			}
			switch {
			case slot == reported:
			case how == onTime:
				v.acknowledged++
				if isZero(got) {
					v.lost++
				}
			case how == late:
				v.late++
				if !whole {
					v.lateLost++
				}
			default:
				v.unsynced++
				if !whole {
					v.unsyncedLost++
				}
			}
		}
	}
	return v
}

func isZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// isMix reports whether each byte of got is zero or the one of want.
func isMix(got, want []byte) bool {
	for i, b := range got {
		if b != 0 && b != want[i] {
			return false
		}
	}
	return true
}
