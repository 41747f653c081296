package prometheus_test

import (
	"fmt"
	"log"
	"os"

	"github.com/memlane/memlane"
	export "github.com/memlane/memlane/export/prometheus"
	"github.com/prometheus/client_golang/prometheus"
)

func ExampleNewCollector() {
	folder, err := os.MkdirTemp("", "collector")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	d, err := memlane.Open("shop", &memlane.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	c := export.NewCollector(&export.Config{Memlane: memlane.Config{Folder: folder}})
	defer c.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather() // what promhttp.Handler does for each request
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "memlane_participants" {
			fmt.Println(f.GetName(), f.Metric[0].Label[1].GetValue(), f.Metric[0].GetGauge().GetValue())
		}
	}
	// Output: memlane_participants alive 1
}
