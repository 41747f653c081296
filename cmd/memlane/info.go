package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
	"github.com/spf13/cobra"
)

// domainJSON is how info -o json shows a domain.
type domainJSON struct {
	Domain       string         `json:"domain"`
	Folder       string         `json:"folder"`
	Exists       bool           `json:"exists"`
	Mode         string         `json:"mode"` // of the folder, in octal; "": there is none
	UID          int            `json:"uid"`  // whose it is
	Participants map[string]int `json:"participants"`
	Topics       int            `json:"topics"`
}

// topicInfoJSON is how info -o json shows a topic.
type topicInfoJSON struct {
	Topic       string              `json:"topic"`
	Domain      string              `json:"domain"`
	Publishers  []publisherInfoJSON `json:"publishers"`
	Subscribers []processJSON       `json:"subscribers"`
	Bytes       uint64              `json:"memory_bytes"` // of all publishers: rings and arenas
}

type publisherInfoJSON struct {
	processJSON
	Policy      string          `json:"policy"`
	Slots       int             `json:"slots"`
	SlotBytes   int             `json:"slot_bytes"`
	InlineBytes int             `json:"inline_bytes"` // a message of up to so many is in its slot
	ArenaBytes  uint64          `json:"arena_bytes"`
	Bytes       uint64          `json:"memory_bytes"`
	Subscribers int             `json:"subscribers"`
	ContentType string          `json:"content_type"`        // "": it has none
	Schema      json.RawMessage `json:"schema,omitempty"`    // of its messages, as spec/schema.md has it
	SchemaID    string          `json:"schema_id,omitempty"` // the beginning of its hash
}

type processJSON struct {
	ID      string `json:"id"`      // of the port, in hexadecimal
	PID     int    `json:"pid"`     // 0: not known here
	User    string `json:"user"`    // "": unknown
	Program string `json:"program"` // "": unknown
	State   string `json:"state"`   // "": unknown
}

