// Package worker does what a bucket on its way between two stores needs beside its
// calls: it copies what the source held before (backfill), lists again until
// nothing is new, reads both sides back and compares them, repairs what one side
// missed, drives steps, and makes the certificate. One Runner works for all buckets
// of a cell, in the process that leads it.
//
// All that it knows is in metadata, so that a process that dies is continued by the
// next: where a walk is, which parts of an object are there. It decides nothing
// about a caller's write; packages ledger and door do.
//
// Reading order: cell.go (what it stands on); judge.go, keep.go and tracks.go (plain
// functions); copy.go, large.go and backfill.go; compare.go and verify.go; repair.go;
// certify.go; runner.go and operate.go.
package worker
