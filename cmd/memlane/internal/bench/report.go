package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A figure is what was found of one of those that are compared. What does not apply
// is 0, and left out.
type figure struct {
	Transport string  `json:"transport"`
	What      string  `json:"what"`
	Placement string  `json:"placement,omitempty"` // "across" two processors, or on the "same"
	Size      int     `json:"size,omitempty"`
	Readers   int     `json:"readers,omitempty"`
	Batch     int     `json:"batch,omitempty"`
	N         int     `json:"n,omitempty"` // messages, or round trips
	P50       float64 `json:"p50_ns,omitempty"`
	P99       float64 `json:"p99_ns,omitempty"`
	P999      float64 `json:"p999_ns,omitempty"`
	Max       float64 `json:"max_ns,omitempty"`
	Rate      float64 `json:"msgs_per_s,omitempty"`
	Bytes     float64 `json:"bytes_per_s,omitempty"`

	// Ratio is to Against, of the times or of the rates; Low and High are the rounds'
	// extremes.
	Against   string  `json:"against,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
	// Ratios are those to others.
	Ratios map[string]float64 `json:"ratios,omitempty"`

	Each        float64  `json:"ns_per_further_reader,omitempty"`
	Memory      uint64   `json:"memory_bytes,omitempty"`
	Processor   *float64 `json:"processor_share,omitempty"`
	Allocations *float64 `json:"allocations_per_msg,omitempty"`
	Calls       *float64 `json:"system_calls_per_msg,omitempty"` // of the median of many short times
	CallsInAll  *int     `json:"system_calls_in_all,omitempty"`

	// Line is how long a cache line took to the other processor and back, before and
	// after the rounds.
	Line     float64 `json:"line_ns,omitempty"`
	LineLow  float64 `json:"line_low_ns,omitempty"`
	LineHigh float64 `json:"line_high_ns,omitempty"`

	Budget string `json:"budget,omitempty"`
	Holds  *bool  `json:"holds,omitempty"`
}

func (f *figure) budget(text string, holds bool) { f.Budget, f.Holds = text, &holds }

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

func (r *report) machine(m machine) {
	if r.json {
		r.line(map[string]machine{"machine": m})
		return
	}
	fmt.Fprintln(r.out, m)
}

func (r *report) note(text string) {
	if r.json {
		r.line(map[string]string{"note": text})
		return
	}
	fmt.Fprintln(r.out, text)
}

// column is a column of a table.
type column struct {
	head string
	cell func(f *figure) string
	text bool // not a number
}

var columns = []column{
	{"transport", func(f *figure) string { return f.Transport }, true},
	{"what", func(f *figure) string { return f.What }, true},
	{"bytes", func(f *figure) string { return number(float64(f.Size)) }, false},
	{"readers", func(f *figure) string { return number(float64(f.Readers)) }, false},
	{"p50 ns", func(f *figure) string { return number(f.P50) }, false},
	{"p99 ns", func(f *figure) string { return number(f.P99) }, false},
	{"p99.9 ns", func(f *figure) string { return number(f.P999) }, false},
	{"max ns", func(f *figure) string { return number(f.Max) }, false},
	{"messages/s", func(f *figure) string { return number(f.Rate) }, false},
	{"MB/s", func(f *figure) string { return number(f.Bytes / 1e6) }, false},
	{"ns each further", func(f *figure) string { return number(f.Each) }, false},
	{"memory", func(f *figure) string { return number(float64(f.Memory)) }, false},
	{"processor", func(f *figure) string { return optional(f.Processor, 100, " %") }, false},
	{"allocations", func(f *figure) string { return optional(f.Allocations, 1, "") }, false},
	{"system calls", func(f *figure) string { return optional(f.Calls, 1, "") }, false},
	{"in all", func(f *figure) string {
		if f.CallsInAll == nil {
			return ""
		}
		return fmt.Sprint(*f.CallsInAll)
	}, false},
	{"ratio (rounds)", func(f *figure) string {
		if f.Ratio == 0 {
			return ""
		}
		return fmt.Sprintf("%s (%s–%s) × %s", number(f.Ratio), number(f.RatioLow), number(f.RatioHigh), f.Against)
	}, true},
	{"budget", func(f *figure) string {
		switch {
		case f.Holds == nil:
			return ""
		case *f.Holds:
			return f.Budget + ": holds"
		}
		return f.Budget + ": DOES NOT HOLD"
	}, true},
}

// inTitle are the columns that are left out if they say the same of all.
var inTitle = map[string]bool{"what": true, "bytes": true, "readers": true}

// table prints figures, without the columns that are empty.
func (r *report) table(title string, figures []*figure) {
	if r.json {
		for _, f := range figures {
			r.line(f)
		}
		return
	}
	fmt.Fprintf(r.out, "\n%s\n\n", title)
	rows := make([]strings.Builder, len(figures)+2)
	for _, c := range columns {
		width, differs := utf8.RuneCountInString(c.head), false
		first := c.cell(figures[0])
		for _, f := range figures {
			cell := c.cell(f)
			differs = differs || cell != first
			width = max(width, utf8.RuneCountInString(cell))
		}
		if first == "" && !differs || inTitle[c.head] && !differs {
			continue
		}
		put := func(row int, cell string) {
			gap := strings.Repeat(" ", width-utf8.RuneCountInString(cell))
			if c.text {
				rows[row].WriteString("| " + cell + gap + " ")
			} else {
				rows[row].WriteString("| " + gap + cell + " ")
			}
		}
		put(0, c.head)
		rule := "---"
		if !c.text {
			rule = "--:"
		}
		put(1, rule)
		for i, f := range figures {
			put(i+2, c.cell(f))
		}
	}
	for i := range rows {
		fmt.Fprintf(r.out, "%s|\n", rows[i].String())
	}
}

func optional(v *float64, times float64, unit string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.2g%s", *v*times, unit)
}

// number prints about three digits, or all before the point; nothing for 0.
func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case v == float64(int(v)) && v < 1000:
		return fmt.Sprintf("%d", int(v))
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
