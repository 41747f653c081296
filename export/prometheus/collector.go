// Package prometheus tells Prometheus how domains and their topics are doing (a module of
// its own).
//
//	registry.MustRegister(prometheus.NewCollector(nil))
//
// The numbers are in the memory of those who publish and subscribe. One collector reads
// them for all processes, which are not asked, and need not know of it; also what a
// process had counted before it was stopped, and how many have died.
package prometheus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says which domains are told of. A nil *Config is all of the user's own.
type Config struct {
	Memlane memlane.Config // where the domains are
	Domains []string       // their names; nil: all that there are
}

// Collector is of [prometheus.Collector]. It can be used from several goroutines.
type Collector struct {
	config Config

	mu   sync.Mutex
	open map[string]*memlane.Domain // those in which there were topics
}

// NewCollector returns a collector. Close it when it is not used any more.
func NewCollector(c *Config) *Collector {
	if c == nil {
		c = &Config{}
	}
	return &Collector{config: *c, open: map[string]*memlane.Domain{}}
}

// Close leaves the domains.
func (c *Collector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first error
	for name, d := range c.open {
		if err := d.Close(); err != nil && first == nil {
			first = err
		}
		delete(c.open, name)
	}
	return first
}

var (
	ofDomain       = []string{"domain"}
	ofPublisher    = []string{"domain", "topic", "publisher", "pid"}
	ofSubscription = []string{"domain", "topic", "publisher", "subscriber", "pid"}
)

// all are what is told.
var all []*prometheus.Desc

func describe(name, help string, labels []string) *prometheus.Desc {
	d := prometheus.NewDesc("memlane_"+name, help, labels, nil)
	all = append(all, d)
	return d
}

// Names are in base units, and end with _total if they only grow.
var (
	participants = describe("participants", "Processes that take part in a domain, by state: alive, stopped, dead, foreign, unknown.", []string{"domain", "state"})
	topics       = describe("topics", "Topics of a domain that somebody takes part in.", ofDomain)

	published   = describe("messages_published_total", "Messages that a publisher has published.", ofPublisher)
	blocked     = describe("publish_blocked_total", "How often a publisher had to wait for a subscriber.", ofPublisher)
	waiting     = describe("publisher_waiting", "1 while a publisher waits for a subscriber.", ofPublisher)
	wakes       = describe("wakes_total", "How often a publisher asked the kernel to wake subscribers.", ofPublisher)
	evicted     = describe("subscribers_evicted_total", "Subscribers that were let go because their words made no sense.", ofPublisher)
	arena       = describe("arena_bytes", "Memory that a publisher has for larger messages.", ofPublisher)
	subscribers = describe("subscriptions", "Subscribers of a publisher.", ofPublisher)
	refused     = describe("subscribers_refused", "Subscribers that a publisher refuses because they want messages of another schema or content type.", ofPublisher)

	received    = describe("messages_received_total", "Messages of a publisher that a subscriber has received; the last ones may not be counted yet.", ofSubscription)
	lost        = describe("messages_lost_total", "Messages that a publisher dropped before they came to a subscriber.", ofSubscription)
	lag         = describe("subscriber_lag_messages", "Messages that a subscriber has before it.", ofSubscription)
	utilization = describe("ring_utilization_ratio", "Of a publisher's ring, how much a subscriber has before it: at 1 messages are lost, or waited for.", ofSubscription)
	held        = describe("messages_held", "Messages that a subscriber has borrowed.", ofSubscription)
	silent      = describe("subscriber_silent", "1 if a subscriber does not answer, as one that is stopped.", ofSubscription)

	failed = describe("scrape_errors", "Domains that could not be looked at.", nil)
)

// Describe is of [prometheus.Collector].
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range all {
		to <- d
	}
}

// Collect is of [prometheus.Collector].
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, err := c.config.Domains, error(nil)
	if names == nil {
		names, err = inspect.Domains(&c.config.Memlane)
	}
	errors := 0
	if err != nil {
		errors++
	}
	for _, name := range names {
		if err := c.domain(name, to); err != nil {
			errors++
		}
	}
	for name := range maps.Keys(c.open) {
		if !slices.Contains(names, name) {
			c.leave(name)
		}
	}
	to <- gauge(failed, float64(errors))
}

// domain tells of one domain.
func (c *Collector) domain(name string, to chan<- prometheus.Metric) error {
	// Before it is opened: that removes what the dead have left.
	who, err := inspect.Participants(name, &c.config.Memlane)
	if err != nil {
		return fmt.Errorf("participants of domain %q: %w", name, err)
	}
	states := map[inspect.State]int{inspect.Alive: 0, inspect.Stopped: 0, inspect.Dead: 0, inspect.Foreign: 0, inspect.Unknown: 0}
	for _, p := range who {
		states[p.State]++
	}
	if c.open[name] != nil {
		states[inspect.Alive]-- // this one is not meant
	}
	label := strings.ToValidUTF8(name, "�") // a folder can be called anything
	for state, n := range states {
		to <- gauge(participants, float64(n), label, string(state))
	}
	there, err := inspect.Topics(name, &c.config.Memlane)
	if err != nil {
		return fmt.Errorf("topics of domain %q: %w", name, err)
	}
	to <- gauge(topics, float64(len(there)), label)
	if len(there) == 0 {
		c.leave(name) // so that a domain that is empty can go
		return nil
	}
	if c.open[name] == nil {
		d, err := memlane.Open(name, &c.config.Memlane)
		if err != nil {
			return err
		}
		c.open[name] = d
	}
	for _, t := range there {
		look, err := inspect.Look(c.open[name], t.Name)
		if err != nil {
			continue // everybody has gone meanwhile
		}
		for _, p := range look.Publishers {
			tell(label, t.Name, p, to)
		}
	}
	return nil
}

func (c *Collector) leave(name string) {
	if d := c.open[name]; d != nil {
		d.Close()
		delete(c.open, name)
	}
}

// tell tells of one publisher and its subscribers.
func tell(domain, topic string, p inspect.Publisher, to chan<- prometheus.Metric) {
	labels := []string{domain, topic, id(p.ID), strconv.Itoa(p.PID)}
	to <- counter(published, p.Published, labels...)
	to <- counter(blocked, p.Blocked, labels...)
	to <- counter(wakes, p.Wakes, labels...)
	to <- counter(evicted, p.Evicted, labels...)
	to <- gauge(waiting, truth(p.Waiting), labels...)
	to <- gauge(arena, float64(p.ArenaBytes), labels...)
	to <- gauge(subscribers, float64(len(p.Subscriptions)), labels...)
	to <- gauge(refused, float64(len(p.Refused)), labels...)
	for _, s := range p.Subscriptions {
		labels := []string{domain, topic, id(p.ID), id(s.ID), strconv.Itoa(s.PID)}
		to <- counter(received, s.Received, labels...)
		to <- counter(lost, s.Lost, labels...)
		to <- gauge(lag, float64(s.Lag), labels...)
		to <- gauge(utilization, float64(s.Behind)/float64(max(p.Slots, 1)), labels...)
		to <- gauge(held, float64(s.Holds), labels...)
		to <- gauge(silent, truth(s.Silent), labels...)
	}
}

func id(n uint64) string { return fmt.Sprintf("%016x", n) }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}
