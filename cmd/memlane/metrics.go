package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	export "github.com/memlane/memlane/export/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
)

func newMetrics() *cobra.Command {
	var d domainFlags
	listen := "127.0.0.1:9464"
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "Serve Prometheus how domains and topics are doing",
		Long: `Metrics serves, until Ctrl-C, at /metrics what publishers and subscribers of all domains
or of one have counted, in the format of Prometheus. It reads the memory that they use,
so that one such process is enough, they need not know of it, and nobody waits for it.
Who looks is not counted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := &export.Config{Memlane: d.config}
			if cmd.Flags().Changed("domain") {
				c.Domains = []string{d.name}
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("metrics: %w (give another address with --listen)", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "serving http://%v/metrics\n", listener.Addr())
			return serveMetrics(cmd.Context(), listener, c)
		},
	}
	d.addAll(cmd)
	cmd.Flags().StringVar(&listen, "listen", listen, "the address to serve at; port 0: any that is free")
	return cmd
}

// serveMetrics serves until the context ends.
func serveMetrics(ctx context.Context, listener net.Listener, c *export.Config) error {
	collector := export.NewCollector(c)
	defer collector.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil // how serving ends
}
