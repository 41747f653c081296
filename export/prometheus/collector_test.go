package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/memlane/memlane"
	export "github.com/memlane/memlane/export/prometheus"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{"publish": publish})
}

// publish publishes three messages and one large one. Args: the folder.
func publish(args []string) error {
	d, err := memlane.Open("shop", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	p, err := pubsub.Publish(d, "orders", &pubsub.PublisherConfig{Slots: 16})
	if err != nil {
		return err
	}
	if err := p.WaitSubscribers(context.Background(), 1); err != nil {
		return err
	}
	for range 40 {
		if err := p.Publish(context.Background(), []byte("one espresso")); err != nil {
			return err
		}
	}
	fmt.Println("published")
	return proctest.Hang(p)
}

// gather returns all samples, as "name{label=value,…}".
func gather(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				if name := l.GetName(); name != "publisher" && name != "subscriber" {
					labels = append(labels, name+"="+l.GetValue())
				}
			}
			samples[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return samples
}

// Of processes that know nothing of it the collector tells what they have counted, and
// who has died.
func TestCollector(t *testing.T) {
	folder := t.TempDir()
	c := export.NewCollector(&export.Config{Memlane: memlane.Config{Folder: folder}})
	defer c.Close()
	if all := gather(t, c); len(all) != 1 || all["memlane_scrape_errors{}"] != 0 {
		t.Errorf("nobody is there, and it tells %v", all)
	}
	p := proctest.Start(t, nil, "publish", folder)
	d, err := memlane.Open("shop", &memlane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.Subscribe(d, "orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Line()
	var lagged *pubsub.LaggedError
	if _, err := s.Receive(context.Background()); !errors.As(err, &lagged) {
		t.Fatalf("%v; want to be told of a loss first", err)
	}
	for range 3 {
		if _, err := s.Receive(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	publisher, subscriber := fmt.Sprintf("{domain=shop,pid=%d,topic=orders}", p.PID()), fmt.Sprintf("{domain=shop,pid=%d,topic=orders}", os.Getpid())
	gather(t, c)
	all := gather(t, c) // it takes part itself now, and does not count itself
	for name, want := range map[string]float64{
		"memlane_scrape_errors{}":                       0,
		"memlane_topics{domain=shop}":                   1,
		"memlane_participants{domain=shop,state=alive}": 2,
		"memlane_participants{domain=shop,state=dead}":  0,
		"memlane_messages_published_total" + publisher:  40,
		"memlane_subscriptions" + publisher:             1,
		"memlane_publisher_waiting" + publisher:         0,
		"memlane_subscribers_refused" + publisher:       0,
		"memlane_messages_lost_total" + subscriber:      float64(lagged.Lost),
		"memlane_messages_held" + subscriber:            0,
		"memlane_subscriber_silent" + subscriber:        0,
	} {
		if got, ok := all[name]; !ok || got != want {
			t.Errorf("%s is %v (%v); want %v", name, got, ok, want)
		}
	}
	// A subscriber tells only now and then how far it is, while there is more.
	behind, left := all["memlane_subscriber_lag_messages"+subscriber], float64(40-3-lagged.Lost)
	if n := all["memlane_messages_received_total"+subscriber]; n > 3 || behind < left || behind > left+3 || all["memlane_ring_utilization_ratio"+subscriber] != behind/16 {
		t.Errorf("%v received, %v before it of %v, %v of the ring", n, behind, left, all["memlane_ring_utilization_ratio"+subscriber])
	}
	p.Kill()
	for s.Publishers() > 0 { // what it had published comes first
		s.TryReceive()
		runtime.Gosched()
	}
	all = gather(t, c)
	if n, ok := all["memlane_messages_published_total"+publisher]; ok || all["memlane_participants{domain=shop,state=alive}"] != 1 {
		t.Errorf("after a death it tells %v, %v", n, all)
	}
	s.Close()
	gather(t, c) // leaves the domain, of which nobody has a topic
	d.Close()
	if all = gather(t, c); all["memlane_participants{domain=shop,state=alive}"] != 0 {
		t.Errorf("when all have gone it tells %v", all)
	}
}

// Who has died alone is counted.
func TestDead(t *testing.T) {
	folder := t.TempDir()
	p := proctest.Start(t, nil, "publish", folder)
	c := export.NewCollector(&export.Config{Memlane: memlane.Config{Folder: folder}})
	defer c.Close()
	for gathered := gather(t, c); gathered["memlane_topics{domain=shop}"] == 0; gathered = gather(t, c) {
		runtime.Gosched() // it has not come yet
	}
	c.Close() // who is there removes what the dead leave
	p.Kill()
	if all := gather(t, c); all["memlane_participants{domain=shop,state=dead}"] != 1 || all["memlane_participants{domain=shop,state=alive}"] != 0 {
		t.Errorf("%v", all)
	}
}

// A domain that may not be looked at is an error that is counted, and others are told of.
func TestScrapeErrors(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file.domain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := export.NewCollector(&export.Config{Memlane: memlane.Config{Folder: folder}, Domains: []string{"none", "a/b"}})
	defer c.Close()
	all := gather(t, c)
	if all["memlane_scrape_errors{}"] != 1 || all["memlane_topics{domain=none}"] != 0 {
		t.Errorf("%v", all)
	}
}
