package top

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Run shows frames that take takes, until the context ends or the user does. The terminal
// is as it was before when it returns.
func Run(ctx context.Context, take func() (*Frame, error), interval time.Duration) error {
	m := newModel(take, interval)
	program := tea.NewProgram(m, tea.WithContext(ctx), tea.WithoutSignalHandler(), tea.WithFPS(10))
	_, err := program.Run()
	switch {
	case m.err != nil:
		return m.err
	case ctx.Err() != nil, errors.Is(err, tea.ErrInterrupted):
		return nil // how it ends
	}
	return err
}

// Orders of the topics.
const (
	byName = iota
	byMessages
	byBytes
	byLag
	orders
)

var orderNames = [orders]string{"name", "messages/s", "bytes/s", "slowest"}

// historyMost is for how many frames the rates of a topic are kept.
const historyMost = 60

// model is what is shown. It is the program's goroutine's.
type model struct {
	take     func() (*Frame, error)
	interval time.Duration

	frame    *Frame // nil before the first
	err      error  // that it ended with
	history  map[string][]float64
	width    int
	height   int
	order    int
	selected string // topic
	first    int    // of the topics that is shown
	paused   bool
	taking   bool
	ticks    int // so that of two tickers only the last counts
	process  bool
	help     bool
}

func newModel(take func() (*Frame, error), interval time.Duration) *model {
	return &model{take: take, interval: interval, history: map[string][]float64{}, width: 80, height: 24, order: byMessages}
}

// taken is a frame, or why there is none.
type taken struct {
	frame *Frame
	err   error
}

// tick: it is time for the next.
type tick struct{ number int }

// Init is of tea.Model.
func (m *model) Init() tea.Cmd { return m.next() }

// next takes a frame beside the program.
func (m *model) next() tea.Cmd {
	m.taking = true
	take := m.take
	return func() tea.Msg {
		frame, err := take()
		return taken{frame, err}
	}
}

func (m *model) wait() tea.Cmd {
	m.ticks++
	number := m.ticks
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return tick{number} })
}

// Update is of tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case taken:
		m.taking = false
		if msg.err != nil {
			m.err = msg.err
			return m, tea.Quit
		}
		m.show(msg.frame)
		return m, m.wait()
	case tick:
		if msg.number != m.ticks || m.paused || m.taking {
			return m, nil
		}
		return m, m.next()
	case tea.KeyPressMsg:
		return m, m.press(msg.String())
	}
	return m, nil
}

// The shortest and longest times from one frame to the next.
const (
	intervalLeast = 250 * time.Millisecond
	intervalMost  = time.Minute
)

func (m *model) press(key string) tea.Cmd {
	switch key {
	case "q", "esc", "ctrl+c":
		return tea.Quit
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup":
		m.move(-m.topicRows())
	case "pgdown", "space":
		m.move(m.topicRows())
	case "home":
		m.move(-1 << 30)
	case "end":
		m.move(1 << 30)
	case "s":
		m.order = (m.order + 1) % orders
		m.sort()
	case "tab":
		m.process = !m.process
	case "?", "h":
		m.help = !m.help
	case "+", "=":
		m.interval = min(2*m.interval, intervalMost)
	case "-":
		m.interval = max(m.interval/2, intervalLeast)
	case "p":
		if m.paused = !m.paused; !m.paused && !m.taking {
			return m.next()
		}
	}
	return nil
}

// show has a frame shown from now on.
func (m *model) show(f *Frame) {
	m.frame = f
	there := map[string]bool{}
	for _, t := range f.Topics {
		there[t.Name] = true
		h := append(m.history[t.Name], t.Messages)
		m.history[t.Name] = h[max(0, len(h)-historyMost):]
	}
	for name := range m.history {
		if !there[name] {
			delete(m.history, name)
		}
	}
	m.sort()
	m.move(0)
}

// sort has the topics in the order that was chosen.
func (m *model) sort() {
	if m.frame == nil {
		return
	}
	slices.SortStableFunc(m.frame.Topics, func(a, b Topic) int {
		c := 0
		switch m.order {
		case byMessages:
			c = cmp.Compare(b.Messages, a.Messages)
		case byBytes:
			c = cmp.Compare(b.Bytes, a.Bytes)
		case byLag:
			c = cmp.Compare(b.worst(), a.worst())
		}
		return cmp.Or(c, cmp.Compare(a.Name, b.Name))
	})
}

// worst is how far the slowest subscriber is behind.
func (t *Topic) worst() float64 {
	if len(t.Subscribed) == 0 {
		return -1
	}
	return t.Subscribed[0].Behind
}

// move selects another topic, so many further down.
func (m *model) move(by int) {
	if m.frame == nil || len(m.frame.Topics) == 0 {
		m.selected, m.first = "", 0
		return
	}
	at := max(0, slices.IndexFunc(m.frame.Topics, func(t Topic) bool { return t.Name == m.selected }))
	at = min(max(at+by, 0), len(m.frame.Topics)-1)
	m.selected = m.frame.Topics[at].Name
	m.first = min(max(m.first, at-m.topicRows()+1), at)
}
