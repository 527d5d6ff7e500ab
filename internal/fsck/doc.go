// Package fsck is a second reading of everything that a stopped cell has on its
// disks and in its metadata, written from docs/format alone, so that a mistake
// in package volume is not made here too: it shares the names of the format's
// magics and sizes with it, and no code. It writes nothing and repairs nothing.
//
// Reading order: check.go (what is checked, in which order), medium.go (bytes),
// super.go, record.go, footer.go (structures), member.go and stripes.go (a
// volume), rows.go (the metadata against all of it).
package fsck
