// Package upkeep is what a cell does to itself: it purges trash whose retention
// has ended, frees volumes that no row names any more, writes footers that are
// missing, flushes the change journal to disks, and replays it when metadata is
// rebuilt. Plans are pure functions of the tables; runners carry them out
// through the small interfaces of cell.go. It never touches a device or a key of
// the metadata, and deletes nothing without the proofs that free.go names.
//
// Reading order: plan.go (what is to be done), purge.go, inspect.go and free.go
// (how dead bytes go away), footer.go, journal.go and flush.go (the change
// journal), rebuild.go (metadata from disks alone).
package upkeep
