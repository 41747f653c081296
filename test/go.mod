module github.com/memlane/memlane/test

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/memlane/memlane v0.0.0
	github.com/rogpeppe/go-internal v1.16.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
)

require (
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.14.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
)

replace github.com/memlane/memlane => ..
