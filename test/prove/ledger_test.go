package prove

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var columns = []Column{{Name: "started", Key: true}, {Name: "kernel"}, {Name: "kills", Sum: true}, {Name: "lost", Sum: true}}

func mustAdd(t *testing.T, file, campaign, description string, row ...string) {
	t.Helper()
	if err := Add(file, campaign, description, columns, row); err != nil {
		t.Fatal(err)
	}
}

// Runs add up, a run's later row replaces its earlier one, campaigns leave each
// other alone, and a total that somebody changed is not believed.
func TestRowsAddUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "PROOF.md")
	mustAdd(t, file, "kill", "Old words.", "monday", "6.1", "20", "0")
	mustAdd(t, file, "kill tests", "Another campaign.", "monday", "6.1", "7", "7")
	mustAdd(t, file, "kill", "Kills.", "tuesday", "6.18", "5", "1")
	mustAdd(t, file, "kill", "Kills.", "monday", "6.1", "40", "0")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(text), "45 | 1 |", "999 | 0 |", 1)
	if forged == string(text) {
		t.Fatalf("no totals of 45 and 1 in\n%s", text)
	}
	forged += "\n## By hand\n\nStays.\n"
	if err := os.WriteFile(file, []byte(forged), 0o600); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, file, "kill", "Kills.", "wednesday", "6.18", "10", "0")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := heading + `
## kill

Kills.

| started | kernel | kills | lost |
| --- | --- | ---: | ---: |
| monday | 6.1 | 40 | 0 |
| tuesday | 6.18 | 5 | 1 |
| wednesday | 6.18 | 10 | 0 |
| **all runs** |  | 55 | 1 |

## kill tests

Another campaign.

| started | kernel | kills | lost |
| --- | --- | ---: | ---: |
| monday | 6.1 | 7 | 7 |
| **all runs** |  | 7 | 7 |

## By hand

Stays.
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What could not be read back or added up is refused and changes nothing.
func TestBadRowsAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "PROOF.md")
	mustAdd(t, file, "kill", "Kills.", "monday", "6.1", "20", "0")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		columns []Column
		row     []string
		want    string
	}{
		"not a number":  {columns, []string{"tuesday", "6.1", "many", "0"}, "column kills"},
		"a bar":         {columns, []string{"tuesday", "6|1", "1", "0"}, "column kernel"},
		"no first cell": {columns, []string{"", "6.1", "1", "0"}, "column started"},
		"a missing one": {columns, []string{"tuesday"}, "1 cells for 4 columns"},
		"other columns": {[]Column{{Name: "started", Key: true}}, []string{"tuesday"}, "its table has the columns"},
		"no key":        {[]Column{{Name: "started"}}, []string{"tuesday"}, "no key column"},
	} {
		err := Add(file, "kill", "Kills.", tc.columns, tc.row)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v; want an error with %q and the file", what, err, tc.want)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Errorf("refused rows changed the file to\n%s", after)
	}
}
