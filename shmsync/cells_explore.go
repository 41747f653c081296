//go:build explore

package shmsync

const cellsMax = 8
