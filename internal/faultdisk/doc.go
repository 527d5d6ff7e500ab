// Package faultdisk is disks in memory that fail as real ones do. It implements
// volume.Device for tests and for simulation, and touches no file, no network
// and, but through the Clock it is given, no time.
//
// An Array is a set of disks that share a fate: a power cut hits them all at
// the same instant. Each sector has a volatile copy, which reads see, and a
// durable one, which survives the cut; Sync makes the one the other.
//
//	a := faultdisk.New(9, faultdisk.Config{})
//	... run the system on a.Disk(0) to a.Disk(8) ...
//	a = a.Kill()             // kill -9: what was written stays
//	a, how := a.Crash(rand)  // power cut: any part of what was not synced stays
//	... open a.Disk(0) to a.Disk(8) again and check ...
//
// After Kill and Crash every call on the old disks fails, so goroutines of the
// "dead" process do no harm.
//
// Faults are of three sorts. Inject makes chosen calls go wrong: fail, hang, be
// lost or misdirected (fault.go). Unplug, Detach, SetReadOnly, SetRoom and
// SetDelay put a disk in a state. Peek, Poke, Rot, Swap and Unreadable work on
// the medium itself, around the rules of zones (medium.go).
//
// Crash enumeration: Record notes every call that changes a disk, Mark adds the
// test's own events (a put was acknowledged) in the same order, and
// Trace.Crashes yields every crash that could have happened, as arrays to open:
// after each call, with each subset of the unsynced writes, whole or torn
// (trace.go).
//
// With Config.Timing and a Clock, calls take the time that a rotating disk
// would; under testing/synctest that costs nothing. Counts has the time that
// each disk was busy, with or without a Clock.
package faultdisk
