module github.com/memlane/memlane/cmd/memlane

go 1.26.0

require (
	github.com/dustin/go-humanize v1.1.0
	github.com/memlane/memlane v0.0.0
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
)

replace github.com/memlane/memlane => ../..
