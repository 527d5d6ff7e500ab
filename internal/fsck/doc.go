// Package fsck is a second reading of everything that a stopped cell has on its
// disks and in its metadata, written from docs/format alone, so that a mistake
// in the engine is not made here too. It writes nothing and repairs nothing.
//
// What it shares with the engine, and so cannot find a mistake in:
//
//   - metadata.OpenReadOnly and the tables of its Reader: keys, rows, and how the
//     tail of the Raft log is applied to the flushed state (a second decoder of
//     Pebble's files would be a second Pebble);
//   - the root package: ids and their text, HashBlock, the kinds and arithmetic of
//     holdall.Scheme, holdall.Stripe, which member holds which shard (ShardMember,
//     MemberShard), RecordSize, and limits;
//   - of package volume constants alone: magics, FormatVersion, SectorSize,
//     ChunkSize, MinZoneSize, MaxPayload, MaxExtentBytes;
//   - internal/buffer, for memory.
//
// Superblocks, zone headers, records, footers, pack directories, checksums and
// the coding of stripes are read by code of its own.
//
// Reading order: check.go (what is checked, in which order), medium.go (bytes),
// super.go, record.go, footer.go (structures), member.go and stripes.go (a
// volume), parity.go (the coding), rows.go (the metadata against all of it).
package fsck
