package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/memlane/memlane/bench/internal/machine"
)

// A figure is what was found of one contender. What does not apply is 0, and left out.
type figure struct {
	Transport string  `json:"transport"`
	What      string  `json:"what"` // latency, of round trips, or throughput, one way
	Size      int     `json:"size"`
	Batch     int     `json:"batch"`
	Waits     string  `json:"waits"`
	Payload   string  `json:"payload"`
	N         uint64  `json:"n,omitempty"` // messages, or round trips
	P50       float64 `json:"p50_ns,omitempty"`
	P99       float64 `json:"p99_ns,omitempty"`
	P999      float64 `json:"p999_ns,omitempty"`
	Max       float64 `json:"max_ns,omitempty"`
	Rate      float64 `json:"msgs_per_s,omitempty"` // of latency: round trips
	Bytes     float64 `json:"bytes_per_s,omitempty"`

	// Ratios of the times, or of the rates, round by round.
	Floor     string `json:"floor,omitempty"`
	ToFloor   spread `json:"to_floor,omitzero"`
	ToMemlane spread `json:"to_memlane,omitzero"`

	// Line is how long a cache line took to the other processor and back, between the
	// rounds.
	Line spread `json:"line_ns,omitzero"`

	Missing string `json:"missing,omitempty"` // why there are no figures
}

// report prints what is found, as it is found.
type report struct {
	out  io.Writer
	json bool
}

func (r *report) line(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // all that is printed can be
	}
	fmt.Fprintf(r.out, "%s\n", text)
}

func (r *report) machine(m machine.Machine) {
	if r.json {
		r.line(map[string]machine.Machine{"machine": m})
		return
	}
	fmt.Fprintf(r.out, "- %s, load average %s\n", m, m.Load)
}

func (r *report) product(p *product) {
	switch {
	case r.json:
		r.line(p)
	case p.Missing != "":
		fmt.Fprintf(r.out, "- %s: MISSING: %s\n", p.Name, p.Missing)
	case p.Version != "":
		fmt.Fprintf(r.out, "- %s %s\n", p.Name, p.Version)
	}
}

func (r *report) note(text string) {
	if r.json {
		r.line(map[string]string{"note": text})
		return
	}
	fmt.Fprintf(r.out, "- %s\n", text)
}

// column is a column of a table.
type column struct {
	head string
	cell func(f *figure) string
	text bool // not a number
}

var columns = []column{
	{"transport", func(f *figure) string { return f.Transport }, true},
	{"waits", func(f *figure) string { return f.Waits }, true},
	{"payload", payload, true},
	{"p50 ns", func(f *figure) string { return number(f.P50) }, false},
	{"p99 ns", func(f *figure) string { return number(f.P99) }, false},
	{"p99.9 ns", func(f *figure) string { return number(f.P999) }, false},
	{"max ns", func(f *figure) string { return number(f.Max) }, false},
	{"messages/s", func(f *figure) string { return ofThroughput(f, f.Rate) }, false},
	{"MB/s", func(f *figure) string { return ofThroughput(f, f.Bytes/1e6) }, false},
	{"× floor (rounds)", func(f *figure) string { return f.ToFloor.String() }, false},
	{"× memlane (rounds)", func(f *figure) string { return f.ToMemlane.String() }, false},
	{"missing", func(f *figure) string { return f.Missing }, true},
}

func payload(f *figure) string {
	if f.Batch > 1 {
		return fmt.Sprintf("%s, %d at once", f.Payload, f.Batch)
	}
	return f.Payload
}

func ofThroughput(f *figure, v float64) string {
	if f.What != throughput {
		return ""
	}
	return number(v)
}

func (s spread) String() string {
	if s.Median == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Low), number(s.High))
}

// table prints one measurement. lines are how long a cache line took to the other
// processor and back.
func (r *report) table(m measurement, figures []figure, lines []float64) {
	far := spread{median(lines), slices.Min(lines), slices.Max(lines)}
	if r.json {
		for _, f := range figures {
			f.Line = far
			r.line(f)
		}
		return
	}
	better := "ratios of times: less is better"
	if m.what == throughput {
		better = "ratios of rates: more is better"
	}
	fmt.Fprintf(r.out, "\n### %s; %s (a line there and back: %s ns)\n\n", strings.ToUpper(m.title()[:1])+m.title()[1:], better, number(far.Median))
	for _, row := range rowsOf(figures) {
		fmt.Fprintf(r.out, "%s|\n", row)
	}
	fmt.Fprintln(r.out)
	if far.High > 1.5*far.Low {
		r.note(fmt.Sprintf("THE PROCESSORS MOVED: a line there and back took from %s to %s ns; these figures are of several machines, measure again", number(far.Low), number(far.High)))
	}
}

// rowsOf lays out a table, without the columns that are empty.
func rowsOf(figures []figure) []string {
	rows := make([]string, len(figures)+2)
	for _, c := range columns {
		cells, used := []string{c.head, "--:"}, false
		if c.text {
			cells[1] = "---"
		}
		for i := range figures {
			cell := c.cell(&figures[i])
			used = used || cell != ""
			cells = append(cells, cell)
		}
		if !used {
			continue
		}
		width := 0
		for _, cell := range cells {
			width = max(width, utf8.RuneCountInString(cell))
		}
		for i, cell := range cells {
			gap := strings.Repeat(" ", width-utf8.RuneCountInString(cell))
			if c.text {
				rows[i] += "| " + cell + gap + " "
			} else {
				rows[i] += "| " + gap + cell + " "
			}
		}
	}
	return rows
}

// number prints about three digits, or all before the point; nothing for 0.
func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case v == float64(int(v)) && v < 1000:
		return fmt.Sprintf("%d", int(v))
	case v < 0.1:
		return fmt.Sprintf("%.2g", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}
