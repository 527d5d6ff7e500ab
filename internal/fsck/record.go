package fsck

import (
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// record is a record's header sector.
type record struct {
	shard  int
	length uint32
	offset int64
	stripe holdall.Stripe
	chunks []uint32
	sum    uint32 // the header's own checksum, which footers chain
}

// errHeader is of a sector that is no record header at all.
var errHeader = errors.New("not a record header")

// parseRecord reads the header sector b of the record at off of e on d, and
// compares everything it says of itself with where it was found.
func parseRecord(b []byte, d *disk, e *extent, off int64) (*record, error) {
	if string(b[:8]) != volume.RecordMagic || sum(b[:sector-4]) != u32(b, sector-4) {
		return nil, errHeader
	}
	n := e.scheme.N()
	r := &record{shard: int(b[10]), length: u32(b, 12), offset: int64(u64(b, 80)), sum: u32(b, sector-4)}
	r.stripe = holdall.Stripe{Volume: holdall.VolumeID(u64(b, 48)), Epoch: holdall.Epoch(u64(b, 64)), Number: u64(b, 72), Scheme: scheme(b[96:100])}
	id := holdall.ExtentID{Volume: r.stripe.Volume, Member: b[11], Created: holdall.Epoch(u64(b, 56))}
	zone := d.zoneOf(e, off)
	switch {
	case u16(b, 8) != volume.FormatVersion:
		return nil, fmt.Errorf("version %d", u16(b, 8))
	case holdall.CellID(b[16:32]) != d.cell || holdall.DiskID(b[32:48]) != d.id:
		return nil, fmt.Errorf("of disk %v of cell %v", holdall.DiskID(b[32:48]), holdall.CellID(b[16:32]))
	case id != e.id:
		return nil, fmt.Errorf("of extent %v", id)
	case r.offset != off:
		return nil, fmt.Errorf("of offset %d", r.offset)
	case int(u32(b, 88)) != zone || u32(b, 92) != d.gens[zone]:
		return nil, fmt.Errorf("of zone %d generation %d, it lies in zone %d generation %d", u32(b, 88), u32(b, 92), zone, d.gens[zone])
	case r.stripe.Scheme != e.scheme || r.shard >= n || r.stripe.Number == 0 || holdall.ShardMember(r.stripe.Number, r.shard, n) != int(e.id.Member):
		return nil, fmt.Errorf("shard %d of stripe %d, %v, on member %d", r.shard, r.stripe.Number, r.stripe.Scheme, e.id.Member)
	case u32(b, 100) != 0 || !zeros(b[748:sector-4]) || !zeros(b[104+12*n:488]):
		return nil, errors.New("reserved bytes are not zero")
	}
	for i := range n {
		r.stripe.Shards = append(r.stripe.Shards, holdall.ShardPlace{Offset: int64(u64(b, 104+12*i)), Length: u32(b, 112+12*i)})
	}
	if r.stripe.Shards[r.shard] != (holdall.ShardPlace{Offset: off, Length: r.length}) || r.length == 0 || r.length > volume.MaxPayload {
		return nil, fmt.Errorf("payload of %d bytes, its own table says %+v", r.length, r.stripe.Shards[r.shard])
	}
	if err := checkShape(&r.stripe); err != nil {
		return nil, err
	}
	for at := 488; at < 748; at += 4 {
		r.chunks = append(r.chunks, u32(b, at))
	}
	return r, nil
}

// checkShape checks the table of a stripe: absent packs are nowhere, parities are
// as long as the longest pack.
func checkShape(s *holdall.Stripe) error {
	var height uint32
	for i, p := range s.Shards {
		if i < s.Scheme.K() {
			height = max(height, p.Length)
		}
		if p.Length > volume.MaxPayload || p.Offset < 0 || p.Offset%sector != 0 || p.Length == 0 && p.Offset != 0 || i >= s.Scheme.K() && p.Length != height {
			return fmt.Errorf("shard %d of stripe %d: %d bytes at %d, the longest pack has %d", i, s.Number, p.Length, p.Offset, height)
		}
	}
	if height == 0 {
		return fmt.Errorf("stripe %d has no pack", s.Number)
	}
	return nil
}

// checkPayload checks the payload, and the padding after it, against the
// header's checksums.
func (r *record) checkPayload(payload, padding []byte) error {
	for i := range r.chunks {
		lo := min(i*volume.ChunkSize, len(payload))
		hi := min(lo+volume.ChunkSize, len(payload))
		want := uint32(0)
		if lo < hi {
			want = sum(payload[lo:hi])
		}
		if r.chunks[i] != want {
			return fmt.Errorf("checksum of payload bytes %d to %d differs", lo, hi)
		}
	}
	if !zeros(padding) {
		return errors.New("padding after the payload is not zero")
	}
	return nil
}

// line is one line of a pack's directory.
type line struct {
	id             holdall.BlockID
	namespace      holdall.NamespaceID
	offset, length uint32
}

// parsePack reads the directory at the end of a pack.
func parsePack(p []byte) ([]line, error) {
	if len(p) < 32 {
		return nil, errors.New("too short for a directory")
	}
	t := p[len(p)-32:]
	count := int(u32(t, 12))
	size := 48*count + 32
	switch {
	case string(t[:8]) != volume.PackMagic || u16(t, 8) != volume.FormatVersion:
		return nil, errors.New("the payload does not end with a directory")
	case count == 0 || count > holdall.MaxPackBlocks || size > len(p) || int(u32(t, 16)) != size || int(u32(t, 20)) != len(p):
		return nil, fmt.Errorf("a directory of %d blocks, %d bytes, of a payload of %d; it has %d", count, u32(t, 16), u32(t, 20), len(p))
	case u16(t, 10) != 0 || u32(t, 24) != 0:
		return nil, errors.New("reserved bytes of the directory are not zero")
	}
	dir := p[len(p)-size:]
	if sum(dir[:size-4]) != u32(t, 28) {
		return nil, errors.New("checksum of the directory differs")
	}
	lines, end := make([]line, count), uint32(0)
	for i := range lines {
		b := dir[48*i:]
		lines[i] = line{holdall.BlockID(b[:32]), holdall.NamespaceID(u32(b, 32)), u32(b, 36), u32(b, 40)}
		l := &lines[i]
		if l.offset != end || l.length == 0 || l.length > holdall.MaxBlockSize || u32(b, 44)&^3 != 0 {
			return nil, fmt.Errorf("block %d of %d bytes at %d, flags %#x; the one before ends at %d", i, l.length, l.offset, u32(b, 44), end)
		}
		end += l.length
	}
	if end > holdall.MaxBlockSize || int(end)+size != len(p) {
		return nil, fmt.Errorf("blocks end at %d, the directory begins at %d", end, len(p)-size)
	}
	return lines, nil
}

// checkZone checks the header sector of the zone at a place of e.
func checkZone(b []byte, d *disk, e *extent, place int) error {
	if string(b[:8]) != volume.ZoneMagic || sum(b[:sector-4]) != u32(b, sector-4) {
		return errors.New("not a zone header")
	}
	zone := e.zones[place]
	id := holdall.ExtentID{Volume: holdall.VolumeID(u64(b, 48)), Member: b[10], Created: holdall.Epoch(u64(b, 56))}
	switch {
	case u16(b, 8) != volume.FormatVersion || b[11] != 0 || !zeros(b[92:sector-4]):
		return errors.New("version or reserved bytes differ")
	case holdall.CellID(b[16:32]) != d.cell || holdall.DiskID(b[32:48]) != d.id:
		return fmt.Errorf("of disk %v of cell %v", holdall.DiskID(b[32:48]), holdall.CellID(b[16:32]))
	case id != e.id || int(u32(b, 12)) != place:
		return fmt.Errorf("of place %d of extent %v", u32(b, 12), id)
	case int(u32(b, 64)) != zone || u32(b, 68) != d.gens[zone]:
		return fmt.Errorf("of zone %d generation %d, this is generation %d", u32(b, 64), u32(b, 68), d.gens[zone])
	case int64(u64(b, 72)) != d.medium.zone || int64(u64(b, 80)) != e.limit || scheme(b[88:92]) != e.scheme:
		return fmt.Errorf("zones of %d, limit %d, %v; the superblock says %d, %d, %v", u64(b, 72), u64(b, 80), scheme(b[88:92]), d.medium.zone, e.limit, e.scheme)
	}
	return nil
}
