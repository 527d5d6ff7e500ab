//go:build !cgo

package config

// pebbleOffHeap is false: without cgo Pebble's caches are Go memory.
const pebbleOffHeap = false
