package top

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/dustin/go-humanize"
)

var (
	bold    = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	chosen  = lipgloss.NewStyle().Reverse(true)
	warning = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	bad     = lipgloss.NewStyle().Foreground(lipgloss.Red)
)

// nameMost is how much of a topic's name is shown.
const nameMost = 32

const helpText = `↑ ↓ PgUp PgDn  select a topic, whose subscribers are shown below
s              sort topics by the next of: name, messages/s, bytes/s, slowest
Tab            the processes of the domain, and back
p              pause, and go on
+ -            look less or more often
q Esc Ctrl-C   end

BEHIND is how much of a publisher's ring is before a subscriber: at 100 % it loses messages,
or is waited for. SLOW SINCE is when its publisher has first seen it have half of the ring
before it, or something and not move. RECEIVED/S and LOST/S are means of ten looks, because a
subscriber counts only now and then while there is more. Nobody waits for this view, or is slower for it.`

// View is of tea.Model.
func (m *model) View() tea.View {
	var lines []string
	switch {
	case m.frame == nil:
		lines = []string{faint.Render("looking …")}
	case m.help:
		lines = append([]string{m.title(), ""}, strings.Split(helpText, "\n")...)
	case m.process:
		lines = append([]string{m.title(), ""}, m.processes()...)
	default:
		lines = append([]string{m.title(), ""}, m.topics()...)
		lines = append(append(lines, ""), m.subscribers()...)
	}
	// The last line is always the same one.
	if len(lines) > m.height-1 {
		lines = lines[:max(m.height-1, 0)]
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines, faint.Render("q quit  ? help  ↑↓ select  s sort: "+orderNames[m.order]+"  Tab processes  p pause  +/- interval"))
	cut := lipgloss.NewStyle().MaxWidth(m.width)
	for i := range lines {
		lines[i] = cut.Render(lines[i])
	}
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	v.WindowTitle = "memlane top"
	return v
}

func (m *model) title() string {
	states := map[string]int{}
	for _, p := range m.frame.Processes {
		states[p.State]++
	}
	name := bold.Render("memlane top")
	if m.paused {
		name = chosen.Render("memlane top, paused")
	}
	text := fmt.Sprintf("%s  domain %s  %s  every %v  %s", name, printable(m.frame.Domain), m.frame.At.Format(time.TimeOnly),
		m.interval, plural(len(m.frame.Topics), "topic"))
	text += "  " + plural(len(m.frame.Processes), "process")
	for _, state := range []string{"stopped", "dead", "foreign", "unknown"} {
		if n := states[state]; n > 0 {
			text += warning.Render(fmt.Sprintf("  %d %s", n, state))
		}
	}
	return text
}

// topicRows is how many topics are shown at once.
func (m *model) topicRows() int { return max((m.height-6)/2, 3) }

func (m *model) topics() []string {
	t := newTable("<TOPIC", "5PUBS", "4SUBS", "MESSAGES/S", "3BYTES/S", "2LOST/S", "1BEHIND", "<SLOWEST")
	if len(m.frame.Topics) == 0 {
		return append(t.lines(m.width), faint.Render("nobody takes part in any topic"))
	}
	end := min(m.first+m.topicRows(), len(m.frame.Topics))
	for _, one := range m.frame.Topics[m.first:end] {
		behind, slowest, style := "-", "-", lipgloss.NewStyle()
		if len(one.Subscribed) > 0 {
			s := &one.Subscribed[0]
			behind = percent(s.Behind)
			if s.Slow > 0 || s.WaitedFor {
				slowest = s.process() + m.since(s)
			}
			if s.State == "stopped" {
				slowest, style = "stopped: "+slowest, warning
			}
			if s.WaitedFor {
				slowest, style = "waited for, "+slowest, bad
			}
		}
		if one.Silent > 0 && slowest == "-" {
			slowest, style = fmt.Sprintf("%d do not answer", one.Silent), warning
		}
		if one.Lost > 0 {
			style = bad
		}
		if one.Name == m.selected {
			style = chosen
		}
		t.add(style, short(one.Name, nameMost), strconv.Itoa(one.Publishers), strconv.Itoa(one.Subscribers), perSecond(one.Messages),
			humanize.IBytes(uint64(one.Bytes)), perSecond(one.Lost), behind, slowest)
	}
	lines := t.lines(m.width)
	if hidden := len(m.frame.Topics) - (end - m.first); hidden > 0 {
		lines = append(lines, faint.Render(fmt.Sprintf("%d more", hidden)))
	}
	return lines
}

