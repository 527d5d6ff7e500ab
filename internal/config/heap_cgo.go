//go:build cgo

package config

// pebbleOffHeap says whether Pebble takes its block cache and memtables from C,
// where the Go runtime does not see them. It does when it is built with cgo.
const pebbleOffHeap = true
