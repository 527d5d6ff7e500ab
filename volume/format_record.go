package volume

import (
	"encoding/binary"

	"github.com/holdall/holdall"
)

// Offsets in a record's header sector (docs/format/record.md).
const (
	recVersion    = 8
	recShard      = 10
	recMember     = 11
	recLength     = 12
	recCell       = 16
	recDisk       = 32
	recVolume     = 48
	recCreated    = 56
	recEpoch      = 64
	recNumber     = 72
	recOffset     = 80
	recZone       = 88
	recGeneration = 92
	recScheme     = 96
	recReserved   = 100
	recPlaces     = 104
	recPlaceSize  = 12 // offset u64, length u32
	recChunks     = recPlaces + holdall.MaxMembers*recPlaceSize
	recEnd        = recChunks + MaxChunks*4
)

// Proof that the header is as long as its page says, and fits its sector.
const (
	_ = uint(recEnd - 748)
	_ = uint(748 - recEnd)
	_ = uint(sectorSum - recEnd)
	_ = uint(holdall.RecordHeaderSize-SectorSize) + uint(SectorSize-holdall.RecordHeaderSize)
)

// RecordHeader is the first sector of a record: whose it is, where it belongs,
// what it holds, and where the rest of its stripe lies.
type RecordHeader struct {
	Cell       holdall.CellID
	Disk       holdall.DiskID
	Extent     holdall.ExtentID
	Zone       uint32 // that the header sector lies in
	Generation uint32 // of that zone
	Offset     int64  // of the record in its extent
	Epoch      holdall.Epoch
	Number     uint64 // of the stripe
	Scheme     holdall.Scheme
	Shard      uint8
	Length     uint32                                 // payload bytes
	Shards     [holdall.MaxMembers]holdall.ShardPlace // the first Scheme.N() count
	Chunks     [MaxChunks]uint32                      // CRC-32C of each ChunkSize of payload
	Sum        uint32                                 // the header's own checksum; set by decoding
}

// Stripe returns the stripe's table.
func (h *RecordHeader) Stripe() holdall.Stripe {
	shards := make([]holdall.ShardPlace, h.Scheme.N())
	copy(shards, h.Shards[:])
	return holdall.Stripe{Volume: h.Extent.Volume, Epoch: h.Epoch, Number: h.Number, Scheme: h.Scheme, Shards: shards}
}

// chunks returns how many checksums a payload of n bytes has.
func chunks(n uint32) int { return int((n + ChunkSize - 1) / ChunkSize) }

// encode writes h to the sector b, checksum last, and returns that checksum.
func (h *RecordHeader) encode(b []byte) uint32 {
	b = b[:SectorSize]
	clear(b)
	le := binary.LittleEndian
	copy(b, RecordMagic)
	le.PutUint16(b[recVersion:], FormatVersion)
	b[recShard], b[recMember] = h.Shard, h.Extent.Member
	le.PutUint32(b[recLength:], h.Length)
	copy(b[recCell:], h.Cell[:])
	copy(b[recDisk:], h.Disk[:])
	le.PutUint64(b[recVolume:], uint64(h.Extent.Volume))
	le.PutUint64(b[recCreated:], uint64(h.Extent.Created))
	le.PutUint64(b[recEpoch:], uint64(h.Epoch))
	le.PutUint64(b[recNumber:], h.Number)
	le.PutUint64(b[recOffset:], uint64(h.Offset))
	le.PutUint32(b[recZone:], h.Zone)
	le.PutUint32(b[recGeneration:], h.Generation)
	putScheme(b[recScheme:], h.Scheme)
	for i, p := range h.Shards[:h.Scheme.N()] {
		if p.Length > 0 { // an absent shard is all zeros, whatever the caller noted
			le.PutUint64(b[recPlaces+i*recPlaceSize:], uint64(p.Offset))
			le.PutUint32(b[recPlaces+i*recPlaceSize+8:], p.Length)
		}
	}
	for i, c := range h.Chunks[:chunks(h.Length)] {
		le.PutUint32(b[recChunks+i*4:], c)
	}
	return restampRecord(b, h.Zone, h.Generation)
}

// restampRecord puts zone and generation, which only the disk's writer knows,
// into an encoded header.
func restampRecord(b []byte, zone, generation uint32) uint32 {
	binary.LittleEndian.PutUint32(b[recZone:], zone)
	binary.LittleEndian.PutUint32(b[recGeneration:], generation)
	stampSector(b[:SectorSize])
	return binary.LittleEndian.Uint32(b[sectorSum:])
}

