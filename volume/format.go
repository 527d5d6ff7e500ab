package volume

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/holdall/holdall"
)

// FormatVersion is the version of every structure on disk. A reader refuses
// versions that it does not know.
const FormatVersion = 1

// The magic numbers: the first eight bytes of each structure (of a pack's
// directory, of its tail).
const (
	SuperMagic  = "HOLDSUPR" // a frame of the superblock log
	ZoneMagic   = "HOLDZONE" // the first sector of a zone
	RecordMagic = "HOLDRECD" // the first sector of a record
	FooterMagic = "HOLDFOOT" // the first sector of a footer
	PackMagic   = "HOLDPACK" // the tail of a pack's directory
)

// ChunkSize is the payload covered by one checksum of a record header, in
// bytes.
const ChunkSize = 64 << 10

// MaxChunks is the most checksums a record header holds.
const MaxChunks = 65

// MaxPayload is the most payload bytes of a shard: a full pack of blocks and
// the largest directory.
const MaxPayload = holdall.MaxBlockSize + holdall.MaxPackBlocks*dirEntrySize + dirTailSize

// MaxExtentBytes bounds an extent: 1 TiB, so that an offset in sectors takes
// at most four bytes.
const MaxExtentBytes = 1 << 40

// Proof that every payload has a place for each of its checksums.
const _ = uint(MaxChunks*ChunkSize - MaxPayload)

// crcTable selects CRC-32C (Castagnoli), which processors compute themselves.
var crcTable = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crcTable) }

// chain extends a running checksum with the checksum of one more record
// header.
func chain(running, header uint32) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], header)
	return crc32.Update(running, crcTable, b[:])
}

// sectorSum is where the header sectors (zone, record, footer) keep the
// checksum of all that comes before it.
const sectorSum = SectorSize - 4

// stampSector writes the checksum of a header sector.
func stampSector(b []byte) {
	binary.LittleEndian.PutUint32(b[sectorSum:], checksum(b[:sectorSum]))
}

// checkSector checks size, magic, checksum and version of a header sector, in
// the order that gives the most telling error.
func checkSector(b []byte, magic string) error {
	switch {
	case len(b) != SectorSize:
		return malformed("%d bytes, want one sector", len(b))
	case string(b[:8]) != magic:
		return malformed("magic %q, want %q", b[:8], magic)
	case binary.LittleEndian.Uint32(b[sectorSum:]) != checksum(b[:sectorSum]):
		return malformed("checksum of %s sector differs", magic)
	case binary.LittleEndian.Uint16(b[8:]) != FormatVersion:
		return malformed("version %d of %s, this program knows %d", binary.LittleEndian.Uint16(b[8:]), magic, FormatVersion)
	}
	return nil
}

// malformed is the error of bytes that are not what they should be.
func malformed(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, holdall.ErrCorrupt)...)
}

func allZero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func roundUp(n int64) int64 { return (n + SectorSize - 1) &^ (SectorSize - 1) }

// validOffset says whether off can be where something begins in an extent.
func validOffset(off uint64) bool { return off < MaxExtentBytes && off%SectorSize == 0 }

func putScheme(b []byte, s holdall.Scheme) {
	b[0], b[1], b[2], b[3] = byte(s.Kind), s.Data, s.Local, s.Global
}

func getScheme(b []byte) (holdall.Scheme, error) {
	s := holdall.Scheme{Kind: holdall.SchemeKind(b[0]), Data: b[1], Local: b[2], Global: b[3]}
	if err := s.Validate(); err != nil {
		return s, malformed("scheme %v: %v", s, err)
	}
	return s, nil
}

// invariant panics when the program's own logic is broken. Bad bytes and bad
// arguments are errors instead.
func invariant(ok bool, what string) {
	if !ok {
		panic("volume: " + what)
	}
}

func unknownVersion(v uint16) error {
	return fmt.Errorf("superblock of format version %d, this program knows %d: use the program that wrote it, or a newer one: %w", v, FormatVersion, holdall.ErrRefused)
}