func newInfo() *cobra.Command {
	var d domainFlags
	o := format("table")
	cmd := &cobra.Command{
		Use:   "info [TOPIC]",
		Short: "Show what a topic, or the domain, is made of",
		Long: `Info shows of a topic who publishes and who subscribes, how a slow subscriber is treated,
and how much memory there is; without a topic, of the domain, where it is and who is in it.

"memlane stat" shows what they do, "memlane lag" who is slow.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				j, err := d.info()
				if err != nil {
					return err
				}
				if o.json() {
					return writeJSON(cmd.OutOrStdout(), j)
				}
				return j.print(cmd.OutOrStdout())
			}
			l := d.looker(args, false)
			defer l.Close()
			snapshots, err := l.Look()
			if err != nil {
				return err
			}
			there, err := d.participants(d.name)
			if err != nil {
				return err
			}
			j := topicInfo(d.name, snapshots[0], there)
			if o.json() {
				return writeJSON(cmd.OutOrStdout(), j)
			}
			return j.print(cmd.OutOrStdout())
		},
	}
	d.add(cmd)
	o.add(cmd)
	cmd.ValidArgsFunction = completeFirst(d.completeTopics)
	return cmd
}

// info finds out what there is of a domain.
func (d *domainFlags) info() (*domainJSON, error) {
	folder, err := memlane.DomainFolder(d.name, &d.config)
	if err != nil {
		return nil, err
	}
	j := &domainJSON{Domain: d.name, Folder: folder, UID: -1, Participants: map[string]int{}}
	st, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return j, nil
	case err != nil:
		return nil, err
	}
	j.Exists, j.Mode, j.UID = true, fmt.Sprintf("%#o", st.Mode().Perm()), int(st.Sys().(*syscall.Stat_t).Uid)
	there, err := d.participants(d.name)
	if err != nil {
		return nil, err
	}
	for _, p := range there {
		j.Participants[string(p.State)]++
	}
	topics, err := d.topics(d.name)
	j.Topics = len(topics)
	return j, err
}

func (j *domainJSON) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Domain\t%s\nFolder\t%s\n", printable(j.Domain), printable(j.Folder))
	if !j.Exists {
		fmt.Fprintln(w, "\tis not there: nobody has opened the domain since the last boot, or it was cleaned up")
		return w.Flush()
	}
	fmt.Fprintf(w, "Mode\t%s\nOwner\t%s\nTopics\t%d\n", j.Mode, owner(j.UID), j.Topics)
	for _, state := range []inspect.State{inspect.Alive, inspect.Stopped, inspect.Dead, inspect.Foreign, inspect.Unknown} {
		if n := j.Participants[string(state)]; n > 0 || state == inspect.Alive {
			fmt.Fprintf(w, "Processes\t%d %s\n", n, state)
		}
	}
	return w.Flush()
}

func topicInfo(domain string, s *inspect.Snapshot, there []inspect.Participant) *topicInfoJSON {
	j := &topicInfoJSON{Topic: s.Topic, Domain: domain, Publishers: []publisherInfoJSON{}, Subscribers: []processJSON{}}
	processes := map[int]inspect.Participant{}
	for _, p := range there {
		processes[p.PID] = p
	}
	process := func(id uint64, pid int) processJSON {
		one := processJSON{ID: hex(id), PID: pid}
		if p, ok := processes[pid]; ok && pid != 0 {
			shown := shown(p)
			one.User, one.Program, one.State = shown.User, shown.Program, shown.State
		}
		return one
	}
	told := map[uint64]bool{}
	subscriber := func(id uint64, pid int) {
		if !told[id] {
			told[id] = true
			j.Subscribers = append(j.Subscribers, process(id, pid))
		}
	}
	for _, p := range s.Publishers {
		bytes := uint64(p.Slots*p.SlotBytes) + p.ArenaBytes
		one := publisherInfoJSON{processJSON: process(p.ID, p.PID), Policy: policyName(p.Policy), Slots: p.Slots, SlotBytes: p.SlotBytes,
			InlineBytes: p.SlotBytes - 16, ArenaBytes: p.ArenaBytes, Bytes: bytes, Subscribers: len(p.Subscriptions), ContentType: p.ContentType}
		if p.Schema != nil {
			one.Schema, one.SchemaID = json.RawMessage(p.Schema.String()), p.Schema.ID()
		}
		j.Publishers = append(j.Publishers, one)
		j.Bytes += bytes
		for _, sub := range p.Subscriptions {
			subscriber(sub.ID, sub.PID)
		}
		for _, refused := range p.Refused {
			subscriber(refused.ID, refused.PID)
		}
	}
	for _, sub := range s.Waiting {
		subscriber(sub.ID, sub.PID)
	}
	return j
}

func (j *topicInfoJSON) print(out io.Writer) error {
	fmt.Fprintf(out, "topic %s of domain %s, %s of memory\n", printable(j.Topic), printable(j.Domain), humanize.IBytes(j.Bytes))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  ROLE\tID\tPROCESS\tUSER\tSTATE\tPOLICY\tSLOTS\tARENA\tPROGRAM")
	row := func(role string, p *processJSON, cells ...any) {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", append(append([]any{role, p.ID, process(p.PID), dashed(p.User), dashed(p.State)},
			cells...), dashed(printable(p.Program)))...)
	}
	for i := range j.Publishers {
		p := &j.Publishers[i]
		row("publisher", &p.processJSON, p.Policy, fmt.Sprintf("%d of %d B", p.Slots, p.SlotBytes), humanize.IBytes(p.ArenaBytes))
	}
	for i := range j.Subscribers {
		row("subscriber", &j.Subscribers[i], "-", "-", "-")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return j.printFormats(out)
}

// printFormats says what the messages are: of publishers that agree, once.
func (j *topicInfoJSON) printFormats(out io.Writer) error {
	told := map[string]bool{}
	for _, p := range j.Publishers {
		text := ""
		switch {
		case p.Schema != nil:
			text = fmt.Sprintf("  messages of publisher %s have schema %s\n    %s\n", p.ID, p.SchemaID, graphic(string(p.Schema)))
		case p.ContentType != "":
			text = fmt.Sprintf("  messages of publisher %s are %s\n", p.ID, graphic(p.ContentType))
		}
		if told[p.SchemaID+p.ContentType] || text == "" {
			continue
		}
		told[p.SchemaID+p.ContentType] = true
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
	return nil
}
