package inspect_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// burst publishes so many messages of ten bytes at once, and ends, or is killed. Args: the
// folder, how many, how it ends.
func burst(args []string) error {
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	p, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(args[1])
	for range n {
		if err := p.Publish(context.Background(), make([]byte, 10)); err != nil {
			return err
		}
	}
	fmt.Println("published")
	if args[2] == "is killed" {
		return proctest.Hang(d, p)
	}
	return d.Close()
}

// What publishers have published that came and went while nobody looked is counted, and
// what was published before is not.
func TestMeter(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder, "test")
	before, err := pubsub.Publish(open(t, folder, "test"), "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Publish(background, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	m, err := inspect.NewMeter(d, "numbers")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Published(); got != (inspect.Published{}) {
		t.Errorf("%+v were published before", got)
	}
	var want inspect.Published
	for i := range 10 {
		end := []string{"ends", "is killed"}[i%2]
		n := 100 + i
		p := proctest.Start(t, nil, "burst", folder, strconv.Itoa(n), end)
		if got := p.Line(); got != "published" {
			t.Fatal(got)
		}
		if end == "is killed" {
			p.Kill()
		}
		want.Messages += uint64(n)
		want.Bytes += uint64(10 * n)
	}
	if err := before.PublishBatch(background, [][]byte{{1}, {2, 3}}); err != nil {
		t.Fatal(err)
	}
	want.Messages, want.Bytes = want.Messages+2, want.Bytes+3
	got := m.Published()
	for end := time.Now().Add(20 * time.Second); got != want && time.Now().Before(end); got = m.Published() {
		runtime.Gosched() // a process that is killed may not have been seen to be
	}
	if got != want {
		t.Errorf("%+v; want %+v", got, want)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := m.Published(); got != want {
		t.Errorf("%+v after Close; want %+v", got, want)
	}
	if n := before.Subscribers(); n != 0 {
		t.Errorf("%d subscribers", n)
	}
}

// A publisher whose connection is lost, and begun again, is counted once.
func TestMeterAgain(t *testing.T) {
	folder := t.TempDir()
	ours, theirs := open(t, folder, "test"), open(t, folder, "test")
	m, err := inspect.NewMeter(ours, "numbers")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p, err := pubsub.Publish(theirs, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	// Another port by which the connection can be ended.
	other, err := hostile.JoinAs(domain.Of(ours).Node(), "numbers", meet.Subscriber)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if err := p.Publish(background, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		found := <-other.Found
		for found.Role() != meet.Publisher {
			found = <-other.Found // the meter
		}
		domain.Of(ours).Node().Drop(found, meet.ErrGone)
		want := inspect.Published{Messages: i + 1, Bytes: 10 * (i + 1)}
		got := m.Published()
		for end := time.Now().Add(20 * time.Second); got != want && time.Now().Before(end); got = m.Published() {
			runtime.Gosched()
		}
		if got != want {
			t.Fatalf("%+v; want %+v", got, want)
		}
	}
}
