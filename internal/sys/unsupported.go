//go:build !(linux && (amd64 || arm64))

// Package sys needs Linux 6.1 or later on amd64 or arm64.
package sys

// The next line does not compile, on purpose: memlane is built on memfd
// seals, futexes and pidfds, which only Linux has, and its layouts are
// promised for 64-bit little-endian machines alone. The compiler's message
// names the reason.
var _ = memlane_supports_only_Linux_on_amd64_and_arm64
