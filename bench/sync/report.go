package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/memlane/memlane/bench/internal/machine"
)

// A result is what was found of one contender. What does not apply is 0 and left
// out of the JSON.
type result struct {
	Name      string  `json:"name"` // the part
	Peer      string  `json:"peer"` // the contender
	Placement string  `json:"placement,omitempty"`
	Processes int     `json:"processes,omitempty"`
	N         int     `json:"n"` // samples, or operations, or waiters
	P50       float64 `json:"p50_ns,omitempty"`
	P99       float64 `json:"p99_ns,omitempty"`
	P999      float64 `json:"p999_ns,omitempty"`
	Max       float64 `json:"max_ns,omitempty"`
	Low       float64 `json:"low_ns,omitempty"`  // the best round's median,
	High      float64 `json:"high_ns,omitempty"` // and the worst one's
	Rate      float64 `json:"ops_per_s,omitempty"`
	Gap       float64 `json:"share_gap,omitempty"` // between the largest and the smallest share of one process
	Threads   int     `json:"threads,omitempty"`
	CPU       float64 `json:"cpu_ppm,omitempty"` // processor time at rest

	// Ratio is to Against; Low and High are the rounds' extremes.
	Ratio     float64 `json:"ratio,omitempty"`
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
	Against   string  `json:"against,omitempty"`
	// Ratios are those to others.
	Ratios map[string]float64 `json:"ratios,omitempty"`
}

// against enters the ratio that a budget is about.
func (r *result) against(name string, s spread) {
	r.Against, r.Ratio, r.RatioLow, r.RatioHigh = name, s.median, s.low, s.high
}

// beside enters another ratio.
func (r *result) beside(name string, s spread) {
	if r.Ratios == nil {
		r.Ratios = map[string]float64{}
	}
	r.Ratios[name] = s.median
}

// A verdict says whether a budget holds.
type verdict struct {
	Budget string  `json:"budget"`
	Peer   string  `json:"peer"`
	Where  string  `json:"placement,omitempty"`
	Value  float64 `json:"value"`
	Limit  float64 `json:"limit"`
	Holds  string  `json:"verdict"` // "holds" or "does not hold"
}

// A column is a column of a table: its head, and what is in it for a result.
type column struct {
	head string
	cell func(r result) string
	text bool // not a number
}

// report prints what is found, as it is found.
type report struct {
	out    io.Writer
	json   bool
	judged []verdict
}

func (p *report) line(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // all that is printed can be
	}
	fmt.Fprintf(p.out, "%s\n", text)
}

func (p *report) machine(m machine.Machine) {
	if p.json {
		p.line(struct {
			Machine machine.Machine `json:"machine"`
		}{m})
		return
	}
	fmt.Fprintf(p.out, "%s, load %s\n", m, m.Load)
}

func (p *report) disturbance(d disturbance) {
	if p.json {
		p.line(struct {
			Disturbance disturbance `json:"disturbance"`
		}{d})
		return
	}
	fmt.Fprintf(p.out, "\n%s\n", d)
}

func (p *report) note(text string) {
	if p.json {
		p.line(struct {
			Note string `json:"note"`
		}{text})
		return
	}
	fmt.Fprintln(p.out, text)
}

// table prints one table of results.
func (p *report) table(title string, columns []column, results []result) {
	if p.json {
		for _, r := range results {
			p.line(r)
		}
		return
	}
	rows := [][]string{{}, {}}
	for _, c := range columns {
		rows[0] = append(rows[0], c.head)
		rows[1] = append(rows[1], rule(c))
	}
	for _, r := range results {
		var row []string
		for _, c := range columns {
			row = append(row, c.cell(r))
		}
		rows = append(rows, row)
	}
	fmt.Fprintf(p.out, "\n%s\n\n", title)
	p.align(rows, columns)
}

// rule is what Markdown has between head and body. It tells text from numbers.
func rule(c column) string {
	if c.text {
		return "---"
	}
	return "--:"
}

// align prints a table that is readable as it is and is one in Markdown too.
func (p *report) align(rows [][]string, columns []column) {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].text {
				fmt.Fprint(p.out, "| ", cell, gap, " ")
			} else {
				fmt.Fprint(p.out, "| ", gap, cell, " ")
			}
		}
		fmt.Fprintln(p.out, "|")
	}
}

// judge holds a value against its budget.
func (p *report) judge(budget, peer, where string, value, limit float64) {
	v := verdict{budget, peer, where, value, limit, "holds"}
	if value > limit {
		v.Holds = "does not hold"
	}
	p.judged = append(p.judged, v)
}

// verdicts prints which budgets hold.
func (p *report) verdicts() {
	if p.json {
		for _, v := range p.judged {
			p.line(v)
		}
		return
	}
	if len(p.judged) == 0 {
		return
	}
	columns := []column{{head: "budget", text: true}, {head: "", text: true}, {head: "placement", text: true}, {head: "value"}, {head: "verdict", text: true}}
	rows := [][]string{{}, {}}
	for _, c := range columns {
		rows[0] = append(rows[0], c.head)
		rows[1] = append(rows[1], rule(c))
	}
	for _, v := range p.judged {
		rows = append(rows, []string{v.Budget, v.Peer, v.Where, figure(v.Value), v.Holds})
	}
	fmt.Fprint(p.out, "\nBudgets\n\n")
	p.align(rows, columns)
}

// figure prints about three digits, or all before the point.
func figure(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 0.1:
		return fmt.Sprintf("%.2g", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return grouped(fmt.Sprintf("%.0f", v))
}

// grouped puts a space between groups of three digits.
func grouped(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// Columns that several tables have.
var (
	peerColumn  = column{"", func(r result) string { return r.Peer }, true}
	p50Column   = column{head: "p50 ns", cell: func(r result) string { return figure(r.P50) }}
	p99Column   = column{head: "p99 ns", cell: func(r result) string { return figure(r.P99) }}
	p999Column  = column{head: "p99.9 ns", cell: func(r result) string { return figure(r.P999) }}
	maxColumn   = column{head: "max ns", cell: func(r result) string { return figure(r.Max) }}
	nColumn     = column{head: "n", cell: func(r result) string { return grouped(fmt.Sprint(r.N)) }}
	ratioColumn = column{head: "ratio (rounds)", cell: func(r result) string {
		if r.Against == "" {
			return "-"
		}
		return fmt.Sprintf("%s (%s–%s)", figure(r.Ratio), figure(r.RatioLow), figure(r.RatioHigh))
	}}
)

// besideColumn shows the ratio to one of the others.
func besideColumn(name string) column {
	return column{head: "to " + name, cell: func(r result) string { return figure(r.Ratios[name]) }}
}
