package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// screen is what the view shows, without its colours.
func screen(m *model) string { return ansi.Strip(m.View().Content) }

// key is a key that is pressed.
func key(name string) tea.Msg {
	codes := map[string]rune{"down": tea.KeyDown, "up": tea.KeyUp, "tab": tea.KeyTab, "end": tea.KeyEnd}
	if code, ok := codes[name]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: rune(name[0]), Text: name}
}

func twoTopics() *Frame {
	return &Frame{
		At: time.Date(2026, 1, 2, 12, 0, 30, 0, time.Local), Domain: "shop",
		Topics: []Topic{
			{Name: "orders", Publishers: 1, Subscribers: 2, Messages: 10, Bytes: 5000, Published: 100, Waiting: true, Subscribed: []Subscriber{
				{PID: 42, Program: "/usr/bin/billing", State: "stopped", Behind: 1, Lag: 64, Slow: 20, WaitedFor: true, Note: "its publisher waits for it"},
				{PID: 43, Program: "/usr/bin/audit", State: "alive", Received: 10},
			}},
			{Name: "prices\x1b[2J", Publishers: 1, Subscribers: 1, Messages: 2000, Lost: 3, Subscribed: []Subscriber{{PID: 44, State: "alive", Behind: 0.5}}},
		},
		Processes: []Process{{PID: 41, State: "alive", Program: "/usr/bin/shop", Publishes: 2}, {PID: 42, State: "stopped", Program: "/usr/bin/billing", Subscribes: 1}},
	}
}

func shows(t *testing.T, m *model, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(screen(m), want) {
			t.Errorf("no %q in\n%s", want, screen(m))
		}
	}
}

// What is there is shown, and keys show more of it.
func TestView(t *testing.T) {
	m := newModel(nil, time.Second)
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 30})
	shows(t, m, "looking")
	if _, next := m.Update(taken{twoTopics(), nil}); next == nil {
		t.Error("there is no next frame")
	}
	shows(t, m, "domain shop", "2 topics", "2 processes", "1 stopped", "orders", "waited for, stopped: billing 42, 12:00:10 (20s)", "100%", "4.9 KiB")
	if strings.Contains(screen(m), "\x1b") {
		t.Error("a name steers the terminal")
	}
	// The one with the most messages is first, and selected.
	if at := strings.Index(screen(m), "orders"); at < strings.Index(screen(m), "prices") {
		t.Errorf("not in order:\n%s", screen(m))
	}
	shows(t, m, `"prices\x1b[2J"  █  2,000/s now`)
	m.Update(key("down"))
	shows(t, m, "orders  █  10/s now", "its publisher waits for it", "audit 43")
	m.Update(key("up"))
	for range byLag - byMessages {
		m.Update(key("s"))
	}
	shows(t, m, "s sort: slowest")
	if at := strings.Index(screen(m), "orders"); at > strings.Index(screen(m), "prices") {
		t.Errorf("not in order:\n%s", screen(m))
	}
	m.Update(key("tab"))
	shows(t, m, "SUBSCRIBES", "/usr/bin/shop", "stopped")
	m.Update(key("?"))
	shows(t, m, "pause, and go on")
	for range 9 {
		m.Update(key("-"))
	}
	if m.interval != intervalLeast {
		t.Errorf("%v is too often", m.interval)
	}
	if lines := strings.Count(screen(m), "\n") + 1; lines != 30 {
		t.Errorf("%d lines on a screen of 30", lines)
	}
	// A small terminal has what fits into it.
	m.Update(key("?"))
	m.Update(key("tab"))
	m.Update(tea.WindowSizeMsg{Width: 20, Height: 5})
	for _, line := range strings.Split(screen(m), "\n") {
		if ansi.StringWidth(line) > 20 {
			t.Errorf("a line of %d in a width of 20: %q", ansi.StringWidth(line), line)
		}
	}
	if lines := strings.Count(screen(m), "\n") + 1; lines != 5 {
		t.Errorf("%d lines on a screen of 5", lines)
	}
}

// The selected topic stays so wherever it goes, and is always among those that are shown.
func TestSelection(t *testing.T) {
	m := newModel(nil, time.Second)
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 20})
	many := func(rate func(i int) float64) *Frame {
		f := &Frame{Domain: "many"}
		for i := range 100 {
			f.Topics = append(f.Topics, Topic{Name: fmt.Sprintf("topic%03d", i), Messages: rate(i)})
		}
		return f
	}
	m.Update(taken{many(func(i int) float64 { return float64(1000 - i) }), nil})
	shows(t, m, "topic000", "93 more")
	m.Update(key("end"))
	shows(t, m, "topic099  ", "topic098")
	m.Update(taken{many(func(i int) float64 { return float64(i) }), nil})
	if m.selected != "topic099" || m.first != 0 {
		t.Errorf("%q, of those from %d on", m.selected, m.first)
	}
	m.Update(taken{&Frame{Domain: "many"}, nil})
	shows(t, m, "nobody takes part")
	if len(m.history) != 0 || m.selected != "" {
		t.Errorf("%d, %q", len(m.history), m.selected)
	}
}

// It pauses, and goes on; of what is asked for twice only one comes. An error is its end.
func TestTicks(t *testing.T) {
	takes := 0
	m := newModel(func() (*Frame, error) { takes++; return twoTopics(), nil }, time.Millisecond)
	next := m.Init()
	m.Update(next())
	if takes != 1 {
		t.Fatal(takes)
	}
	ticks := tick{m.ticks}
	m.Update(key("p"))
	shows(t, m, "paused")
	if _, next := m.Update(ticks); next != nil {
		t.Error("it takes a frame while it is paused")
	}
	_, next = m.Update(key("p"))
	if next == nil {
		t.Fatal("it does not go on")
	}
	if _, again := m.Update(ticks); again != nil {
		t.Error("it takes two frames at once")
	}
	m.Update(next())
	if _, again := m.Update(ticks); again != nil {
		t.Error("a tick of before counts")
	}
	broken := errors.New("broken")
	if _, quit := m.Update(taken{nil, broken}); quit == nil || m.err != broken {
		t.Errorf("%v", m.err)
	} else if _, ok := quit().(tea.QuitMsg); !ok {
		t.Error("it does not end")
	}
}
