// Package prove keeps the record of proof campaigns: long runs, each of which
// tries to break one promise. The record is a Markdown file in which all
// campaigns add up. Each campaign has a section with a table, a row for each of
// its runs, and below them the totals of all runs that ever were.
//
// The table in the file is the only state. Nothing but its rows is believed:
// the totals are computed from them each time, so that deleting a row by hand
// takes it out of the totals too.
package prove

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// heading begins a file that does not exist yet.
const heading = `# Proof

What the campaigns have found, over all their runs. The programs that write these
tables are in test/prove; what is written by hand outside of a campaign's
section stays, its section is written anew with each row.
`

const totals = "**all runs**"

// A Column is one column of a campaign's table.
type Column struct {
	Name string
	Key  bool // part of what tells one run from another
	Sum  bool // holds whole numbers, which the last row adds up
}

// Add writes a row into the campaign's table in the file, and the description
// above the table. A row with the same cells in the key columns is replaced, so
// that a run can write its row early and correct it as it goes on; there must
// be a key column. The file appears whole or not at all, and programs that add
// to it at the same time take turns. Its folder must exist.
//
// A table with other columns is not touched: a campaign that counts something
// new gets a new name, or its table is edited by hand first.
func Add(file, campaign, description string, columns []Column, row []string) error {
	err := add(file, campaign, description, columns, row)
	if err != nil {
		return fmt.Errorf("add a row of campaign %s to %s: %w", campaign, file, err)
	}
	return nil
}

func add(file, campaign, description string, columns []Column, row []string) error {
	if err := check(columns, row); err != nil {
		return err
	}
	// The folder is what is locked: a lock on the file would be one on the
	// version that is about to be replaced.
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	old, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = []byte(heading), nil
	}
	if err != nil {
		return err
	}
	before, section, after := cut(string(old), campaign)
	rows, err := parse(section, columns)
	if err != nil {
		return err
	}
	same := func(r []string) bool {
		for i, c := range columns {
			if c.Key && r[i] != row[i] {
				return false
			}
		}
		return true
	}
	if i := slices.IndexFunc(rows, same); i >= 0 {
		rows[i] = row
	} else {
		rows = append(rows, row)
	}
	table, err := format(columns, rows)
	if err != nil {
		return err
	}
	text := before + "## " + campaign + "\n\n" + strings.TrimSpace(description) + "\n\n" + table + after
	next := file + ".new"
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(next, file)
}

// check refuses what could not be read back.
func check(columns []Column, row []string) error {
	if len(row) != len(columns) {
		return fmt.Errorf("%d cells for %d columns", len(row), len(columns))
	}
	if !slices.ContainsFunc(columns, func(c Column) bool { return c.Key }) {
		return errors.New("no key column")
	}
	for i, cell := range row {
		if strings.ContainsAny(cell, "|\n") || cell != strings.TrimSpace(cell) || (i == 0 && special(cell)) {
			return fmt.Errorf("column %s: a table cannot hold the cell %q", columns[i].Name, cell)
		}
	}
	return nil
}

// special reports whether a line that begins with the cell is not a row: it is
// the line under the names, or the totals.
func special(cell string) bool { return cell == totals || strings.Trim(cell, "-:") == "" }

// cut returns what is before the campaign's section, the section without its
// heading, and what is after it.
func cut(text, campaign string) (before, section, after string) {
	const mark = "\n## "
	before, section, found := strings.Cut(text, mark+campaign+"\n")
	if !found {
		return strings.TrimRight(text, "\n") + "\n\n", "", ""
	}
	if i := strings.Index(section, mark); i >= 0 {
		section, after = section[:i], section[i:]
	}
	return before + "\n", section, after
}

// parse returns the rows of the section's table without its totals.
func parse(section string, columns []Column) (rows [][]string, err error) {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	head := true
	for line := range strings.Lines(section) {
		inner, found := strings.CutPrefix(strings.TrimSpace(line), "|")
		if !found {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(inner, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case head:
			if !slices.Equal(cells, names) {
				return nil, fmt.Errorf("its table has the columns %q; want %q", cells, names)
			}
			head = false
		case len(cells) != len(columns):
			return nil, fmt.Errorf("the row %q has %d cells; want %d", strings.TrimSpace(line), len(cells), len(columns))
		case !special(cells[0]):
			rows = append(rows, cells)
		}
	}
	return rows, nil
}

// format returns the table with its totals.
func format(columns []Column, rows [][]string) (string, error) {
	var table strings.Builder
	line := func(cells []string) { fmt.Fprintf(&table, "| %s |\n", strings.Join(cells, " | ")) }
	names, rules, sums := make([]string, len(columns)), make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i], rules[i] = c.Name, "---"
		if !c.Sum {
			continue
		}
		rules[i] = "---:"
		sum := 0
		for _, r := range rows {
			n, err := strconv.Atoi(r[i])
			if err != nil {
				return "", fmt.Errorf("column %s: %w", c.Name, err)
			}
			sum += n
		}
		sums[i] = strconv.Itoa(sum)
	}
	sums[0] = totals
	line(names)
	line(rules)
	for _, r := range rows {
		line(r)
	}
	line(sums)
	return table.String(), nil
}
