package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/memlane/memlane/cmd/memlane/internal/live"
	"github.com/memlane/memlane/inspect"
	"github.com/spf13/cobra"
)

// participantJSON is how ps -o json shows a participant.
type participantJSON struct {
	Domain       string     `json:"domain"`
	ID           string     `json:"id"` // in hexadecimal: JSON's numbers are too short for it
	State        string     `json:"state"`
	PID          int        `json:"pid"`           // 0: none in this PID namespace
	PIDNamespace uint32     `json:"pid_namespace"` // 0: unknown
	InnerPID     int        `json:"inner_pid"`     // 0: unknown
	UID          int        `json:"uid"`           // -1: unknown
	User         string     `json:"user"`          // "": unknown
	Program      string     `json:"program"`       // "": unknown
	Ports        []portJSON `json:"ports"`
	Lag          *uint64    `json:"lag,omitempty"` // with --lag, of one that subscribes: see there
}

type portJSON struct {
	Topic string `json:"topic"`
	Role  string `json:"role"`
}

func newProcesses() *cobra.Command {
	var d domainFlags
	var lag bool
	o := format("table")
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List the processes that take part in domains",
		Long: `Ps lists who has opened a domain, of all domains or of one: its process, its user, in
which state it is, what it executes, and of which topics it is a publisher or a
subscriber. It reads the domains' folders and /proc, and asks nobody anything, but with --lag:
that looks at all topics, and shows how many messages a process has before it, of the publisher
of whose it has the most.

PID is the number in this PID namespace, IN the one that the process has in its own,
if that is another; a process of a namespace that is not below this one has none here.
Dead are those whose traces were not removed yet, which the next one does that opens
the domain, and "memlane clean"; foreign are those of another kernel, or of
before the last boot; unknown are those that may not be looked at.

"memlane lag" tells more of those who are slow.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			domains, err := d.domains(cmd)
			if err != nil {
				return err
			}
			list := []participantJSON{}
			var unseen error // what cannot be looked at does not hide the rest
			for _, domain := range domains {
				found, err := d.participants(domain)
				if err != nil {
					unseen = errors.Join(unseen, err)
					continue
				}
				most := map[int]uint64{} // by process
				if lag {
					if most, err = d.lags(domain, found); err != nil {
						unseen = errors.Join(unseen, err)
					}
				}
				for _, p := range found {
					one := shown(p)
					if n, subscribes := most[p.PID]; subscribes && p.PID != 0 {
						one.Lag = &n
					}
					list = append(list, one)
				}
			}
			if len(list) == 0 && unseen != nil {
				return unseen
			}
			if o.json() {
				return errors.Join(writeJSON(cmd.OutOrStdout(), list), unseen)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			column := ""
			if lag {
				column = "LAG\t"
			}
			fmt.Fprintf(w, "DOMAIN\tPID\tIN\tUSER\tSTATE\t%sPROGRAM\tPORTS\n", column)
			for _, p := range list {
				if lag {
					column = p.lag() + "\t"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s%s\t%s\n", printable(p.Domain), number(p.PID), p.inner(), dashed(p.User), p.State, column, dashed(printable(p.Program)), p.ports())
			}
			return errors.Join(w.Flush(), unseen)
		},
	}
	d.addAll(cmd)
	o.add(cmd)
	cmd.Flags().BoolVar(&lag, "lag", false, "look at the topics too, and show how far behind each process is")
	return cmd
}

func shown(p inspect.Participant) participantJSON {
	j := participantJSON{Domain: p.Domain, ID: fmt.Sprintf("%016x", p.ID), State: string(p.State), PID: p.PID, PIDNamespace: p.PIDNamespace,
		InnerPID: p.InnerPID, UID: p.UID, Program: p.Program, Ports: []portJSON{}}
	if p.UID >= 0 {
		j.User = owner(p.UID)
	}
	for _, port := range p.Ports {
		j.Ports = append(j.Ports, portJSON(port))
	}
	return j
}

// lags returns how many messages processes have before them that subscribe to topics of a domain:
// of several subscriptions, the most.
func (d *domainFlags) lags(domain string, there []inspect.Participant) (map[int]uint64, error) {
	l := &live.Looker{Domain: domain, Config: &d.config, Patient: true}
	defer l.Close()
	snapshots, err := l.Look()
	most := map[int]uint64{}
	for _, one := range live.Lags(snapshots, there) {
		most[one.PID] = max(most[one.PID], one.Lag)
	}
	return most, err
}

func (p *participantJSON) lag() string {
	if p.Lag == nil {
		return "-"
	}
	return strconv.FormatUint(*p.Lag, 10)
}

// inner is its number in its own PID namespace, if that is another one than ours.
func (p *participantJSON) inner() string {
	if p.InnerPID == p.PID {
		return "-"
	}
	return number(p.InnerPID)
}

// portsMost is how many topics ps shows of a role.
const portsMost = 3

// ports says of which topics it is what.
func (p *participantJSON) ports() string {
	var roles []string
	topics := map[string][]string{}
	for _, port := range p.Ports {
		if topics[port.Role] == nil {
			roles = append(roles, port.Role)
		}
		topics[port.Role] = append(topics[port.Role], printable(port.Topic))
	}
	slices.Sort(roles)
	for i, role := range roles {
		list := topics[role]
		more := ""
		if n := len(list) - portsMost; n > 0 {
			list, more = list[:portsMost], fmt.Sprintf(" and %d more", n)
		}
		roles[i] = role + " of " + strings.Join(list, ", ") + more
	}
	return dashed(strings.Join(roles, "; "))
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func dashed(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
