package main

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"time"
)

// What is measured.
const (
	latency    = "latency"    // of round trips
	throughput = "throughput" // one way
)

// A measurement is one table.
type measurement struct {
	what string
	size int // of a message, in bytes
}

var measurements = []measurement{
	{latency, 40}, {latency, 1 << 10}, {latency, 64 << 10}, {latency, 1 << 20},
	{throughput, 40}, {throughput, 64}, {throughput, 1 << 10},
}

// inSlot is how large a message is that memlane carries in its slot, beside which a
// loan saves nothing.
const inSlot = 48

// floor is the contender that the others are compared with.
func (m measurement) floor() string {
	switch {
	case m.what == throughput:
		return "floor-ring"
	case m.size <= inSlot:
		return "floor-line"
	}
	return "floor-copy"
}

// A task is what one process of a pair is started for.
type task struct {
	measurement
	side      int // 0 measures
	folder    string
	processor int
	batch     int // messages at once
	group     int // round trips between two looks at the clock
	warm      time.Duration
	length    time.Duration
}

// arguments are those of every worker but memlane's: see testdata/measure.h.
func (t task) arguments(part string) []string {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return []string{part, strconv.Itoa(t.side), t.folder, strconv.Itoa(t.processor), strconv.Itoa(t.size),
		strconv.Itoa(t.batch), strconv.Itoa(t.group), ms(t.warm), ms(t.length)}
}

// part is what the workers call it.
func (t task) part() string {
	if t.what == throughput {
		return "oneway"
	}
	return "trips"
}

// How messages are written and read.
const (
	numberOnly = "no payload"
	copied     = "copied in, copied out"
	inPlace    = "written and read in place"
)

// A contender is one of those that take turns: a product, used in a certain way.
type contender struct {
	name    string
	product string
	waits   string // how, for a message or for room
	payload string
	batch   int // messages at once; 0: one
	takes   func(m measurement) bool
	command func(b *bench, t task) []string
	beside  func(b *bench, t task) []string // a third process that the two need
	// compiled says that it is compiled while it runs, and needs longer to warm up.
	compiled bool
}

const spins = "spins"

var contenders = []contender{
	{name: "floor-line", product: "floor", waits: spins, payload: numberOnly, takes: isLatency, command: floorCommand("floor-line")},
	{name: "floor-copy", product: "floor", waits: spins, payload: copied, takes: func(m measurement) bool { return isLatency(m) && m.size > inSlot }, command: floorCommand("floor-copy")},
	{name: "floor-ring", product: "floor", waits: spins, payload: copied, takes: isThroughput, command: floorCommand("floor-ring")},
	{name: "memlane", product: "memlane", waits: spins, payload: copied, takes: always, command: memlaneCommand("memlane")},
	{name: "memlane-batch", product: "memlane", waits: spins, payload: copied, batch: 16, takes: func(m measurement) bool { return isThroughput(m) && m.size <= 64 }, command: memlaneCommand("memlane-batch")},
	{name: "memlane-loan", product: "memlane", waits: spins, payload: inPlace, takes: func(m measurement) bool { return m.size > 64 }, command: memlaneCommand("memlane-loan")},
	{name: "iceoryx2", product: "iceoryx2", waits: spins, payload: inPlace, takes: always, command: workerCommand(iceoryxWorker)},
	{name: "aeron", product: "aeron", waits: spins, payload: inPlace, takes: func(m measurement) bool { return m.size <= aeronClaims }, command: aeronCommand, beside: aeronDriver, compiled: true},
	{name: "aeron-offer", product: "aeron", waits: spins, payload: copied, takes: func(m measurement) bool { return m.size > aeronClaims }, command: aeronCommand, beside: aeronDriver, compiled: true},
	{name: "zeromq", product: "zeromq", waits: "sleeps", payload: copied, takes: always, command: workerCommand("zeromq")},
	{name: "boost", product: "boost", waits: spins, payload: copied, takes: always, command: workerCommand("boost")},
}

func always(measurement) bool         { return true }
func isLatency(m measurement) bool    { return m.what == latency }
func isThroughput(m measurement) bool { return m.what == throughput }

func workerCommand(file string) func(b *bench, t task) []string {
	return func(b *bench, t task) []string {
		return append([]string{b.built(file)}, t.arguments(t.part())...)
	}
}

// floorFile is the floor's memory, in the folder of a task.
const floorFile = "floor.shm"

// floorBytes is how large it is: more than two times what floor.c keeps in a half.
func floorBytes(t task) int64 { return 2 * int64((1<<20+16*t.size+4095)&^4095) }

func floorCommand(part string) func(b *bench, t task) []string {
	return func(b *bench, t task) []string {
		t.folder = filepath.Join(t.folder, floorFile)
		return append([]string{b.built("floor")}, t.arguments(part)...)
	}
}

// memlaneCommand is a process of memlane bench, which prints what the others print.
func memlaneCommand(transport string) func(b *bench, t task) []string {
	return func(b *bench, t task) []string {
		part := "round trips"
		if t.what == throughput {
			part = "one way"
		}
		// The fields are those of task in cmd/memlane/internal/bench/worker.go.
		text, err := json.Marshal(map[string]any{
			"Part": part, "Transport": transport, "Side": t.side, "Folder": t.folder, "Processor": t.processor,
			"Touched": true, "Size": t.size, "Batch": t.batch, "Group": t.group, "Warm": t.warm, "Length": t.length,
		})
		if err != nil {
			panic(err) // numbers and strings can be marshalled
		}
		return []string{b.built("memlane"), "bench-worker", string(text)}
	}
}

// aeronFragment is the largest MTU that Aeron allows: 64 KiB less a frame's alignment.
// With its default, 1408, all that is larger would be copied in pieces.
const aeronFragment = 65504

// aeronClaims is how large a message is that fits into a fragment behind its header.
const aeronClaims = aeronFragment - 32

// java runs a class. Who connects waits for the driver as long as for a pair. Bounds are checked by none of those that are compared, and the
// loops over the payload are not vectorized.
func (b *bench) java(args ...string) []string {
	return append([]string{"java", "-XX:-UseSuperWord", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Dagrona.disable.bounds.checks=true",
		"-Daeron.pre.touch.mapped.memory=true", "-Daeron.driver.timeout=" + strconv.FormatInt(overdue.Milliseconds(), 10), "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED",
		"-cp", b.built("aeron-all.jar") + ":" + b.built("aeron")}, args...)
}

func aeronCommand(b *bench, t task) []string {
	return b.java(append([]string{"Peer"}, t.arguments(t.part())...)...)
}

// aeronDriver is the media driver. It shares the two processors with the two who spin
// on them, so that it sleeps between looks. A log has the default length of terms, 64 MiB:
// with 4 MiB, publications wait seven times as long for the driver to let them go on.
// Its pages are there before they are used.
//
// The properties: https://github.com/aeron-io/aeron/wiki/Configuration-Options.
func aeronDriver(b *bench, t task) []string {
	return b.java("-Daeron.dir="+t.folder+"/aeron", "-Daeron.ipc.mtu.length="+strconv.Itoa(aeronFragment),
		"-Daeron.term.buffer.sparse.file=false", "-Daeron.threading.mode=SHARED", "-Daeron.dir.warn.if.exists=false",
		"io.aeron.driver.MediaDriver")
}
