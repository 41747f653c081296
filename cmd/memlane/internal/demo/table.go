package demo

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// table puts both transfers side by side.
func (d *demo) table(mapped, socket *transfer) error {
	fmt.Fprintf(d.Out, "\n%s to %d clients, measured in this run:\n\n", humanize.IBytes(uint64(socket.moved)), clients)
	if mapped.moved != socket.moved {
		fmt.Fprintf(d.Out, "(the mapped file moved %s; its figures are scaled to the same size)\n", humanize.IBytes(uint64(mapped.moved)))
	}
	scale := float64(socket.moved) / float64(mapped.moved)
	w := tabwriter.NewWriter(d.Out, 0, 0, 3, ' ', 0)
	row := func(what string, m, s any) { fmt.Fprintf(w, "   %s\t%v\t%v\n", what, m, s) }
	scaled := func(v time.Duration) time.Duration { return time.Duration(float64(v) * scale) }
	ms := func(v time.Duration) string { return fmt.Sprintf("%.1f ms", float64(v)/1e6) }
	row("", "mapped file", "Unix socket")
	row("time until every client has hashed it", ms(scaled(mapped.took)), ms(socket.took))
	row("processor time, server", ms(scaled(mapped.server.CPU)), ms(socket.server.CPU))
	row("processor time, clients (with the hashing)", ms(scaled(mapped.clients.CPU)), ms(socket.clients.CPU))
	calls := func(u usage) string {
		if u.Calls < 0 {
			return "not told"
		}
		return humanize.Comma(u.Calls)
	}
	row("system calls, server", calls(mapped.server), calls(socket.server))
	row("system calls, clients", calls(mapped.clients), calls(socket.clients))
	row("page faults, all", mapped.server.Faults+mapped.clients.Faults, socket.server.Faults+socket.clients.Faults)
	row("copies of each byte, server", fmt.Sprintf("%.0f", mapped.copiesServer), fmt.Sprintf("%.0f", socket.copiesServer))
	row("copies of each byte, each client", fmt.Sprintf("%.0f", mapped.copiesClient), fmt.Sprintf("%.0f", socket.copiesClient))
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(d.Out, `
System calls are the reads and writes of each process as the kernel counts them,
less those for the demo's own orders; on the socket they move %s at a time.
A single one can be the Go runtime's. Setting up is not in the figures: six calls
for each process that maps, four that connects.
The processor time of the clients is mostly the hashing, which both ways share.
`, humanize.IBytes(pieceBytes))
	return err
}