func (m *model) subscribers() []string {
	for _, one := range m.frame.Topics {
		if one.Name != m.selected {
			continue
		}
		history := m.history[one.Name]
		most := 0.0
		for _, v := range history {
			most = max(most, v)
		}
		lines := []string{fmt.Sprintf("%s  %s  %s/s now, %s/s at most", bold.Render(short(one.Name, nameMost)), sparkline(history, most),
			perSecond(one.Messages), perSecond(most))}
		t := newTable("<SUBSCRIBER", "<STATE", "3RECEIVED/S", "6LAG", "1BEHIND", "4LOST", "5HOLDS", "<2SLOW SINCE", "<NOTE")
		for _, s := range one.Subscribed {
			style := lipgloss.NewStyle()
			switch {
			case s.WaitedFor:
				style = bad
			case s.Slow > 0, s.State == "stopped":
				style = warning
			}
			since := strings.TrimPrefix(m.since(&s), ", ")
			t.add(style, s.process(), s.State, perSecond(s.Received), humanize.Comma(int64(s.Lag)), percent(s.Behind),
				humanize.Comma(int64(s.Lost)), strconv.Itoa(s.Holds), dashed(since), dashed(s.Note))
		}
		return append(lines, t.lines(m.width)...)
	}
	return nil
}

func (m *model) processes() []string {
	t := newTable("PID", "<STATE", "1PUBLISHES", "2SUBSCRIBES", "<PROGRAM")
	for _, p := range m.frame.Processes {
		style := lipgloss.NewStyle()
		if p.State != "alive" {
			style = warning
		}
		pid := "?"
		if p.PID != 0 {
			pid = strconv.Itoa(p.PID)
		}
		t.add(style, pid, p.State, strconv.Itoa(p.Publishes), strconv.Itoa(p.Subscribes), dashed(printable(p.Program)))
	}
	return t.lines(m.width)
}

// since says from when on a subscriber has been slow; "" if it is not.
func (m *model) since(s *Subscriber) string {
	if s.Slow == 0 {
		return ""
	}
	slow := time.Duration(s.Slow * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf(", %s (%v)", m.frame.At.Add(-slow).Format(time.TimeOnly), slow)
}

func (s *Subscriber) process() string {
	pid := "?"
	if s.PID != 0 {
		pid = strconv.Itoa(s.PID)
	}
	if s.Program == "" {
		return pid
	}
	return printable(filepath.Base(s.Program)) + " " + pid
}

// table is columns of text. Of a heading, < has the column on the left, and digits say how
// soon it is left out where there is not enough room for all: the largest first.
type table struct {
	heads  []string
	left   []bool
	drop   []int
	rows   [][]string
	styles []lipgloss.Style
}

func newTable(heads ...string) *table {
	t := &table{}
	for _, h := range heads {
		name := strings.TrimLeft(h, "<0123456789")
		order, _ := strconv.Atoi(strings.Trim(h[:len(h)-len(name)], "<"))
		t.heads, t.left, t.drop = append(t.heads, name), append(t.left, strings.HasPrefix(h, "<")), append(t.drop, order)
	}
	return t
}

func (t *table) add(style lipgloss.Style, cells ...string) {
	t.rows, t.styles = append(t.rows, cells), append(t.styles, style)
}

// lines returns the table, in so many columns of the terminal if that can be.
func (t *table) lines(width int) []string {
	widths := make([]int, len(t.heads))
	for _, row := range append([][]string{t.heads}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	shown := make([]bool, len(t.heads))
	for i := range shown {
		shown[i] = true
	}
	for {
		total, next := -2, -1
		for i, w := range widths {
			if shown[i] {
				total += w + 2
				if t.drop[i] > 0 && (next < 0 || t.drop[i] > t.drop[next]) {
					next = i
				}
			}
		}
		if total <= width || next < 0 {
			break
		}
		shown[next] = false
	}
	join := func(row []string) string {
		var b strings.Builder
		for i, cell := range row {
			if !shown[i] {
				continue
			}
			space := strings.Repeat(" ", widths[i]-lipgloss.Width(cell))
			if t.left[i] {
				b.WriteString(cell + space + "  ")
			} else {
				b.WriteString(space + cell + "  ")
			}
		}
		return strings.TrimRight(b.String(), " ")
	}
	lines := []string{bold.Render(join(t.heads))}
	for i, row := range t.rows {
		lines = append(lines, t.styles[i].Render(join(row)))
	}
	return lines
}

// short is a name of so many columns at most.
func short(name string, most int) string { return ansi.Truncate(printable(name), most, "…") }

// sparkline draws values, of which the largest is most.
func sparkline(values []float64, most float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	var b strings.Builder
	for _, v := range values[max(0, len(values)-30):] {
		level := 0
		if most > 0 {
			level = int(v / most * float64(len(levels)-1))
		}
		b.WriteRune(levels[min(max(level, 0), len(levels)-1)])
	}
	return b.String()
}

func perSecond(v float64) string {
	if v > 0 && v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return humanize.Comma(int64(v + 0.5))
}

func percent(part float64) string { return fmt.Sprintf("%.0f%%", 100*part) }

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		what += "es"
	default:
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func dashed(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// printable keeps what somebody else has named from steering the terminal.
func printable(name string) string {
	if quoted := strconv.QuoteToGraphic(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
