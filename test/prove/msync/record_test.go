package main

import "testing"

// Whatever can be wrong with the file is seen, each in its own count.
func TestJudge(t *testing.T) {
	const seed = 7
	stored := &ledger{3: {onTime, unsynced, onTime}, 5: {late}}
	good := make([]byte, pages*pageSize)
	at := func(slot int) int { return 3*pageSize + slot*recordSize }
	for slot := range stored[3] {
		copy(good[at(slot):], record(seed, 3, slot))
	}
	late := 5 * pageSize
	copy(good[late:], record(seed, 5, 0))
	clean := verdict{acknowledged: 2, late: 1, unsynced: 1}
	for what, tc := range map[string]struct {
		change func(file []byte) []byte
		want   func(v *verdict)
	}{
		"nothing":                   {func(f []byte) []byte { return f }, func(v *verdict) {}},
		"acknowledged gone":         {func(f []byte) []byte { clear(f[at(2):at(3)]); return f }, func(v *verdict) { v.lost++ }},
		"acknowledged in part":      {func(f []byte) []byte { clear(f[at(2)+10 : at(3)]); return f }, func(v *verdict) { v.wrong++ }},
		"acknowledged, one bit off": {func(f []byte) []byte { f[at(0)+40] ^= 1; return f }, func(v *verdict) { v.wrong++ }},
		"another slot's record":     {func(f []byte) []byte { copy(f[at(0):], record(seed, 3, 1)); return f }, func(v *verdict) { v.wrong++ }},
		"unsynced gone":             {func(f []byte) []byte { clear(f[at(1):at(2)]); return f }, func(v *verdict) { v.unsyncedLost++ }},
		"unsynced in part":          {func(f []byte) []byte { clear(f[at(1) : at(1)+8]); return f }, func(v *verdict) { v.unsyncedLost++ }},
		"unsynced from an old cycle": {func(f []byte) []byte { copy(f[at(1):], record(seed-1, 3, 1)); return f },
			func(v *verdict) { v.wrong++; v.unsyncedLost++ }},
		"late gone":                 {func(f []byte) []byte { clear(f[late : late+recordSize]); return f }, func(v *verdict) { v.lateLost++ }},
		"late, one bit off":         {func(f []byte) []byte { f[late+40] ^= 1; return f }, func(v *verdict) { v.wrong++; v.lateLost++ }},
		"stored, not yet reported":  {func(f []byte) []byte { copy(f[at(3):], record(seed, 3, 3)); return f }, func(v *verdict) {}},
		"garbage in the next slot":  {func(f []byte) []byte { f[at(3)+1] = 0xaa; return f }, func(v *verdict) { v.wrong++ }},
		"never stored":              {func(f []byte) []byte { copy(f[at(4):], record(seed, 3, 4)); return f }, func(v *verdict) { v.wrong++ }},
		"garbage in an unused page": {func(f []byte) []byte { f[len(f)-1] = 1; return f }, func(v *verdict) { v.wrong++ }},
		"cut short":                 {func(f []byte) []byte { return f[:at(2)] }, func(v *verdict) { v.lost++; v.lateLost++ }},
		"not there":                 {func(f []byte) []byte { return nil }, func(v *verdict) { v.lost += 2; v.lateLost++; v.unsyncedLost++ }},
	} {
		want := clean
		tc.want(&want)
		if got := judge(tc.change(append([]byte(nil), good...)), seed, stored); got != want {
			t.Errorf("%s: %+v; want %+v", what, got, want)
		}
	}
}
