// Package volume keeps the extents of volumes on disks: superblocks, zones,
// records, packs, footers, and the recovery of all of them. Every byte it
// writes goes at a zone's write pointer. It never looks inside blocks, keeps no
// index of them, and never decides what is committed: metadata does, and tells
// it through epochs, committed ends and seals.
//
// Reading order: api.go and device.go (what callers and disks see),
// format*.go (the bytes; docs/format has the pages), catalog.go and superlog.go
// (what a disk knows of itself), disk.go and writer.go (how it is written),
// recover.go (what a restart finds), read.go and scan.go (how it is read),
// server.go (the disks of a process).
package volume