// Decode reads the header sector b. Its errors wrap ErrCorrupt. It checks all
// that a header can say about itself; whether it is where it belongs is for the
// caller to compare.
func (h *RecordHeader) Decode(b []byte) error {
	if err := checkSector(b, RecordMagic); err != nil {
		return err
	}
	le := binary.LittleEndian
	scheme, err := getScheme(b[recScheme:])
	if err != nil {
		return err
	}
	*h = RecordHeader{
		Cell: holdall.CellID(b[recCell:recDisk]),
		Disk: holdall.DiskID(b[recDisk:recVolume]),
		Extent: holdall.ExtentID{
			Volume:  holdall.VolumeID(le.Uint64(b[recVolume:])),
			Member:  b[recMember],
			Created: holdall.Epoch(le.Uint64(b[recCreated:])),
		},
		Zone:       le.Uint32(b[recZone:]),
		Generation: le.Uint32(b[recGeneration:]),
		Offset:     int64(le.Uint64(b[recOffset:])),
		Epoch:      holdall.Epoch(le.Uint64(b[recEpoch:])),
		Number:     le.Uint64(b[recNumber:]),
		Scheme:     scheme,
		Shard:      b[recShard],
		Length:     le.Uint32(b[recLength:]),
		Sum:        le.Uint32(b[sectorSum:]),
	}
	for i := range h.Shards {
		at := b[recPlaces+i*recPlaceSize:]
		off := le.Uint64(at)
		if !validOffset(off) {
			return malformed("shard %d at %d: not an offset", i, off)
		}
		h.Shards[i] = holdall.ShardPlace{Offset: int64(off), Length: le.Uint32(at[8:])}
	}
	for i := range h.Chunks {
		h.Chunks[i] = le.Uint32(b[recChunks+i*4:])
	}
	if !allZero(b[recReserved:recPlaces]) || !allZero(b[recEnd:sectorSum]) {
		return malformed("record header: reserved bytes are not zero")
	}
	return h.check()
}

// check says what in h contradicts itself. It holds for every header written
// and every header read.
func (h *RecordHeader) check() error {
	n := h.Scheme.N()
	switch {
	case h.Length == 0 || h.Length > MaxPayload:
		return malformed("payload of %d bytes, want 1 to %d", h.Length, MaxPayload)
	case h.Number == 0 || h.Number > holdall.MaxVolumeStripes:
		return malformed("stripe %d, want 1 to %d", h.Number, holdall.MaxVolumeStripes)
	case int(h.Shard) >= n || int(h.Extent.Member) >= n:
		return malformed("shard %d on member %d of %v", h.Shard, h.Extent.Member, h.Scheme)
	case holdall.ShardMember(h.Number, int(h.Shard), n) != int(h.Extent.Member):
		return malformed("shard %d of stripe %d is not for member %d", h.Shard, h.Number, h.Extent.Member)
	case !validOffset(uint64(h.Offset)):
		return malformed("record at %d: not an offset", h.Offset)
	case h.Shards[h.Shard] != (holdall.ShardPlace{Offset: h.Offset, Length: h.Length}):
		return malformed("shard %d is said to be at %+v, its record at %d with %d bytes", h.Shard, h.Shards[h.Shard], h.Offset, h.Length)
	}
	for i := n; i < len(h.Shards); i++ {
		if h.Shards[i] != (holdall.ShardPlace{}) {
			return malformed("shard %d of a scheme with %d", i, n)
		}
	}
	for _, c := range h.Chunks[chunks(h.Length):] {
		if c != 0 {
			return malformed("checksums beyond the payload")
		}
	}
	return checkPlaces(h.Shards[:n], h.Scheme)
}

// checkPlaces checks a stripe's table: offsets and lengths in range, absent
// packs without an offset, parities as long as the longest pack.
func checkPlaces(places []holdall.ShardPlace, s holdall.Scheme) error {
	if len(places) != s.N() {
		return malformed("%d shard places for %v", len(places), s)
	}
	var height uint32
	for i, p := range places[:s.K()] {
		switch {
		case p.Length > MaxPayload:
			return malformed("shard %d of %d bytes, the most is %d", i, p.Length, MaxPayload)
		case p.Length == 0 && p.Offset != 0:
			return malformed("shard %d is absent, yet at %d", i, p.Offset)
		case !validOffset(uint64(p.Offset)):
			return malformed("shard %d at %d: not an offset", i, p.Offset)
		}
		height = max(height, p.Length)
	}
	if height == 0 {
		return malformed("a stripe without packs")
	}
	for i, p := range places[s.K():] {
		if p.Length != height || !validOffset(uint64(p.Offset)) {
			return malformed("parity %d: %d bytes at %d, want %d", i, p.Length, p.Offset, height)
		}
	}
	return nil
}

// sumChunks computes the checksums of payload.
func (h *RecordHeader) sumChunks(payload []byte) {
	for i := range chunks(uint32(len(payload))) {
		h.Chunks[i] = checksum(payload[i*ChunkSize : min((i+1)*ChunkSize, len(payload))])
	}
}

// verify checks bytes of the payload, which begin at chunk first, against the
// header's checksums. b ends at the end of a chunk or of the payload.
func (h *RecordHeader) verify(b []byte, first int) error {
	for i := first; len(b) > 0; i++ {
		n := min(ChunkSize, len(b))
		if checksum(b[:n]) != h.Chunks[i] {
			return malformed("stripe %d shard %d: checksum of payload bytes %d to %d differs", h.Number, h.Shard, i*ChunkSize, i*ChunkSize+n)
		}
		b = b[n:]
	}
	return nil
}
